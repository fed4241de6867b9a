//! Finds the slot of a group and window.

use hashbrown::HashMap;

/// No slot yet.
pub(super) const NONE: u32 = u32::MAX;

/// Windows of one group that are found by index instead of by hash.
const ROW_WINDOWS_MAX: i64 = 4_096;
/// Windows for which a row costs no more than a few entries of the hash.
const ROW_WINDOWS_FREE: usize = 64;
/// A row may have so many windows for each that its group has rows in.
const ROW_WINDOWS_EACH: u32 = 16;
/// What an entry of the hash takes up, with its share of the empty ones.
const HASHED_BYTES: usize = 40;

/// Slots by group and window. Groups with rows in many windows of the range expected have them
/// side by side.
#[derive(Default)]
pub(super) struct SlotIndex {
    base: i64,
    windows: usize,
    rows: Vec<Row>,
    hashed: HashMap<(u32, i64), u32>,
}

/// The slots of one group.
#[derive(Default)]
struct Row {
    slots: Box<[u32]>,
    /// Windows seen while there is no row.
    seen: u32,
}

impl SlotIndex {
    /// No slots yet. `hint` are the first and last window expected.
    pub(super) fn new(hint: Option<(i64, i64)>) -> SlotIndex {
        let mut index = SlotIndex::default();
        if let Some((first, last)) = hint
            && let Some(span) = last.checked_sub(first)
            && (0..ROW_WINDOWS_MAX).contains(&span)
        {
            (index.base, index.windows) = (first, span as usize + 1);
        }
        index
    }

    /// The place of a slot, which may be [`NONE`] so far. The bytes that are held in addition are
    /// added to `bytes`.
    pub(super) fn get(&mut self, group: u32, window: i64, bytes: &mut usize) -> &mut u32 {
        let place = window.wrapping_sub(self.base);
        if !(0..self.windows as i64).contains(&place) {
            return hashed(&mut self.hashed, (group, window), bytes);
        }
        let at = group as usize;
        if at >= self.rows.len() {
            *bytes += (at + 1 - self.rows.len()) * size_of::<Row>();
            self.rows.resize_with(at + 1, Row::default);
        }
        let row = &mut self.rows[at];
        if row.slots.is_empty() {
            let many = row.seen.saturating_mul(ROW_WINDOWS_EACH) as usize >= self.windows;
            if !many && self.windows > ROW_WINDOWS_FREE {
                let place = hashed(&mut self.hashed, (group, window), bytes);
                row.seen += u32::from(*place == NONE);
                return place;
            }
            row.slots = vec![NONE; self.windows].into();
            *bytes += self.windows * size_of::<u32>();
        }
        let slot = &mut row.slots[place as usize];
        if *slot == NONE
            && row.seen > 0
            && let Some(known) = self.hashed.get(&(group, window))
        {
            *slot = *known;
        }
        slot
    }
}

fn hashed<'a>(
    slots: &'a mut HashMap<(u32, i64), u32>,
    key: (u32, i64),
    bytes: &mut usize,
) -> &'a mut u32 {
    slots.entry(key).or_insert_with(|| {
        *bytes += HASHED_BYTES;
        NONE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_and_window_has_its_slot() {
        for windows in [1, 50, 1_000, 4_096, 5_000] {
            let mut index = SlotIndex::new(Some((10, 9 + windows)));
            let (mut slots, mut bytes) = (0, 0);
            for turn in 0..2 {
                for window in (0..windows + 20).step_by(3) {
                    for group in [0, 3] {
                        let place = index.get(group, window, &mut bytes);
                        if turn == 0 {
                            assert_eq!(*place, NONE);
                            *place = slots;
                            slots += 1;
                        }
                        let expected = window as u32 / 3 * 2 + u32::from(group == 3);
                        assert_eq!(*place, expected, "{windows} windows, window {window}");
                    }
                }
            }
        }
    }

    #[test]
    fn few_windows_of_many_groups_take_little() {
        let mut index = SlotIndex::new(Some((0, 3_999)));
        let mut bytes = 0;
        for group in 0..10_000 {
            *index.get(group, i64::from(group) % 4_000, &mut bytes) = group;
        }
        assert!(bytes < 2 << 20, "{bytes}");
        for window in 0..4_000 {
            *index.get(0, window, &mut bytes) = 1;
        }
        assert!(bytes > 10_000 * (HASHED_BYTES + size_of::<Row>()) + 16_000, "{bytes}");
    }
}
