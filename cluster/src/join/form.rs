//! What is said between a node that wants to be known and one that is known: JSON in one frame in
//! each direction.

use super::Known;
use crate::{
    ClusterId, JoinNonce, Presence,
    secured::ClusterKey,
    transport::{PROTOCOL_MAX, PROTOCOL_MIN},
};
use bytes::Bytes;
use oribi_model::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of an address and of a version that are taken.
const TEXT_BYTES_MAX: usize = 512;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Who {
    /// Nobody yet: it wants to belong to the cluster.
    New {
        /// Its wish.
        nonce: JoinNonce,
    },
    /// A node that says where it is in its present run.
    Known {
        /// Its cluster.
        cluster: ClusterId,
        /// Which node.
        node: NodeId,
    },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The oldest protocol that it speaks.
    pub(crate) protocol_min: u16,
    /// The newest protocol that it speaks.
    pub(crate) protocol_max: u16,
    pub(crate) who: Who,
    pub(crate) presence: Presence,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It belongs to the cluster as this node.
    Joined {
        /// The cluster.
        cluster: ClusterId,
        /// The id it was given.
        node: NodeId,
    },
    /// It is heard. Where the nodes of the cluster are, as far as it is known.
    Heard {
        /// By id.
        nodes: BTreeMap<NodeId, Known>,
        /// The key under which the cluster keeps secrets, where the one that answers has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_key: Option<ClusterKey>,
    },
    /// Others can answer that.
    Elsewhere {
        /// Their addresses, `HOST:PORT`.
        addresses: Vec<String>,
    },
    /// It is to ask again.
    Later {
        /// What is waited for.
        reason: String,
    },
    /// Asking again changes nothing.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Ask {
    pub(crate) fn new(who: Who, presence: Presence) -> Ask {
        Ask { protocol_min: PROTOCOL_MIN, protocol_max: PROTOCOL_MAX, who, presence }
    }

    pub(crate) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// What was asked.
    ///
    /// # Errors
    /// An answer that says what is wrong with it.
    pub(crate) fn decode(body: &[u8]) -> Result<Ask, Answer> {
        /// What stays as it is in every version.
        #[derive(Deserialize)]
        struct Protocol {
            protocol_min: u16,
            protocol_max: u16,
        }
        let refused = |reason: String| Answer::Refused { reason };
        let unreadable = |_| refused("what was asked cannot be read".into());
        let Protocol { protocol_min, protocol_max } =
            serde_json::from_slice(body).map_err(unreadable)?;
        if protocol_min > PROTOCOL_MAX || protocol_max < PROTOCOL_MIN {
            return Err(refused(format!(
                "the node speaks protocol {protocol_min} to {protocol_max}, the cluster \
                 {PROTOCOL_MIN} to {PROTOCOL_MAX}"
            )));
        }
        let ask: Ask = serde_json::from_slice(body).map_err(unreadable)?;
        let addresses = &ask.presence.addresses;
        let texts = [&addresses.node, &addresses.http, &addresses.mqtt, &ask.presence.version];
        if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(refused(format!("an address has more than {TEXT_BYTES_MAX} bytes")));
        }
        Ok(ask)
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Whether nothing comes of it that would need to be believed.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, Answer::Later { .. } | Answer::Refused { .. })
    }

    /// The answer; `None` for what is none.
    pub(crate) fn decode(body: &[u8]) -> Option<Answer> {
        serde_json::from_slice(body).ok()
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("what is asked and answered is plain data").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Boot, KeyPin, NodeAddresses};
    use proptest::prelude::*;

    fn presence() -> Presence {
        let addresses =
            NodeAddresses { node: "a:1".into(), http: "a:2".into(), mqtt: "a:3".into() };
        Presence { addresses, version: "0.1.0".into(), boot: Boot(4), pin: Some(KeyPin([7; 32])) }
    }

    #[test]
    fn what_is_said_is_read() {
        let known = Who::Known { cluster: ClusterId(9), node: NodeId(3) };
        for who in [Who::New { nonce: JoinNonce(7) }, known] {
            let ask = Ask::new(who, presence());
            assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
        }
        let place = Known { address: "a:1".into(), boot: Boot(2), pin: None };
        let answers = [
            Answer::Joined { cluster: ClusterId(9), node: NodeId(3) },
            Answer::Heard {
                nodes: BTreeMap::from([(NodeId(3), place)]),
                cluster_key: Some(ClusterKey::generate().unwrap()),
            },
            Answer::Elsewhere { addresses: vec!["a:1".into()] },
            Answer::Later { reason: "r".into() },
            Answer::Refused { reason: "r".into() },
        ];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn another_protocol_is_refused_by_name() {
        let later = br#"{"protocol_min":7,"protocol_max":9,"who":{"later":1}}"#;
        let Err(Answer::Refused { reason }) = Ask::decode(later) else { panic!("it is taken") };
        assert!(reason.contains("7 to 9"), "{reason}");
        let mut long = presence();
        long.addresses.http = "x".repeat(TEXT_BYTES_MAX + 1);
        let ask = Ask::new(Who::New { nonce: JoinNonce(1) }, long);
        assert!(matches!(Ask::decode(&ask.encode()), Err(Answer::Refused { .. })));
    }

    proptest! {
        #[test]
        fn bytes_that_are_nothing_are_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Ask::decode(&body).is_err());
            prop_assert!(Answer::decode(&body).is_none());
        }
    }
}
