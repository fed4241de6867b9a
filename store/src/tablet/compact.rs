//! Neighbouring segments into one.

use super::{
    OpenSegment, Tablet,
    pick::{Candidate, Condition, pick, pick_all},
};
use crate::{Error, Result, scan::Source, segment::Segment};
use std::{ops::Range, sync::Arc};

impl Tablet {
    /// Merges some neighbouring segments, or carries out a pending delete in one, where that is
    /// worth it. Whether there was something to do. Segments that cannot be read are left as they
    /// are once that is known.
    ///
    /// # Errors
    /// [`Error::NoRoom`] before anything is written; [`Error::Source`] where a segment cannot be
    /// read; [`Error::Io`] otherwise, without a trace on disk; [`Error::Poisoned`] and
    /// [`Error::Dropped`] for good.
    pub fn compact(&self) -> Result<bool> {
        let _one = self.compacting.lock();
        self.may_write()?;
        let Some(range) = pick(&self.candidates(), self.options.compact_bytes_max) else {
            return Ok(false);
        };
        self.merge(range)?;
        Ok(true)
    }

    /// Merges until one segment without pending deletes is left, apart from those that cannot be
    /// read and what they keep apart.
    ///
    /// # Errors
    /// As [`Tablet::compact`].
    pub fn compact_fully(&self) -> Result<()> {
        let _one = self.compacting.lock();
        self.may_write()?;
        // From behind, so that the places before stay what they are.
        pick_all(&self.candidates()).into_iter().rev().try_for_each(|range| self.merge(range))
    }

    fn candidates(&self) -> Vec<Candidate> {
        let state = self.state.read();
        let candidate = |open: &OpenSegment| Candidate {
            bytes: open.entry.bytes,
            condition: if open.segment.is_damaged() {
                Condition::Damaged
            } else if open.source(&state.deletes).deletes.is_empty() {
                Condition::Clean
            } else {
                Condition::Dirty
            },
        };
        state.segments.iter().map(candidate).collect()
    }

    fn merge(&self, range: Range<usize>) -> Result<()> {
        let (inputs, deletes) = {
            let state = self.state.read();
            (state.segments[range].to_vec(), state.deletes.clone())
        };
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(()) };
        self.check_room(inputs.iter().map(|open| open.entry.bytes).sum())?;
        let bounds = (first.entry.first, last.entry.last);
        let carried_out = deletes.iter().map(|delete| delete.index).max();
        let before = inputs.iter().map(|open| open.entry.cleaned).min().unwrap_or_default();
        let cleaned = carried_out.unwrap_or_default().max(before);
        let sources: Vec<Source> = inputs.iter().map(|open| open.source(&deletes)).collect();
        let merged = self.write_segment(sources, bounds, cleaned)?;
        let number = first.entry.number;
        self.edit(merged, |state, merged| {
            let at = state.segments.iter().position(|open| open.entry.number == number);
            let at = at.expect("only a compaction removes segments, and one runs at a time");
            state.segments.splice(at..at + inputs.len(), merged.cloned());
        })?;
        inputs.into_iter().for_each(|input| self.retire(input.segment));
        Ok(())
    }

    /// Whether so many more bytes leave the reserve free.
    pub(super) fn check_room(&self, bytes: u64) -> Result<()> {
        // The tablet's own folder may not be there yet.
        let above = self.dir.parent().unwrap_or(&self.dir);
        let free_bytes = self.disk.free_bytes(above).map_err(Error::io("measure", above))?;
        let needed_bytes = bytes.saturating_add(self.options.reserve_bytes);
        if free_bytes < needed_bytes {
            return Err(Error::NoRoom { path: self.dir.clone(), needed_bytes, free_bytes });
        }
        Ok(())
    }

    /// Puts away a file that no version names any more.
    pub(super) fn retire(&self, segment: Arc<Segment>) {
        self.options.pages.forget(segment.keys());
        // New scans do not find it; those under way read on from the open file.
        let held = Arc::strong_count(&segment) > 1;
        let pinned = if held { segment.pin() } else { Ok(()) };
        let label = self.trash_label();
        if let Err(error) = pinned.and_then(|()| self.options.trash.take(segment.path(), &label)) {
            let path = segment.path().display();
            tracing::warn!(%path, %error, "a merged segment stays in its folder");
        }
    }
}
