//! The edge nodes that are remembered, within a bound on their bytes.

use super::{node::Node, topic::EdgeNode};
use crate::Fault;
use oribi_model::RejectReason;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// What a node takes beside its names and definitions, about.
const NODE_BYTES: usize = 512;
/// What is left of the bound once nodes were forgotten, as a fraction of it: so that a source with more
/// nodes than there is room for does not look for the oldest one with every message.
const KEPT_OF_16: usize = 15;

/// Nodes by name. The lock of the index is held for a look-up, that of a node while a message of it is
/// read.
#[derive(Debug)]
pub(super) struct Index {
    known: Mutex<Nodes>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Nodes {
    nodes: HashMap<EdgeNode, Remembered>,
    bytes: usize,
    turn: u64,
}

#[derive(Debug)]
struct Remembered {
    node: Arc<Mutex<Node>>,
    is_born: bool,
    /// As counted in the index.
    bytes: usize,
    /// The turn in which it was heard last.
    heard: u64,
}

impl Index {
    pub(super) fn new(bytes_max: usize) -> Index {
        Index { known: Mutex::default(), bytes_max }
    }

    pub(super) fn len(&self) -> usize {
        self.known.lock().nodes.len()
    }

    /// Bytes that the nodes take, about; what is counted is what they say.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let known = self.known.lock();
        let held = known.nodes.iter().map(|(edge, one)| bytes_of(edge, one.node.lock().bytes()));
        assert_eq!(held.sum::<usize>(), known.bytes);
        known.bytes
    }

    /// Changes a node, which is made if it is new.
    ///
    /// # Errors
    /// It does not fit, and is forgotten.
    pub(super) fn change<T>(
        &self,
        edge: &EdgeNode,
        change: impl FnOnce(&mut Node) -> T,
    ) -> Result<T, Fault> {
        let (node, is_counted) = self.known.lock().heard(edge);
        let mut locked = node.lock();
        let before = (locked.is_born(), locked.bytes());
        let result = change(&mut locked);
        let after = (locked.is_born(), locked.bytes());
        drop(locked);
        if before != after || !is_counted {
            self.account(edge, &node, after)?;
        }
        Ok(result)
    }

    /// Changes a node if it is known.
    pub(super) fn change_known<T>(
        &self,
        edge: &EdgeNode,
        change: impl FnOnce(&mut Node) -> T,
    ) -> Option<T> {
        if !self.known.lock().nodes.contains_key(edge) {
            return None;
        }
        // What it holds becomes less.
        self.change(edge, change).ok()
    }

    /// Takes note of what a node holds, and forgets others until the bound holds, this one last.
    fn account(
        &self,
        edge: &EdgeNode,
        node: &Arc<Mutex<Node>>,
        (is_born, held): (bool, usize),
    ) -> Result<(), Fault> {
        let known = &mut *self.known.lock();
        // Another message may have made it be forgotten meanwhile.
        if let Some(remembered) = known.nodes.get_mut(edge)
            && Arc::ptr_eq(&remembered.node, node)
        {
            let bytes = bytes_of(edge, held);
            known.bytes = known.bytes + bytes - remembered.bytes;
            (remembered.bytes, remembered.is_born) = (bytes, is_born);
        }
        if known.bytes <= self.bytes_max {
            return Ok(());
        }
        known.forget(edge, self.bytes_max / 16 * KEPT_OF_16);
        if known.bytes <= self.bytes_max {
            return Ok(());
        }
        known.remove(edge);
        let detail = "the node defines more metrics than can be remembered";
        Err(Fault::new(RejectReason::Limit, detail))
    }
}

/// What a node takes with its names, if its definitions take so many bytes.
fn bytes_of(edge: &EdgeNode, held: usize) -> usize {
    held + NODE_BYTES + 2 * (edge.group.len() + edge.node.len())
}

impl Nodes {
    /// The node, made where it is new, and whether what it holds was counted before.
    fn heard(&mut self, edge: &EdgeNode) -> (Arc<Mutex<Node>>, bool) {
        self.turn += 1;
        let remembered = match self.nodes.entry(edge.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(Remembered { node: Arc::default(), is_born: false, bytes: 0, heard: 0 })
            }
        };
        remembered.heard = self.turn;
        (remembered.node.clone(), remembered.bytes > 0)
    }

    /// Forgets the dead and the silent until so many bytes are left; `keep` stays.
    fn forget(&mut self, keep: &EdgeNode, bytes: usize) {
        let others = self.nodes.iter().filter(|(edge, _)| *edge != keep);
        let mut others: Vec<_> =
            others.map(|(edge, one)| (one.is_born, one.heard, edge.clone())).collect();
        others.sort_unstable_by_key(|(is_born, heard, _)| (*is_born, *heard));
        for (_, _, edge) in others {
            if self.bytes <= bytes {
                return;
            }
            self.remove(&edge);
        }
    }

    fn remove(&mut self, edge: &EdgeNode) {
        if let Some(removed) = self.nodes.remove(edge) {
            self.bytes -= removed.bytes;
        }
    }
}
