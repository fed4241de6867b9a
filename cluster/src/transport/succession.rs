//! Which connections of a peer count: those of its newest run, and of these the newest one for
//! each purpose.
//!
//! A request may lie in a connection that its sender has given up long ago, sent the same again,
//! and written something newer since. So a new connection takes the place of the old one, which is
//! read no further, before the first frame of the new one is looked at.

use super::{Agreed, Channel};
use crate::{
    Boot,
    planted::{Fault, is_planted},
};
use oribi_model::NodeId;
use std::collections::BTreeMap;

/// A connection that came in; counted by this node, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(pub u64);

/// A connection that a newer run of its node has made worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {node} has run {newest} by now; this is run {boot}")]
pub struct Superseded {
    /// Whose.
    pub node: NodeId,
    /// The run that it is of.
    pub boot: Boot,
    /// The newest run that is known.
    pub newest: Boot,
}

#[derive(Debug, Default)]
struct Peer {
    newest: Boot,
    connections: BTreeMap<Channel, Connection>,
}

/// The connections that count, by peer and purpose. What is known of a peer's runs stays for as
/// long as this node runs: 16 bytes a node that was ever there.
#[derive(Debug, Default)]
pub struct Succession {
    peers: BTreeMap<NodeId, Peer>,
    given: u64,
}

impl Succession {
    /// Takes in a connection. Gives its number, and the connections whose place it takes: they are
    /// to be read no further, and their readers to have ended, before the first frame of this one
    /// is handed on.
    ///
    /// # Errors
    /// [`Superseded`] where the node has begun a later run since.
    pub fn offer(&mut self, agreed: &Agreed) -> Result<(Connection, Vec<Connection>), Superseded> {
        let Agreed { node, boot, channel, .. } = *agreed;
        let peer = self.peers.entry(node).or_default();
        if boot < peer.newest {
            return Err(Superseded { node, boot, newest: peer.newest });
        }
        self.given += 1;
        let connection = Connection(self.given);
        let mut ended = Vec::new();
        if boot > peer.newest {
            peer.newest = boot;
            ended.extend(std::mem::take(&mut peer.connections).into_values());
        }
        ended.extend(peer.connections.insert(channel, connection));
        if is_planted(Fault::SupersededStillRead) {
            ended.clear();
        }
        Ok((connection, ended))
    }

    /// Whether frames of this connection still count.
    pub fn is_current(&self, node: NodeId, channel: Channel, connection: Connection) -> bool {
        let peer = self.peers.get(&node);
        peer.and_then(|peer| peer.connections.get(&channel)) == Some(&connection)
            || is_planted(Fault::SupersededStillRead)
    }

    /// Notes that a connection has ended. `true` where it counted until now, so that nothing of
    /// the node comes over this channel any more.
    pub fn end(&mut self, node: NodeId, channel: Channel, connection: Connection) -> bool {
        let counted = self.is_current(node, channel, connection);
        if counted && let Some(peer) = self.peers.get_mut(&node) {
            peer.connections.remove(&channel);
        }
        counted
    }

    /// The newest run of a node that was heard of.
    pub fn newest(&self, node: NodeId) -> Option<Boot> {
        self.peers.get(&node).map(|peer| peer.newest)
    }
}
