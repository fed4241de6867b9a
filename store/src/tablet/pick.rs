//! Which neighbouring segments to merge: a pure decision.

use std::ops::Range;

/// Segments of similar size that are worth a merge.
const MERGE_COUNT_MIN: usize = 4;
/// A size class spans this factor; everything below the first bound is one class.
const CLASS_BYTES_MIN: u64 = 1 << 20;

/// What the decision needs of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) bytes: u64,
    pub(super) condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Clean,
    /// A pending delete has yet to be carried out in it.
    Dirty,
    /// It cannot be read, so it stays as it is.
    Damaged,
}

/// Neighbours to merge, by ascending log index, none of them larger than the rest together; a
/// single one is rewritten without its deleted rows. `None`: there is nothing to do.
pub(super) fn pick(segments: &[Candidate], bytes_max: u64) -> Option<Range<usize>> {
    let mut best: Option<Range<usize>> = None;
    for start in 0..segments.len() {
        let class = class(segments[start].bytes);
        let mut bytes = 0;
        let alike = segments[start..].iter().take_while(|next| {
            bytes += next.bytes;
            let readable = next.condition != Condition::Damaged;
            readable && self::class(next.bytes) <= class && bytes <= bytes_max
        });
        let found = start..start + alike.count();
        let sizes = segments[found.clone()].iter().map(|one| one.bytes);
        let even = sizes.clone().max().unwrap_or(0) <= sizes.clone().sum::<u64>() / 2;
        // Much is not written anew, and backed up again, for a little that came to it.
        let worth = sizes.filter(|bytes| self::class(*bytes) + 1 >= class).count();
        let longer = best.as_ref().is_none_or(|best| found.len() > best.len());
        if worth >= MERGE_COUNT_MIN && even && longer {
            best = Some(found);
        }
    }
    let dirty = |one: &Candidate| one.condition == Condition::Dirty;
    best.or_else(|| segments.iter().position(dirty).map(|at| at..at + 1))
}

/// The longest runs of neighbours that can be read and of which something would become of a merge.
pub(super) fn pick_all(segments: &[Candidate]) -> Vec<Range<usize>> {
    let mut at = 0;
    let runs = segments.chunk_by(|a, b| {
        (a.condition == Condition::Damaged) == (b.condition == Condition::Damaged)
    });
    let ranges = runs.map(|run| {
        at += run.len();
        (at - run.len()..at, run)
    });
    let worth = |run: &[Candidate]| match run {
        [one] => one.condition == Condition::Dirty,
        run => run[0].condition != Condition::Damaged,
    };
    ranges.filter(|(_, run)| worth(run)).map(|(range, _)| range).collect()
}

/// 0 below the first bound, then one more for each factor of four.
fn class(bytes: u64) -> u32 {
    (bytes / CLASS_BYTES_MIN).checked_ilog2().map_or(0, |log| log / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(megabytes: &[u64]) -> Vec<Candidate> {
        let candidate = |size: &u64| Candidate { bytes: size << 20, condition: Condition::Clean };
        megabytes.iter().map(candidate).collect()
    }

    #[test]
    fn only_enough_neighbours_of_like_size_merge() {
        assert_eq!(pick(&sizes(&[1, 1, 1]), u64::MAX), None);
        assert_eq!(pick(&sizes(&[100, 1, 1, 1, 1]), u64::MAX), Some(1..5));
        assert_eq!(pick(&sizes(&[1, 1, 100, 1, 1]), u64::MAX), None);
        assert_eq!(pick(&sizes(&[100, 1, 1, 1, 1]), 3 << 20), None);
    }

    #[test]
    fn large_ones_do_not_merge_for_a_small_one_that_came_to_them() {
        assert_eq!(pick(&sizes(&[64, 64, 64, 10]), u64::MAX), None);
        assert_eq!(pick(&sizes(&[64, 64, 64, 10, 10, 10]), u64::MAX), None);
        assert_eq!(pick(&sizes(&[64, 64, 64, 10, 10, 10, 10]), u64::MAX), Some(3..7));
        assert_eq!(pick(&sizes(&[64, 64, 64, 40]), u64::MAX), Some(0..4));
    }

    #[test]
    fn a_pending_delete_rewrites_one_segment() {
        let mut segments = sizes(&[100, 1]);
        segments[1].condition = Condition::Dirty;
        assert_eq!(pick(&segments, u64::MAX), Some(1..2));
    }

    #[test]
    fn neighbours_on_each_side_of_a_damaged_segment_merge() {
        let mut segments = sizes(&[1, 1, 1, 1, 1, 1, 1, 1, 1]);
        segments[3].condition = Condition::Damaged;
        assert_eq!(pick(&segments, u64::MAX), Some(4..9));
        assert_eq!(pick_all(&segments), [0..3, 4..9]);
        assert_eq!(pick(&segments[..7], u64::MAX), None);
        segments[0].condition = Condition::Dirty;
        segments[1].condition = Condition::Damaged;
        segments[7].condition = Condition::Damaged;
        assert_eq!(pick_all(&segments), [0..1, 4..7]);
    }
}
