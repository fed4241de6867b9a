//! Which slots have values: those of every input are counted, and a slot in which no input has any is
//! an empty window.

use crate::{Result, form::Take, lane::Slice, select::Input};

/// How many values each input has in each slot.
#[derive(Default)]
pub(crate) struct Presence {
    /// By input.
    counts: Vec<Vec<u64>>,
}

impl Presence {
    /// No slots yet.
    pub(crate) fn new(inputs: &[Input]) -> Presence {
        Presence { counts: vec![Vec::new(); inputs.len()] }
    }

    /// Adds an empty slot and returns its bytes.
    pub(crate) fn push(&mut self) -> usize {
        self.counts.iter_mut().for_each(|counts| counts.push(0));
        self.counts.len() * size_of::<u64>()
    }

    /// Counts the values of rows, given for an input by its place.
    pub(crate) fn fold(&mut self, input: usize, slot: usize, slice: &Slice<'_>) {
        let count = &mut self.counts[input][slot];
        slice.dense(|rows| *count += rows.len() as u64);
    }

    /// Adds the counts of a slot of another such.
    pub(crate) fn merge(&mut self, slot: usize, other: &Presence, from: usize) {
        for (counts, theirs) in self.counts.iter_mut().zip(&other.counts) {
            counts[slot] = counts[slot].saturating_add(theirs[from]);
        }
    }

    /// Whether some input has a value in a slot.
    pub(crate) fn is_some(&self, slot: usize) -> bool {
        self.counts.iter().any(|counts| counts[slot] > 0)
    }

    /// How many values an input has in a slot.
    pub(crate) fn count(&self, input: usize, slot: usize) -> i64 {
        i64::try_from(self.counts[input][slot]).unwrap_or(i64::MAX)
    }

    /// Appends a slot as bytes.
    pub(crate) fn write(&self, slot: usize, out: &mut Vec<u8>) {
        self.counts.iter().for_each(|counts| out.extend_from_slice(&counts[slot].to_le_bytes()));
    }

    /// Reads a slot.
    pub(crate) fn read(&mut self, slot: usize, from: &mut Take<'_>) -> Result<()> {
        for counts in &mut self.counts {
            counts[slot] = from.u64()?;
        }
        Ok(())
    }
}
