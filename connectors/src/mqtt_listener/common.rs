//! What all connections share.

use super::{
    MqttListenerOptions,
    connect::Will,
    counters::Counters,
    doors::Handshakes,
    ledger::{Ledger, Owner},
    live::Greetings,
    session::Sessions,
    shard::{Shard, ShardState},
};
use crate::pump::Origin;
use oribi_access::{Access, Doorkeeper};
use oribi_decode::Message;
use oribi_model::ArrivalClock;
use std::sync::{Arc, atomic::Ordering};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// The key of a client's session: its id, which another token's client may have as well, and another
/// device's of the same token.
pub(super) fn session_of(access: &Access, client_id: &str) -> Arc<str> {
    match (access.token(), access.user()) {
        (Some(token), Some(user)) => format!("{} {user}\0{client_id}", token.id).into(),
        _ => client_id.into(),
    }
}

/// The client's id in the key of its session; neither an id nor an identity holds NUL.
fn client_of(session: &Arc<str>) -> Arc<str> {
    match session.split_once('\0') {
        Some((_, client_id)) => client_id.into(),
        None => session.clone(),
    }
}

/// The listener as a connection sees it.
pub(super) struct Common {
    pub(super) options: Arc<MqttListenerOptions>,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) sessions: Sessions,
    pub(super) greetings: Greetings,
    pub(super) ledger: Arc<Ledger>,
    pub(super) keeper: Arc<dyn Doorkeeper>,
    /// Places for refusals that wait.
    pub(super) refusals: Semaphore,
    pub(super) counters: Arc<Counters>,
    pub(super) arrival: ArrivalClock,
    pub(super) shutdown: CancellationToken,
}

/// A socket that was accepted just now.
pub(super) enum Caller {
    /// In clear text.
    Plain(TcpStream),
    /// Its handshake is due.
    Secured(TcpStream, Arc<dyn Handshakes>),
}

impl Caller {
    pub(super) fn socket(&self) -> &TcpStream {
        let (Caller::Plain(socket) | Caller::Secured(socket, _)) = self;
        socket
    }
}

impl Common {
    /// One client always has the same shard, so that its messages keep their order and its QoS 2
    /// ids name batches of one sequence.
    pub(super) fn shard_of(&self, client_id: &str) -> &Arc<Shard> {
        let hash = xxhash_rust::xxh3::xxh3_64(client_id.as_bytes());
        &self.shards[(hash % self.shards.len() as u64) as usize]
    }

    /// Puts a will into the open batch, if its client may still publish it.
    pub(super) fn publish_will(&self, session: &Arc<str>, will: &Will) {
        let (client_id, access) = (&client_of(session), &will.access);
        let may_have = self.keeper.still(access);
        let topics = access.topics(client_id).filter(|_| may_have);
        if !topics.is_some_and(|topics| topics.allow(&will.topic)) {
            self.keeper.refused(access, &will.topic, client_id);
            return;
        }
        let (shard, now_ns) = (self.shard_of(client_id), self.arrival.now_ns());
        let mut state = shard.lock();
        let origin = Origin::Mqtt { client_id, packet_id: 0 };
        let ShardState { open, intake } = &mut *state;
        let message = Message::new(&will.topic, &will.payload);
        if intake.add_as(access, &mut open.batch, &message, &origin, now_ns).is_err() {
            self.keeper.refused(access, &will.topic, client_id);
        }
        drop(intake.take_rebirths());
        shard.announce(&mut state.open);
        self.counters.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Has owners give their memory back.
    pub(super) fn evict(&self, owners: Vec<Owner>) {
        if !owners.is_empty() {
            self.counters.evicted.fetch_add(owners.len() as u64, Ordering::Relaxed);
            self.sessions.evict(owners, &|client, will| self.publish_will(client, &will));
        }
    }
}
