//! One bound on the memory of all that clients make the listener remember: beyond it, what was used
//! least lately goes.

use super::live::Live;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of a connection that are not counted.
pub(super) const FREE_BYTES: usize = 8 * 1024;

/// Who holds memory.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    /// A connection, which is closed to get it back.
    Connection(Arc<Live>),
    /// The session of a client that is away, which ends.
    Session(Arc<str>),
}

/// Where an owner's memory is noted; it forgets nothing by itself.
#[derive(Debug, Default)]
pub(super) struct Account(Option<u64>);

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    next: u64,
    /// By ascending last use.
    by_use: BTreeMap<u64, (usize, Owner)>,
}

/// The memory of all owners.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes_max: usize,
    state: Mutex<State>,
}

impl Ledger {
    pub(super) fn new(bytes_max: usize) -> Ledger {
        Ledger { bytes_max, state: Mutex::default() }
    }

    /// Notes that an owner holds so many bytes and was used just now. Gives those that have to give
    /// theirs back; they are off the books already.
    pub(super) fn note(&self, account: &mut Account, bytes: usize, owner: &Owner) -> Vec<Owner> {
        let mut state = self.state.lock();
        state.take(account);
        let place = state.next;
        state.next += 1;
        state.bytes += bytes;
        state.by_use.insert(place, (bytes, owner.clone()));
        account.0 = Some(place);
        let mut evicted = Vec::new();
        while state.bytes > self.bytes_max
            && let Some((_, (bytes, owner))) = state.by_use.pop_first()
        {
            state.bytes -= bytes;
            evicted.push(owner);
        }
        evicted
    }

    /// Notes that an owner holds nothing any more.
    pub(super) fn clear(&self, account: &mut Account) {
        if account.0.is_some() {
            self.state.lock().take(account);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

impl State {
    fn take(&mut self, account: &mut Account) {
        if let Some((bytes, _)) = account.0.take().and_then(|place| self.by_use.remove(&place)) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_least_lately_goes_first() {
        let ledger = Ledger::new(100);
        let owner = |name: &str| Owner::Session(name.into());
        let mut accounts: Vec<Account> = (0..4).map(|_| Account::default()).collect();
        let mut note = |at: usize, bytes, name: &str| -> Vec<String> {
            let evicted = ledger.note(&mut accounts[at], bytes, &owner(name));
            evicted
                .iter()
                .map(|owner| match owner {
                    Owner::Session(client) => client.to_string(),
                    Owner::Connection(_) => "connection".into(),
                })
                .collect()
        };
        assert!(note(0, 40, "a").is_empty());
        assert!(note(1, 40, "b").is_empty());
        assert!(note(0, 50, "a").is_empty());
        assert_eq!(note(2, 20, "c"), ["b"]);
        // An owner that was evicted starts anew, one that takes all the room goes itself.
        assert!(note(1, 30, "b").is_empty());
        assert_eq!(note(3, 101, "d"), ["a", "c", "b", "d"]);
        assert_eq!(ledger.bytes(), 0);
        ledger.clear(&mut accounts[0]);
        assert_eq!(ledger.bytes(), 0);
    }
}
