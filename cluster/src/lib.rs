//! Agreement and placement: the catalog, the replicas of tablets, and the node that hosts them.
//!
//! Only the module `replica` names the consensus library. HTTP and connectors are not known here.

mod beside;
mod catalog;
mod check;
mod command;
mod copy;
pub mod elections;
mod error;
mod hex;
mod identity;
mod join;
pub mod liveness;
mod machine;
mod member;
mod node;
mod partition;
mod peering;
mod placement;
mod planted;
mod recover;
mod repair;
mod replica;
mod restore;
mod route;
pub mod secured;
#[cfg(test)]
mod sim;
mod tasks;
#[cfg(test)]
mod testing;
pub mod transport;

pub use beside::beside_others;
pub use catalog::{
    COLUMNS_MAX, Catalog, Change, ColumnSpec, ConnectorSeat, Cursors, NODES_MAX, NodeAddresses,
    NodeRecord, NodeState, Presence, Reach, RestoredConnectors, TOKENS_AT_ONCE_MAX, TOKENS_MAX,
};
pub use check::{Checked, check};
pub use copy::CopyOptions;
pub use error::{Error, Result, WriteOutcome};
pub use identity::{Boot, ClusterId, ClusterKeyId, JoinNonce, KeyPin, NodeIdentity};
pub use join::{JoinOptions, join, renew};
pub use member::{Assignment, Birth, Incarnation, MemberId};
pub use node::{
    Cover, Election, HeldFiles, Node, NodeOptions, NodeStats, RangesWanted, RestoredCatalog,
    Trouble, vet,
};
pub use peering::{
    Awaited, MovePhase, MoveView, NodeView, Peering, PeersView, ReplicaState, ReplicaView,
    TabletView,
};
pub use recover::{Recovered, recover};
pub use repair::repair;
pub use replica::{Members, Replica};
pub use restore::Restore;

/// Reads bodies of frames that are known only here: any bytes may come.
#[cfg(any(test, fuzzing))]
pub fn fuzz_bodies(bytes: &[u8]) {
    route::wire::fuzz(bytes);
    route::scan::fuzz(bytes);
    route::sounding::fuzz(bytes);
    replica::fuzz(bytes);
    copy::fuzz(bytes);
    join::fuzz(bytes);
    let _ = (liveness::Ping::decode(bytes), command::Command::decode(bytes));
}

#[cfg(test)]
mod tests;
