//! Who a node is: which cluster it belongs to, which of its nodes it is, and how often it started.

use crate::hex;
use oribi_model::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                let is_one =
                    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let id = is_one.then(|| u128::from_str_radix(text, 16).ok()).flatten();
                id.map($name).ok_or_else(|| format!("{text:?} is no id of {}", $what))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A cluster; drawn at random when its first node makes it. Written as 32 hexadecimal digits.
    ClusterId,
    "a cluster"
);
random_id!(
    /// One wish to join a cluster; drawn at random before it is said for the first time, so that
    /// whoever says it again is known. Written as 32 hexadecimal digits.
    JoinNonce,
    "a wish to join"
);
random_id!(
    /// Which key a cluster keeps secrets under; follows from the key. Written as 32 hexadecimal digits.
    ClusterKeyId,
    "a cluster key"
);

/// The key by which a node is known to the others: SHA-256 of its public key as certificates hold it.
/// Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPin(pub [u8; 32]);

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPin({self})")
    }
}

impl FromStr for KeyPin {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyPin, String> {
        let pin = hex::decode(text).and_then(|bytes| bytes.try_into().ok());
        pin.map(KeyPin).ok_or_else(|| format!("{text:?} is no key of a node"))
    }
}

impl Serialize for KeyPin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyPin, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A run of a node's process. The later of two runs of one node has the higher number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Boot(pub u64);

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node says of itself. In the file `ORIBI` as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeIdentity {
    /// The cluster that its data belongs to.
    pub cluster: ClusterId,
    /// Which of the cluster's nodes it is.
    pub node: NodeId,
    /// Which run of it.
    pub boot: Boot,
}

impl NodeIdentity {
    /// That of the node which makes a cluster, in its first run.
    pub fn first(cluster: ClusterId) -> NodeIdentity {
        NodeIdentity { cluster, node: NodeId(1), boot: Boot(1) }
    }

    /// That of the next run.
    pub fn next_boot(self) -> NodeIdentity {
        NodeIdentity { boot: Boot(self.boot.0.saturating_add(1)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_node_reads_as_it_is_written() {
        let pin = KeyPin(std::array::from_fn(|at| at as u8 * 7));
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let json = serde_json::to_string(&pin).unwrap();
        assert_eq!(serde_json::from_str::<KeyPin>(&json).unwrap(), pin);
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(66), &"+1".repeat(32), &"g".repeat(64)]
        {
            assert!(wrong.parse::<KeyPin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_id_of_a_cluster_reads_as_it_is_written() {
        for id in [0, 1, 0xfeed << 64, u128::MAX] {
            let id = ClusterId(id);
            assert_eq!(id.to_string().len(), 32);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "1", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)]
        {
            assert!(wrong.parse::<ClusterId>().is_err(), "{wrong}");
        }
    }
}
