//! How connections between nodes are secured: TLS 1.3 with a key of its own at each end.
//!
//! Nodes are known by their keys, whose pins the catalog holds; no authority vouches for them, and no
//! date ends them. `key` is a node's key and the certificate that it shows, `tls` the handshake and what
//! it tells of the other side, `admission` how somebody whose key nobody knows yet proves that it may
//! join, `pass` a proof that ends by itself, `socket` a connection that can change its runtime. `cluster_key` is the key under which secrets are
//! kept, which all nodes have.

mod admission;
mod cluster_key;
mod key;
mod pass;
mod socket;
#[cfg(test)]
mod tests;
mod tls;

pub use admission::{Admission, BadSecret, JoinSecret, Standing};
pub(crate) use admission::{Direction, SEAL_BYTES};
pub use cluster_key::{BadClusterKey, CannotSeal, ClusterKey, KeyHolder, Unopened};
pub use key::{KeyError, NodeKey};
pub use pass::JoinPass;
pub(crate) use pass::PassName;
pub use socket::Socket;
pub use tls::{NodeTls, Peer, Stream};
