//! Agreement and placement: the catalog, the replicas of tablets, and the node that hosts them.
//!
//! Only the module `replica` names the consensus library. HTTP and connectors are not known here.

mod catalog;
mod check;
mod command;
pub mod elections;
mod error;
mod identity;
pub mod liveness;
mod machine;
mod member;
mod node;
mod partition;
mod repair;
mod replica;
mod route;
#[cfg(test)]
mod sim;
pub mod transport;

/// Reads bodies of frames that are known only here: any bytes may come.
#[cfg(fuzzing)]
pub fn fuzz_bodies(bytes: &[u8]) {
    route::wire::fuzz(bytes);
    route::scan::fuzz(bytes);
}

pub use catalog::{COLUMNS_MAX, Catalog, Change, ColumnSpec, Cursors};
pub use check::{Checked, check};
pub use error::{Error, Result, WriteOutcome};
pub use identity::{Boot, ClusterId, NodeIdentity};
pub use member::{Assignment, Birth, Incarnation, MemberId};
pub use node::{Cover, Node, NodeOptions, NodeStats, RangesWanted, Trouble};
pub use repair::repair;
pub use replica::Replica;
