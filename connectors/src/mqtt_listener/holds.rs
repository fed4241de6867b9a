//! Clients whose messages wait for tables or time ranges that have to be made.
//!
//! Such a client waits as a whole and in order: what it sends meanwhile queues behind, and from its
//! first waiting batch on nothing is acked to it. Nobody else waits for it.

use super::live::Waker;
use crate::pump::Held;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// What all waiting messages of a shard may hold, bytes; one batch comes on top.
const BYTES_MAX: usize = 16 << 20;
/// A client that has less than this waiting finds room where others have taken half of all.
const SMALL_BYTES: usize = 64 << 10;
/// A client with more than this waiting is not read from.
const READ_BYTES_MAX: usize = 256 << 10;

/// Messages that wait, and since when.
pub(super) struct Waiting {
    pub(super) held: Held,
    pub(super) since: Option<Instant>,
}

#[derive(Default)]
struct Hold {
    /// The first batch with a message that is not stored.
    first: u64,
    queue: VecDeque<Waiting>,
    /// Of the messages being written, too.
    bytes: usize,
    /// The connection that has acks waiting.
    waker: Option<Arc<Waker>>,
}

/// All waiting clients of a shard.
#[derive(Default)]
pub(super) struct Holds {
    clients: Mutex<HashMap<Arc<str>, Hold>>,
    /// As many as `clients` has, to be asked without its lock.
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// What became of messages that have to wait.
pub(super) enum Added {
    /// They wait behind others of their client.
    Queued,
    /// They are their client's first: somebody has to write them.
    First,
    /// There is no room for them.
    Full(Box<Held>),
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    /// The greatest batch whose messages may be acked.
    pub(super) acked: u64,
    pub(super) may_read: bool,
    /// Whether messages of the client wait.
    pub(super) is_held: bool,
}

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    pub(super) fn has(&self, client: &Arc<str>) -> bool {
        self.clients.lock().contains_key(client)
    }

    /// Has messages wait. Called by the writer of the shard alone.
    pub(super) fn add(&self, held: Held, since: Option<Instant>) -> Added {
        let mut clients = self.clients.lock();
        let (bytes, all_bytes) = (held.bytes(), self.bytes.load(Ordering::Relaxed));
        let of_client = clients.get(&held.client).map_or(0, |hold| hold.bytes);
        let is_small = of_client + bytes <= SMALL_BYTES;
        if all_bytes >= if is_small { BYTES_MAX } else { BYTES_MAX / 2 } {
            return Added::Full(Box::new(held));
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (client, number) = (held.client.clone(), held.number());
        let hold = clients.entry(client).or_default();
        let is_first = hold.first == 0;
        if is_first {
            hold.first = number;
        }
        hold.bytes += bytes;
        hold.queue.push_back(Waiting { held, since });
        self.count.store(clients.len(), Ordering::Release);
        if is_first { Added::First } else { Added::Queued }
    }

    /// The next messages of a client, `bytes` of which were stored before; `None` once nothing of
    /// it waits any more.
    pub(super) fn next(&self, client: &Arc<str>, bytes: usize) -> Option<Waiting> {
        let mut clients = self.clients.lock();
        let hold = clients.get_mut(client)?;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        hold.bytes -= bytes;
        let next = hold.queue.pop_front();
        if let Some(waker) = &hold.waker {
            waker.wake.notify_one();
        }
        match &next {
            Some(next) => hold.first = next.held.number(),
            None => {
                clients.remove(client);
                self.count.store(clients.len(), Ordering::Release);
            }
        }
        next
    }

    /// What a connection of the client may do when all batches up to `completed` are done; `waker`
    /// is called once it may do more.
    pub(super) fn leave(&self, client: &Arc<str>, completed: u64, waker: &Arc<Waker>) -> Leave {
        let free = Leave { acked: completed, may_read: true, is_held: false };
        if self.is_empty() {
            return free;
        }
        let mut clients = self.clients.lock();
        let Some(hold) = clients.get_mut(client) else { return free };
        hold.waker = Some(waker.clone());
        let acked = completed.min(hold.first - 1);
        Leave { acked, may_read: hold.bytes < READ_BYTES_MAX, is_held: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(holds: &Holds, client: &str, completed: u64) -> (u64, bool) {
        let leave = holds.leave(&client.into(), completed, &Arc::default());
        (leave.acked, leave.may_read)
    }

    #[test]
    fn a_client_is_acked_up_to_its_first_waiting_batch_and_others_as_ever() {
        let holds = Holds::default();
        let client: Arc<str> = "a".into();
        assert!(matches!(holds.add(Held::of("a", 5, 10), None), Added::First));
        assert!(matches!(holds.add(Held::of("a", 7, 20), None), Added::Queued));
        assert_eq!((leave(&holds, "a", 9), leave(&holds, "b", 9)), ((4, true), (9, true)));
        assert_eq!(leave(&holds, "a", 3), (3, true), "no more than is done at all");
        assert_eq!(holds.next(&client, 0).unwrap().held.number(), 5);
        assert_eq!(leave(&holds, "a", 9), (4, true), "it is being written");
        assert_eq!(holds.next(&client, 10).unwrap().held.number(), 7);
        assert_eq!(leave(&holds, "a", 9), (6, true));
        assert!(holds.next(&client, 20).is_none() && holds.is_empty());
        assert_eq!(leave(&holds, "a", 9), (9, true));
    }

    #[test]
    fn what_waits_is_bounded_and_a_client_with_little_finds_room() {
        let holds = Holds::default();
        assert!(matches!(holds.add(Held::of("large", 1, BYTES_MAX / 2), None), Added::First));
        assert_eq!(leave(&holds, "large", 9), (0, false), "it is not read from");
        assert!(matches!(holds.add(Held::of("other", 1, SMALL_BYTES + 1), None), Added::Full(_)));
        assert!(matches!(holds.add(Held::of("large", 2, 1), None), Added::Full(_)));
        let small =
            (0..1_000).map(|at| holds.add(Held::of(&format!("s{at}"), 1, SMALL_BYTES), None));
        let taken = small.filter(|added| matches!(added, Added::First)).count();
        assert_eq!(taken, BYTES_MAX / 2 / SMALL_BYTES);
        assert!(holds.next(&"large".into(), 0).is_some());
        assert!(holds.next(&"large".into(), BYTES_MAX / 2).is_none());
        assert!(matches!(holds.add(Held::of("small", 1, SMALL_BYTES), None), Added::First));
    }
}
