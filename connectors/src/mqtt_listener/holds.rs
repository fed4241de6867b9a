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
