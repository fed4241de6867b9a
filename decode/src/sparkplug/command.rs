//! What a host application sends.

use super::topic::EdgeNode;
use crate::wire::{put_bytes, put_number};

/// A message to publish, at QoS 0 and not retained as the specification demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
}

/// The name of the metric by which a node is asked for its births.
pub(super) const REBIRTH: &str = "Node Control/Rebirth";

/// Asks an edge node to send its births again; `now_ns` is ns since the Unix epoch.
pub fn rebirth_command(edge: &EdgeNode, now_ns: i64) -> Command {
    const BOOLEAN: u64 = 11;
    let now_ms = now_ns.max(0) as u64 / 1_000_000;
    let (mut metric, mut payload) = (Vec::new(), Vec::new());
    put_bytes(1, REBIRTH.as_bytes(), &mut metric);
    put_number(3, now_ms, &mut metric);
    put_number(4, BOOLEAN, &mut metric);
    put_number(14, 1, &mut metric);
    put_number(1, now_ms, &mut payload);
    put_bytes(2, &metric, &mut payload);
    Command { topic: format!("spBv1.0/{}/NCMD/{}", edge.group, edge.node), payload }
}
