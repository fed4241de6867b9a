//! The seam between what nodes say and how it gets there: sockets, or a simulation.

use super::{Agreed, Channel, Frame, Kind, Refusal};
use crate::{Incarnation, KeyPin, secured::Standing};
use bytes::Bytes;
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::pin::Pin;

/// A future that is handed across the seam.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is asked of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it is about; the connection follows from it.
    pub kind: Kind,
    /// The group concerned.
    pub group: GroupId,
    /// The replica that it is for.
    pub incarnation: Incarnation,
    /// What it says.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not sent: there is no connection.
    #[error("node {0} is not connected")]
    NotConnected(NodeId),
    /// It was not sent: too much waits for this node already.
    #[error("too much waits to be sent to node {0}")]
    Full(NodeId),
    /// The other node did not do it.
    #[error("node {node} refuses: {refusal}")]
    Refused {
        /// Which node.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// The connection ended before an answer came. The request may have been taken, or may still
    /// be.
    #[error("the connection to node {0} ended before it answered")]
    Lost(NodeId),
}

impl CallError {
    /// Whether the other node surely did not do what was asked, and will not.
    pub fn is_surely_not_done(&self) -> bool {
        !matches!(self, CallError::Lost(_))
    }
}

/// Takes requests to other nodes.
pub trait Network: Send + Sync + 'static {
    /// Sends a request. Requests of one kind of connection to one node arrive in the order of these
    /// calls, or not at all; none waits for the answer to another. The answer may be dropped, which
    /// does not take the request back. Whoever waits for it sets a limit.
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>>;

    /// Sends a request that wants no answer.
    ///
    /// # Errors
    /// One that says that it was not sent.
    fn notify(&self, to: NodeId, request: Request) -> Result<(), CallError>;
}

/// Which side of a connection this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It asks.
    Calling,
    /// It is asked.
    Called,
}

/// Somebody who wants to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The key that it has.
    pub pin: KeyPin,
    /// Whether it may join though nobody knows that key.
    pub standing: Standing,
}

/// Takes what other nodes ask.
pub trait Service: Send + Sync + 'static {
    /// Takes a request; called in the order of a connection, and never waits. The answer is sent
    /// when there is one; it is dropped where the connection ends before.
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>>;

    /// Whether there is such a node in the cluster, or there may be, and this is its key; others are
    /// turned away, and not called.
    fn knows(&self, _: NodeId, _: KeyPin) -> bool {
        true
    }

    /// A connection is there.
    fn linked(&self, with: &Agreed, side: Side);

    /// The connection for this purpose is gone, and no newer one has taken its place.
    fn cut(&self, with: &Agreed, side: Side);

    /// Answers somebody who wants to be known; `None` where that cannot be answered.
    fn join(&self, _: Asker, _: Bytes) -> Pending<Option<Bytes>> {
        Box::pin(std::future::ready(None))
    }

    /// A node could not be connected to: where it should be, nobody answers.
    fn refused(&self, node: NodeId, channel: Channel) {
        tracing::debug!(node = node.0, ?channel, "nobody answers");
    }
}
