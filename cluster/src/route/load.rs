//! How much is on its way to other nodes.

use oribi_model::NodeId;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Bytes of commands that one node is given and has not answered yet.
const BYTES_MAX: usize = 64 << 20;

/// The bytes on their way, by node.
#[derive(Debug, Default)]
pub(crate) struct Load {
    bytes: Mutex<HashMap<NodeId, usize>>,
}

/// Counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct OnItsWay<'a> {
    load: &'a Load,
    node: NodeId,
    bytes: usize,
}

impl Load {
    /// Counts so many bytes for a node; `None` where that is too much. What is alone goes, however
    /// long it is.
    pub(crate) fn take(&self, node: NodeId, bytes: usize) -> Option<OnItsWay<'_>> {
        let mut all = self.bytes.lock();
        let held = all.entry(node).or_default();
        if *held > 0 && *held + bytes > BYTES_MAX {
            return None;
        }
        *held += bytes;
        Some(OnItsWay { load: self, node, bytes })
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut all = self.load.bytes.lock();
        if let Some(held) = all.get_mut(&self.node) {
            *held -= self.bytes;
            if *held == 0 {
                all.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_own_bound() {
        let load = Load::default();
        let (one, two) = (NodeId(1), NodeId(2));
        let alone = load.take(one, 2 * BYTES_MAX).unwrap();
        assert!(load.take(one, 1).is_none());
        assert!(load.take(two, BYTES_MAX).is_some());
        drop(alone);
        let held = load.take(one, BYTES_MAX - 1).unwrap();
        assert!(load.take(one, 2).is_none() && load.take(one, 1).is_some());
        drop(held);
        assert!(load.bytes.lock().is_empty());
    }
}
