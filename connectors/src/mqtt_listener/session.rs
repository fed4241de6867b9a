//! Who is connected, and what is remembered of those who were: QoS 2 ids, and wills that wait.

use super::{
    connect::{Connect, EXPIRY_NEVER, Will},
    ledger::{Account, Ledger, Owner},
    live::Live,
    packets::reason,
    qos2::Qos2Ids,
};
use oribi_access::Access;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What a session takes beside its id, QoS 2 ids and will, bytes.
const SESSION_BYTES: usize = 256;

/// Publishes a will. Called while nobody can join, so that what a client says next comes after it.
pub(super) type PublishWill<'a> = &'a dyn Fn(&Arc<str>, Will);

struct Session {
    live: Option<Arc<Live>>,
    access: Access,
    qos2: Arc<Mutex<Qos2Ids>>,
    will: Option<Will>,
    /// Grows with every connection of the client.
    generation: u64,
    expiry_s: u32,
    away: Away,
}

/// What is noted of a client while it is away.
#[derive(Default)]
struct Away {
    ends: Option<Instant>,
    will_due: Option<Instant>,
    account: Account,
}

impl Away {
    fn next(&self) -> Option<Instant> {
        self.ends.into_iter().chain(self.will_due).min()
    }
}

impl Session {
    /// A will that is not to wait, or no longer.
    fn is_will_due(&self) -> bool {
        self.will.as_ref().is_some_and(|will| will.delay_s == 0 || self.expiry_s == 0)
    }

    fn bytes(&self, client: &str) -> usize {
        let will = self.will.as_ref().map_or(0, Will::bytes);
        SESSION_BYTES + client.len() + will + self.qos2.lock().bytes()
    }
}

/// What a connection gets when it joins.
pub(super) struct Joined {
    pub(super) qos2: Arc<Mutex<Qos2Ids>>,
    pub(super) session_present: bool,
    pub(super) generation: u64,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Whether the client left in such a way that its will is void.
    pub(super) is_clean: bool,
    pub(super) expiry_s: u32,
}

#[derive(Default)]
struct State {
    by_client: HashMap<Arc<str>, Session>,
    /// Clients that are away, by when their next will or their end is due.
    due: BTreeMap<(Instant, u64), Arc<str>>,
    /// Clients that are away, by the generation that left; the least of them left first, or nearly.
    away: BTreeMap<u64, Arc<str>>,
    last_generation: u64,
}

/// All sessions by client id.
pub(super) struct Sessions {
    state: Mutex<State>,
    ledger: Arc<Ledger>,
    sessions_max: usize,
    /// Something is due earlier than before.
    earlier: Notify,
}

impl Sessions {
    pub(super) fn new(sessions_max: usize, ledger: Arc<Ledger>) -> Sessions {
        Sessions { state: Mutex::default(), ledger, sessions_max, earlier: Notify::new() }
    }

    /// Connects a client. The connection that it had before takes in nothing more, and its will is
    /// published before this returns, unless it waits and the client goes on with its session.
    pub(super) fn join(
        &self,
        client: &Arc<str>,
        connect: &Connect,
        (access, live): (&Access, Arc<Live>),
        publish: PublishWill<'_>,
    ) -> Joined {
        let mut state = self.state.lock();
        state.last_generation += 1;
        let generation = state.last_generation;
        let mut kept = None;
        if let Some(mut before) = self.take(&mut state, client) {
            if let Some(old) = &before.live {
                old.end(reason::TAKEN_OVER);
            }
            let has_ended = match &before.live {
                Some(_) => before.expiry_s == 0,
                None => before.away.ends.is_some_and(|ends| ends <= Instant::now()),
            };
            let goes_on = !connect.is_clean && !has_ended;
            let is_due = !goes_on || before.is_will_due();
            if let Some(will) = before.will.take().filter(|_| is_due) {
                publish(client, will);
            }
            kept = goes_on.then_some(before.qos2);
        }
        let session_present = kept.is_some();
        let qos2 = kept.unwrap_or_default();
        let session = Session {
            live: Some(live),
            access: access.clone(),
            qos2: qos2.clone(),
            will: connect.will.clone(),
            generation,
            expiry_s: connect.expiry_s,
            away: Away::default(),
        };
        state.by_client.insert(client.clone(), session);
        Joined { qos2, session_present, generation }
    }

    /// The connection of this generation has ended.
    pub(super) fn leave(
        &self,
        client: &Arc<str>,
        generation: u64,
        left: Left,
        publish: PublishWill<'_>,
    ) {
        let mut state = self.state.lock();
        let is_last = state.by_client.get(client).is_some_and(|one| one.generation == generation);
        let Some(mut session) = is_last.then(|| state.by_client.remove(client)).flatten() else {
            return;
        };
        session.expiry_s = left.expiry_s;
        if left.is_clean {
            session.will = None;
        }
        if session.is_will_due()
            && let Some(will) = session.will.take()
        {
            publish(client, will);
        }
        if left.expiry_s == 0 {
            return;
        }
        session.live = None;
        session.qos2.lock().put_away();
        let evicted = self.put_away(&mut state, client, session);
        drop(state);
        self.evict(evicted, publish);
    }

    /// Notes a session whose client is away; whose memory is wanted back for it.
    fn put_away(&self, state: &mut State, client: &Arc<str>, mut session: Session) -> Vec<Owner> {
        let (now, expiry_s, generation) = (Instant::now(), session.expiry_s, session.generation);
        let after = |seconds: u32| now.checked_add(Duration::from_secs(seconds.into()));
        session.away.ends = if expiry_s == EXPIRY_NEVER { None } else { after(expiry_s) };
        let delay_s = session.will.as_ref().map(|will| will.delay_s.min(expiry_s));
        session.away.will_due = delay_s.and_then(after);
        if let Some(next) = session.away.next() {
            state.due.insert((next, generation), client.clone());
            if state.due.first_key_value().is_some_and(|((_, first), _)| *first == generation) {
                self.earlier.notify_one();
            }
        }
        state.away.insert(generation, client.clone());
        let (bytes, owner) = (session.bytes(client), Owner::Session(client.clone()));
        let mut evicted = self.ledger.note(&mut session.away.account, bytes, &owner);
        state.by_client.insert(client.clone(), session);
        if state.away.len() > self.sessions_max
            && let Some((_, oldest)) = state.away.first_key_value()
        {
            evicted.push(Owner::Session(oldest.clone()));
        }
        evicted
    }

    /// Takes a session off all books.
    fn take(&self, state: &mut State, client: &Arc<str>) -> Option<Session> {
        let mut session = state.by_client.remove(client)?;
        if let Some(next) = session.away.next() {
            state.due.remove(&(next, session.generation));
        }
        state.away.remove(&session.generation);
        self.ledger.clear(&mut session.away.account);
        Some(session)
    }

    /// Has owners give their memory back: connections end, and so do sessions of clients that are
    /// away, with their wills published.
    pub(super) fn evict(&self, owners: Vec<Owner>, publish: PublishWill<'_>) {
        for owner in owners {
            match owner {
                Owner::Connection(live) => live.end(reason::QUOTA),
                Owner::Session(client) => {
                    let mut state = self.state.lock();
                    if state.by_client.get(&client).is_some_and(|one| one.live.is_none())
                        && let Some(session) = self.take(&mut state, &client)
                        && let Some(will) = session.will
                    {
                        publish(&client, will);
                    }
                }
            }
        }
    }

    /// Publishes wills that have waited long enough and ends sessions that are over; when there is
    /// more to do.
    pub(super) fn pass(&self, now: Instant, publish: PublishWill<'_>) -> Option<Instant> {
        loop {
            let mut state = self.state.lock();
            let ((next, _), client) = state.due.first_key_value()?;
            if *next > now {
                return Some(*next);
            }
            let client = client.clone();
            let Some(mut session) = self.take(&mut state, &client) else { continue };
            if let Some(will) = session.will.take() {
                publish(&client, will);
            }
            if session.away.ends.is_some_and(|ends| ends <= now) {
                continue;
            }
            session.away.will_due = None;
            if let Some(ends) = session.away.ends {
                state.due.insert((ends, session.generation), client.clone());
            }
            state.away.insert(session.generation, client.clone());
            let (bytes, owner) = (session.bytes(&client), Owner::Session(client.clone()));
            let evicted = self.ledger.note(&mut session.away.account, bytes, &owner);
            state.by_client.insert(client, session);
            drop(state);
            self.evict(evicted, publish);
        }
    }

    /// Ends the connections of those for whom this is so.
    pub(super) fn end_where(&self, reason: u8, is_meant: &dyn Fn(&Access) -> bool) {
        let state = self.state.lock();
        for session in state.by_client.values() {
            if let Some(live) = session.live.as_ref().filter(|_| is_meant(&session.access)) {
                live.end(reason);
            }
        }
    }

    /// Waits until something is due earlier than before.
    pub(super) async fn earlier(&self) {
        self.earlier.notified().await;
    }
}

#[cfg(test)]
mod tests;
