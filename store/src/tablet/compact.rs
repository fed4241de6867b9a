//! Neighbouring segments into one.

use super::{
    OpenSegment, Tablet,
    pick::{Candidate, pick},
};
use crate::{Result, scan::Source};
use std::ops::Range;

impl Tablet {
    /// Merges some neighbouring segments, or carries out a pending delete in one, where that is
    /// worth it. Whether there was something to do.
    ///
    /// # Errors
    /// [`crate::Error::Io`] once, [`crate::Error::Poisoned`] from then on;
    /// [`crate::Error::Source`] where a segment cannot be read.
    pub fn compact(&self) -> Result<bool> {
        let _one = self.compacting.lock();
        self.alive()?;
        let Some(range) = pick(&self.candidates(), self.options.compact_bytes_max) else {
            return Ok(false);
        };
        let outcome = self.merge(range);
        self.poison_on_failure(outcome)?;
        Ok(true)
    }

    /// Merges until one segment without pending deletes is left.
    ///
    /// # Errors
    /// As [`Tablet::compact`].
    pub fn compact_fully(&self) -> Result<()> {
        let _one = self.compacting.lock();
        self.alive()?;
        let candidates = self.candidates();
        if candidates.len() > 1 || candidates.iter().any(|one| one.dirty) {
            let outcome = self.merge(0..candidates.len());
            self.poison_on_failure(outcome)?;
        }
        Ok(())
    }

    fn candidates(&self) -> Vec<Candidate> {
        let state = self.state.read();
        let candidate = |open: &OpenSegment| Candidate {
            bytes: open.entry.bytes,
            dirty: !open.source(&state.deletes).deletes.is_empty(),
        };
        state.segments.iter().map(candidate).collect()
    }

    fn merge(&self, range: Range<usize>) -> Result<()> {
        let (inputs, deletes) = {
            let state = self.state.read();
            (state.segments[range].to_vec(), state.deletes.clone())
        };
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(()) };
        let bounds = (first.entry.first, last.entry.last);
        let carried_out = deletes.iter().map(|delete| delete.index).max();
        let before = inputs.iter().map(|open| open.entry.cleaned).min().unwrap_or_default();
        let cleaned = carried_out.unwrap_or_default().max(before);
        let sources: Vec<Source> = inputs.iter().map(|open| open.source(&deletes)).collect();
        let merged = self.write_segment(&sources, bounds, cleaned)?;
        let number = first.entry.number;
        self.edit(|state| {
            let at = state.segments.iter().position(|open| open.entry.number == number);
            let at = at.expect("only a compaction removes segments, and one runs at a time");
            state.segments.splice(at..at + inputs.len(), merged.clone());
        })?;
        for input in &inputs {
            self.options.pages.forget(input.segment.keys());
            // A file that stays is removed when the tablet is opened next.
            if let Err(error) = self.disk.remove(input.segment.path()) {
                let path = input.segment.path().display();
                tracing::warn!(%path, %error, "cannot remove a merged segment");
            }
        }
        Ok(())
    }
}
