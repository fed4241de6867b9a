//! When tablets past their retention may go: a pure decision that no single look at the clock
//! makes.

use oribi_model::TabletId;
use std::collections::BTreeMap;

/// The wall clock and the process's own may differ by so much from one look to the next.
const JUMP_NS: i64 = 60_000_000_000;
const NS_PER_MS: i64 = 1_000_000;

/// A clock that is further from those of the others drops nothing.
const CLOCK_OFF_NS_MAX: i64 = 30_000_000_000;

/// Whether this node's clock may decide what is past its retention, by how much those of other nodes
/// are ahead of it: it is not far from the median of all. Where no other is known there is nothing
/// to go by.
pub(super) fn may_judge(clocks_ahead_ns: &[i64]) -> bool {
    if clocks_ahead_ns.is_empty() {
        return false;
    }
    let mut all = clocks_ahead_ns.to_vec();
    all.push(0);
    all.sort_unstable();
    // Of an even number, both in the middle.
    let middle = [all[(all.len() - 1) / 2], all[all.len() / 2]];
    middle.iter().all(|ahead_ns| ahead_ns.saturating_abs() <= CLOCK_OFF_NS_MAX)
}

/// Tablets that are past their retention, and for how long that was seen.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Of each tablet, when it was first seen so, in ms of the process's life.
    since_ms: BTreeMap<TabletId, u64>,
    /// Wall clock, ns, and ms of the process's life at the last look.
    last: Option<(i64, u64)>,
}

impl Waiting {
    /// Notes that `expired`, by id, are past their retention at wall clock `now_ns`, and gives those that
    /// were so at every look of at least `wait_ms`. A jump of the wall clock begins all waits
    /// anew.
    pub(super) fn look(
        &mut self,
        expired: &[TabletId],
        (now_ns, life_ms): (i64, u64),
        wait_ms: u64,
    ) -> Vec<TabletId> {
        let jumped = self.last.is_some_and(|(before_ns, before_ms)| {
            let lived_ns = (life_ms - before_ms) as i64 * NS_PER_MS;
            now_ns.saturating_sub(before_ns).saturating_sub(lived_ns).saturating_abs() > JUMP_NS
        });
        if jumped {
            self.since_ms.clear();
        }
        self.last = Some((now_ns, life_ms));
        self.since_ms.retain(|tablet, _| expired.binary_search(tablet).is_ok());
        for tablet in expired {
            self.since_ms.entry(*tablet).or_insert(life_ms);
        }
        let due = self.since_ms.iter().filter(|(_, since)| life_ms - **since >= wait_ms);
        due.map(|(tablet, _)| *tablet).collect()
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.since_ms.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_NS: i64 = 365 * 86_400 * 1_000_000_000;

    #[test]
    fn a_clock_that_is_far_from_the_others_judges_nothing() {
        const S: i64 = 1_000_000_000;
        const HOUR: i64 = 3_600 * S;
        assert!(may_judge(&[0, 0]) && may_judge(&[29 * S, -29 * S]) && may_judge(&[S]));
        assert!(!may_judge(&[-HOUR, -HOUR]), "this one is ahead");
        assert!(!may_judge(&[HOUR, HOUR + S]), "this one is behind");
        assert!(may_judge(&[HOUR, S]) && may_judge(&[-HOUR, S]), "another one is off");
        assert!(
            !may_judge(&[HOUR]) && !may_judge(&[-HOUR]),
            "one of two is off, nobody knows which"
        );
        assert!(!may_judge(&[31 * S, 31 * S]) && !may_judge(&[i64::MIN, i64::MIN]));
        assert!(may_judge(&[0, 0, HOUR, HOUR]) && !may_judge(&[HOUR, HOUR, HOUR, 0]));
        assert!(!may_judge(&[]), "nobody else was heard");
    }

    #[test]
    fn a_tablet_goes_once_it_was_expired_for_long_enough() {
        let mut waiting = Waiting::default();
        let at = |s: u64| (s as i64 * 1_000_000_000, s * 1_000);
        let tablets = [TabletId(1), TabletId(2)];
        assert!(waiting.look(&tablets[..1], at(0), 600_000).is_empty());
        assert!(waiting.look(&tablets, at(300), 600_000).is_empty());
        assert_eq!(waiting.look(&tablets, at(600), 600_000), [TabletId(1)]);
        assert_eq!(waiting.look(&tablets[1..], at(900), 600_000), [TabletId(2)]);
        assert!(waiting.look(&[], at(901), 600_000).is_empty());
        assert_eq!(waiting.count(), 0);
    }

    #[test]
    fn a_clock_that_jumps_forward_and_back_drops_nothing() {
        let mut waiting = Waiting::default();
        let second = 1_000_000_000;
        assert!(waiting.look(&[], (0, 0), 600_000).is_empty());
        let mut looks = 0;
        for s in 1..=599 {
            let now_ns = YEAR_NS + s * second;
            assert!(waiting.look(&[TabletId(1)], (now_ns, s as u64 * 1_000), 600_000).is_empty());
            looks += 1;
        }
        assert_eq!((looks, waiting.count()), (599, 1));
        assert!(waiting.look(&[], (600 * second, 600_000), 600_000).is_empty());
        // Back and forth again: the wait begins anew.
        assert!(waiting.look(&[TabletId(1)], (YEAR_NS, 700_000), 600_000).is_empty());
        assert!(waiting.look(&[TabletId(1)], (YEAR_NS + second, 701_000), 600_000).is_empty());
    }
}
