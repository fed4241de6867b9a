//! Whether reads of a segment met bytes that are not what was written, or none.

use std::sync::atomic::{AtomicU32, Ordering};

/// The damage that was met and not refuted since.
#[derive(Default)]
pub(super) struct Damage {
    /// How often a read met damage.
    met: AtomicU32,
    /// How often it had when the file began to be read whole that then was as it should be.
    refuted: AtomicU32,
}

impl Damage {
    pub(super) fn is_there(&self) -> bool {
        self.met.load(Ordering::Relaxed) != self.refuted.load(Ordering::Relaxed)
    }

    /// Notes that a read met damage.
    pub(super) fn note(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }

    /// How much was met so far: for [`Damage::refute`].
    pub(super) fn met(&self) -> u32 {
        self.met.load(Ordering::Relaxed)
    }

    /// Takes back what was met until `met`: what others have met since then stands.
    pub(super) fn refute(&self, met: u32) {
        self.refuted.store(met, Ordering::Relaxed);
    }
}
