//! An open connection as others see it, and those of which nobody knows yet who they are.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
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

/// Connections that have not said CONNECT yet, the oldest first.
#[derive(Default)]
pub(super) struct Greetings {
    state: Mutex<(u64, BTreeMap<u64, Arc<Live>>)>,
}

impl Greetings {
    /// Ends the connection that waits longest; `false` where none does.
    pub(super) fn make_room(&self, reason: u8) -> bool {
        match self.state.lock().1.pop_first() {
            Some((_, live)) => {
                live.end(reason);
                true
            }
            None => false,
        }
    }

    pub(super) fn enter(&self, live: &Arc<Live>) -> u64 {
        let mut state = self.state.lock();
        state.0 += 1;
        let place = state.0;
        state.1.insert(place, live.clone());
        place
    }

    pub(super) fn leave(&self, place: u64) {
        self.state.lock().1.remove(&place);
    }
}
