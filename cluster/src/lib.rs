//! Agreement and placement: the catalog, the replicas of tablets, and the node that hosts them.
//!
//! Only the module `replica` names the consensus library. HTTP and connectors are not known here.

pub mod catalog;
mod command;
mod error;
mod machine;
pub mod node;
mod partition;
mod replica;

pub use catalog::{Catalog, Change, ColumnSpec};
pub use error::{Error, Result};
pub use node::{Node, NodeOptions, NodeStats};
