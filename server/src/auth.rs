//! Who asks: tokens of the catalog, and the one in the node's own file; and what makes a node known to
//! others, and to keep secrets.

mod admin_file;
mod cluster_key;
mod keyring;
mod node_files;
mod private;

pub(crate) use admin_file::{AdminFile, write_new};
pub(crate) use cluster_key::{ClusterVault, open_cluster_key};
pub(crate) use keyring::Keyring;
pub(crate) use node_files::{open_node_key, read_join_secret};
