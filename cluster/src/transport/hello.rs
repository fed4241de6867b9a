//! What two nodes tell each other before anything else, and whether they go together.
//!
//! A connection begins with [`PREFACE`] and a frame of kind hello in each direction. The body is
//! `protocol min u16 | protocol max u16 | cluster u128 | node u32 | boot u64 | channel u8 |
//! for node u32`; what a later version puts behind it is passed over, so that versions which do not
//! go together still understand why.

use super::{Channel, Frame, Kind};
use crate::{Boot, ClusterId, NodeIdentity};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_model::NodeId;

/// The first bytes in each direction; who sends others is no node.
pub const PREFACE: [u8; 8] = *b"ORIBINET";
/// The oldest protocol that is spoken here.
pub const PROTOCOL_MIN: u16 = 1;
/// The newest protocol that is spoken here.
pub const PROTOCOL_MAX: u16 = 1;

const BODY_BYTES: usize = 37;

/// Who speaks, to whom, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The oldest protocol that it speaks.
    pub protocol_min: u16,
    /// The newest protocol that it speaks.
    pub protocol_max: u16,
    /// Who it is, in this run.
    pub identity: NodeIdentity,
    /// What the connection is for.
    pub channel: Channel,
    /// Whom it takes the other side to be.
    pub for_node: NodeId,
}

/// What both sides have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol to speak.
    pub protocol: u16,
    /// The other node.
    pub node: NodeId,
    /// Which run of it.
    pub boot: Boot,
    /// What the connection is for.
    pub channel: Channel,
}

/// Why two nodes do not go together. The connection is closed and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// What came first is no hello of a node.
    #[error("the other side is no node of Oribi")]
    NoNode,
    /// A hello that is cut short or says what cannot be.
    #[error("the hello of the other side cannot be read")]
    Malformed,
    /// Nothing that both speak.
    #[error(
        "the other side speaks protocol {} to {}, this node {} to {}",
        theirs.0, theirs.1, ours.0, ours.1
    )]
    Protocol {
        /// Oldest and newest.
        ours: (u16, u16),
        /// Oldest and newest.
        theirs: (u16, u16),
    },
    /// A node of another cluster.
    #[error("the other side belongs to cluster {theirs}, this node to {ours}")]
    OtherCluster {
        /// This node's.
        ours: ClusterId,
        /// The other's.
        theirs: ClusterId,
    },
    /// It is this node itself, or says that it was.
    #[error("the other side says that it is node {0}, which this node is")]
    Ourselves(NodeId),
    /// It is not the node that was called.
    #[error("node {asked} was called, and node {found} answers")]
    OtherNode {
        /// Who was meant.
        asked: NodeId,
        /// Who it is.
        found: NodeId,
    },
    /// It took this node for another one.
    #[error("node {asked} was meant, but this is node {found}")]
    NotMeant {
        /// Who was meant.
        asked: NodeId,
        /// Who this is.
        found: NodeId,
    },
    /// It knows of no such node.
    #[error("node {by} knows of no node {node} in its cluster")]
    Unknown {
        /// Who is not known.
        node: NodeId,
        /// To whom.
        by: NodeId,
    },
    /// The answer is about another connection.
    #[error("a connection for {asked:?} was answered as one for {found:?}")]
    OtherChannel {
        /// What was asked for.
        asked: Channel,
        /// What came back.
        found: Channel,
    },
}

/// No node has this id.
const NOBODY: NodeId = NodeId(0);

impl Hello {
    /// What this version says.
    pub fn new(identity: NodeIdentity, channel: Channel, for_node: NodeId) -> Hello {
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        Hello { protocol_min, protocol_max, identity, channel, for_node }
    }

    /// The answer to a node that is not known: it is for nobody.
    pub(super) fn to_nobody(identity: NodeIdentity, channel: Channel) -> Hello {
        Hello::new(identity, channel, NOBODY)
    }

    /// As a frame.
    pub fn to_frame(&self) -> Frame {
        let mut body = BytesMut::with_capacity(BODY_BYTES);
        body.put_u16_le(self.protocol_min);
        body.put_u16_le(self.protocol_max);
        body.put_u128_le(self.identity.cluster.0);
        body.put_u32_le(self.identity.node.0);
        body.put_u64_le(self.identity.boot.0);
        body.put_u8(self.channel.to_u8());
        body.put_u32_le(self.for_node.0);
        Frame::notice(Kind::Hello, body.freeze())
    }

    /// Reads the body of a hello of any version.
    ///
    /// # Errors
    /// [`HelloError::Malformed`].
    pub fn decode(body: &Bytes) -> Result<Hello, HelloError> {
        let mut body = body.clone();
        if body.len() < BODY_BYTES {
            return Err(HelloError::Malformed);
        }
        let (protocol_min, protocol_max) = (body.get_u16_le(), body.get_u16_le());
        let cluster = ClusterId(body.get_u128_le());
        let (node, boot) = (NodeId(body.get_u32_le()), Boot(body.get_u64_le()));
        let channel = Channel::from_u8(body.get_u8()).ok_or(HelloError::Malformed)?;
        let for_node = NodeId(body.get_u32_le());
        if protocol_min > protocol_max {
            return Err(HelloError::Malformed);
        }
        let identity = NodeIdentity { cluster, node, boot };
        Ok(Hello { protocol_min, protocol_max, identity, channel, for_node })
    }

    /// What the side that was called makes of `theirs`; `own` is who it is.
    ///
    /// # Errors
    /// Why they do not go together.
    pub fn accept(own: NodeIdentity, theirs: &Hello) -> Result<Agreed, HelloError> {
        let agreed = Hello::new(own, theirs.channel, theirs.identity.node).agree(theirs)?;
        if theirs.for_node != own.node {
            let (asked, found) = (theirs.for_node, own.node);
            return Err(HelloError::NotMeant { asked, found });
        }
        Ok(agreed)
    }

    /// What the side that called with this hello makes of the answer.
    ///
    /// # Errors
    /// Why they do not go together.
    pub fn answered(&self, theirs: &Hello) -> Result<Agreed, HelloError> {
        let agreed = self.agree(theirs)?;
        if theirs.identity.node != self.for_node {
            let (asked, found) = (self.for_node, theirs.identity.node);
            return Err(HelloError::OtherNode { asked, found });
        }
        if theirs.channel != self.channel {
            let (asked, found) = (self.channel, theirs.channel);
            return Err(HelloError::OtherChannel { asked, found });
        }
        if theirs.for_node != self.identity.node {
            return Err(HelloError::Unknown { node: self.identity.node, by: theirs.identity.node });
        }
        Ok(agreed)
    }

    fn agree(&self, theirs: &Hello) -> Result<Agreed, HelloError> {
        // Before anything else: what the rest means is a matter of the protocol.
        let protocol = self.protocol_max.min(theirs.protocol_max);
        if protocol < self.protocol_min.max(theirs.protocol_min) {
            let ours = (self.protocol_min, self.protocol_max);
            let theirs = (theirs.protocol_min, theirs.protocol_max);
            return Err(HelloError::Protocol { ours, theirs });
        }
        let (ours, found) = (self.identity, theirs.identity);
        if found.cluster != ours.cluster {
            let (ours, theirs) = (ours.cluster, found.cluster);
            return Err(HelloError::OtherCluster { ours, theirs });
        }
        if found.node == ours.node {
            return Err(HelloError::Ourselves(ours.node));
        }
        Ok(Agreed { protocol, node: found.node, boot: found.boot, channel: theirs.channel })
    }
}
