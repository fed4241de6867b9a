//! Who is connected, and what is remembered of those who were.

use super::{packets::Connect, shard::Waker};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// QoS 2 packet ids that were received and not yet released, each with its batch.
pub(super) type Qos2Ids = Arc<Mutex<HashMap<u16, u64>>>;

/// A connected client, as others see it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) waker: Arc<Waker>,
    pub(super) is_taken_over: AtomicBool,
}

struct Session {
    live: Option<Arc<Live>>,
    qos2: Qos2Ids,
    /// Grows with every connection of the client.
    generation: u64,
    ends: Option<Instant>,
}

/// What a connection gets when it joins.
pub(super) struct Joined {
    pub(super) qos2: Qos2Ids,
    pub(super) session_present: bool,
    pub(super) generation: u64,
}

/// All sessions by client id.
pub(super) struct Sessions {
    by_client: Mutex<HashMap<Arc<str>, Session>>,
    generations: AtomicU64,
    sessions_max: usize,
}

impl Sessions {
    pub(super) fn new(sessions_max: usize) -> Sessions {
        let (by_client, generations) = (Mutex::default(), AtomicU64::new(1));
        Sessions { by_client, generations, sessions_max }
    }

    /// Connects a client; the connection it had before is told to end.
    pub(super) fn join(&self, client: &Arc<str>, connect: &Connect, live: Arc<Live>) -> Joined {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let mut sessions = self.by_client.lock();
        let before = sessions.remove(client);
        if let Some(old) = before.as_ref().and_then(|session| session.live.as_ref()) {
            old.is_taken_over.store(true, Ordering::Release);
            old.waker.wake.notify_one();
        }
        let kept = before
            .filter(|session| !connect.is_clean && session.ends.is_none_or(|t| t > Instant::now()));
        let session_present = kept.is_some();
        let qos2 = kept.map(|session| session.qos2).unwrap_or_default();
        if sessions.len() >= self.sessions_max {
            let now = Instant::now();
            sessions.retain(|_, one| one.live.is_some() || one.ends.is_some_and(|t| t > now));
            if sessions.len() >= self.sessions_max {
                let away = sessions.iter().find(|(_, one)| one.live.is_none());
                if let Some(client) = away.map(|(client, _)| client.clone()) {
                    sessions.remove(&client);
                }
            }
        }
        let session = Session { live: Some(live), qos2: qos2.clone(), generation, ends: None };
        sessions.insert(client.clone(), session);
        Joined { qos2, session_present, generation }
    }

    /// The connection of this generation has ended.
    pub(super) fn leave(&self, client: &Arc<str>, generation: u64, expiry_s: u32) {
        let mut sessions = self.by_client.lock();
        let Some(session) = sessions.get_mut(client) else { return };
        if session.generation != generation {
            return;
        }
        if expiry_s == 0 {
            sessions.remove(client);
            return;
        }
        session.live = None;
        session.ends = Instant::now().checked_add(Duration::from_secs(expiry_s.into()));
    }

    /// Whether a newer connection of the client is there.
    pub(super) fn is_back(&self, client: &Arc<str>, generation: u64) -> bool {
        let sessions = self.by_client.lock();
        sessions.get(client).is_some_and(|one| one.generation != generation && one.live.is_some())
    }
}
