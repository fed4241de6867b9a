//! Agreement and placement: the catalog, the replicas of tablets, and the node that hosts them.
//!
//! Only the module `replica` names the consensus library. HTTP and connectors are not known here.

mod catalog;
mod check;
mod command;
pub mod elections;
mod error;
mod identity;
mod join;
pub mod liveness;
mod machine;
mod member;
mod node;
mod partition;
mod peering;
mod repair;
mod replica;
#[cfg(test)]
mod sim;
pub mod transport;

pub use catalog::{
    COLUMNS_MAX, Catalog, Change, ColumnSpec, Cursors, NODES_MAX, NodeAddresses, NodeRecord,
    NodeState, Presence,
};
pub use check::{Checked, check};
pub use error::{Error, Result, WriteOutcome};
pub use identity::{Boot, ClusterId, JoinNonce, NodeIdentity};
pub use join::{JoinOptions, join};
pub use member::{Assignment, Birth, Incarnation, MemberId};
pub use node::{Cover, Node, NodeOptions, NodeStats, RangesWanted, Trouble};
pub use peering::{NodeView, Peering, PeersView, ReplicaState, ReplicaView, TabletView};
pub use repair::repair;
pub use replica::{Members, Replica};
