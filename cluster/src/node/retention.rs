//! When tablets past their retention may go: a pure decision that no single look at the clock
//! makes.

use oribi_model::TabletId;
use std::collections::BTreeMap;

/// The wall clock and the process's own may differ by so much from one look to the next.
const JUMP_NS: i64 = 60_000_000_000;
const NS_PER_MS: i64 = 1_000_000;

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
