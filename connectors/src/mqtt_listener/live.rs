//! An open connection as others see it, and those of which nobody knows yet who they are.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};
use tokio::sync::Notify;

/// Wakes one connection: acks are due, there is room, or it has to end.
#[derive(Debug, Default)]
pub(super) struct Waker {
    pub(super) wake: Notify,
}

/// A connection that somebody else may end.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) waker: Arc<Waker>,
    /// The reason code with which it has to end; 0: it has not.
    ended: AtomicU8,
}

impl Live {
    /// Has it end with a reason code of MQTT 5; the first one stands.
    pub(super) fn end(&self, reason: u8) {
        let _ = self.ended.compare_exchange(0, reason, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake.notify_one();
    }

    /// The reason code with which it has to end.
    pub(super) fn ended(&self) -> Option<u8> {
        Some(self.ended.load(Ordering::Acquire)).filter(|reason| *reason != 0)
    }
}

/// Connections that have not said CONNECT yet, or whose handshake is not done.
const GREETINGS_MAX: usize = 1_024;

/// Connections of which nobody knows yet who they are, the oldest first.
#[derive(Default)]
pub(super) struct Greetings {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    all: BTreeMap<u64, (Arc<Live>, Option<IpAddr>)>,
    by_address: HashMap<Option<IpAddr>, BTreeSet<u64>>,
}

impl Waiting {
    fn remove(&mut self, place: u64) -> Option<Arc<Live>> {
        let (live, address) = self.all.remove(&place)?;
        if let Some(places) = self.by_address.get_mut(&address) {
            places.remove(&place);
            if places.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(live)
    }
}

impl Greetings {
    /// Ends the connection that waits longest; `false` where none does.
    pub(super) fn make_room(&self, reason: u8) -> bool {
        let mut state = self.state.lock();
        let oldest = state.all.first_key_value().map(|(place, _)| *place);
        match oldest.and_then(|place| state.remove(place)) {
            Some(live) => {
                live.end(reason);
                true
            }
            None => false,
        }
    }

    /// Takes a connection in. Where too many wait, the address that has most of them loses its oldest,
    /// so that neither a flood nor a gateway with thousands of devices shuts others out.
    pub(super) fn enter(&self, live: &Arc<Live>, address: Option<IpAddr>, reason: u8) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        let place = state.last;
        state.all.insert(place, (live.clone(), address));
        state.by_address.entry(address).or_default().insert(place);
        if state.all.len() > GREETINGS_MAX {
            let most = state.by_address.values().max_by_key(|places| places.len());
            let oldest = most.and_then(|places| places.first().copied());
            if let Some(live) = oldest.and_then(|place| state.remove(place)) {
                live.end(reason);
            }
        }
        place
    }

    pub(super) fn leave(&self, place: u64) {
        self.state.lock().remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_shuts_out_itself_alone() {
        let greetings = Greetings::default();
        let (other, flood) = (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
        let first = Arc::new(Live::default());
        greetings.enter(&first, other, 7);
        let lives: Vec<Arc<Live>> = (0..GREETINGS_MAX).map(|_| Arc::default()).collect();
        for live in &lives {
            greetings.enter(live, flood, 7);
        }
        assert_eq!((first.ended(), lives[0].ended(), lives[1].ended()), (None, Some(7), None));
        assert!(greetings.make_room(8));
        assert_eq!(first.ended(), Some(8));
    }
}
