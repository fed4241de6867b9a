//! The memory of all questions together.

use crate::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all questions hold, and may hold, bytes.
#[derive(Debug)]
pub(crate) struct Allotment {
    bytes_max: usize,
    held: AtomicUsize,
}

impl Allotment {
    pub(crate) fn new(bytes_max: usize) -> Allotment {
        Allotment { bytes_max, held: AtomicUsize::new(0) }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes so much more, if that is left.
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| Error::Crowded { memory_total_bytes_max: self.bytes_max })
    }

    /// Takes so much more in any case: it is there already.
    pub(crate) fn take_anyway(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}
