//! Refused logins, joined: whoever tries again and again fills no disk.

use super::Record;
use parking_lot::Mutex;
use std::{collections::BTreeMap, mem, net::IpAddr};

/// Kinds that are told apart at once.
const KINDS_MAX: usize = 1_024;

/// Who was refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    pub(super) via: &'static str,
    /// `None` where it is not known, or there are too many.
    pub(super) from: Option<IpAddr>,
    pub(super) reason: &'static str,
}

/// Of each kind, how many have come since it was written last.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<BTreeMap<Refused, u64>>);

impl Logins {
    /// Counts one. Gives what is to be written at once: the first of its kind.
    pub(super) fn refused(&self, refused: Refused) -> Option<Record> {
        let mut kinds = self.0.lock();
        let is_known = kinds.contains_key(&refused);
        let kind = match is_known || kinds.len() < KINDS_MAX {
            true => refused,
            false => Refused { from: None, ..refused },
        };
        match kinds.get_mut(&kind) {
            Some(count) => {
                *count += 1;
                None
            }
            None => {
                kinds.insert(kind, 0);
                Some(entry(kind, 1))
            }
        }
    }

    /// What has come since, by kind; afterwards the next one is the first again.
    pub(super) fn take(&self) -> Vec<Record> {
        let kinds = mem::take(&mut *self.0.lock());
        let some = kinds.into_iter().filter(|(_, count)| *count > 0);
        some.map(|(kind, count)| entry(kind, count)).collect()
    }
}

fn entry(Refused { via, from, reason }: Refused, count: u64) -> Record {
    Record {
        event: "login_refused",
        via,
        from,
        result: "refused",
        reason: Some(reason.to_owned()),
        count: Some(count),
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(last: u32) -> Refused {
        let from = Some(IpAddr::from(last.to_be_bytes()));
        Refused { via: "http", from, reason: "unknown" }
    }

    #[test]
    fn the_first_is_told_at_once_and_others_together() {
        let logins = Logins::default();
        assert_eq!(logins.refused(of(1)).unwrap().count, Some(1));
        assert_eq!(logins.refused(of(2)).unwrap().from, of(2).from);
        for _ in 0..70 {
            assert_eq!(logins.refused(of(1)), None);
        }
        let other = Refused { reason: "expired", ..of(1) };
        assert!(logins.refused(other).is_some());
        let joined = logins.take();
        assert_eq!(joined.iter().map(|one| one.count).collect::<Vec<_>>(), [Some(70)]);
        assert!(logins.take().is_empty() && logins.refused(of(1)).is_some());
    }

    #[test]
    fn many_addresses_take_no_more_room_than_some() {
        let logins = Logins::default();
        let told = (0..100_000).filter_map(|last| logins.refused(of(last))).count();
        assert_eq!(told, KINDS_MAX + 1);
        let joined = logins.take();
        assert_eq!(joined.len(), 1);
        assert_eq!((joined[0].from, joined[0].count), (None, Some(100_000 - told as u64)));
    }
}
