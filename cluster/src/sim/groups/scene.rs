//! What there is at a moment, for whoever judges it.

use super::{changes::Book, clients::Ledger, hall::Hall, host::Host};
use crate::CopyOptions;
use oribi_model::NodeId;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// What was tried stands in the ledger where nodes have tablets, and in the book where they have a
/// catalog.
pub(super) struct Scene {
    pub(super) hall: Arc<Hall>,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) book: Arc<Book>,
    pub(super) copies: CopyOptions,
}

impl Scene {
    /// Tries that were acked.
    pub(super) fn stored_count(&self) -> usize {
        self.ledger.stored_count() + self.book.acked.load(Ordering::Relaxed)
    }

    /// Questions that were answered.
    pub(super) fn reads(&self) -> usize {
        self.ledger.reads.load(Ordering::Relaxed) + self.book.reads.load(Ordering::Relaxed)
    }

    /// Has whoever writes and asks end.
    pub(super) fn end(&self) {
        self.ledger.is_over.store(true, Ordering::Relaxed);
        self.book.is_over.store(true, Ordering::Relaxed);
    }
}
