//! What all connections share.

use super::{
    MqttListenerOptions,
    connect::Will,
    counters::Counters,
    ledger::{Ledger, Owner},
    live::Greetings,
    session::Sessions,
    shard::{Shard, ShardState},
};
use crate::pump::Origin;
use oribi_decode::Message;
use oribi_model::ArrivalClock;
use std::sync::{Arc, atomic::Ordering};
use tokio_util::sync::CancellationToken;

/// The listener as a connection sees it.
pub(super) struct Common {
    pub(super) options: Arc<MqttListenerOptions>,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) sessions: Sessions,
    pub(super) greetings: Greetings,
    pub(super) ledger: Arc<Ledger>,
    pub(super) counters: Arc<Counters>,
    pub(super) arrival: ArrivalClock,
    pub(super) shutdown: CancellationToken,
}

impl Common {
    /// One client always has the same shard, so that its messages keep their order and its QoS 2
    /// ids name batches of one sequence.
    pub(super) fn shard_of(&self, client_id: &str) -> &Arc<Shard> {
        let hash = xxhash_rust::xxh3::xxh3_64(client_id.as_bytes());
        &self.shards[(hash % self.shards.len() as u64) as usize]
    }

    /// Puts a will into the open batch.
    pub(super) fn publish_will(&self, client_id: &Arc<str>, will: &Will) {
        let (shard, now_ns) = (self.shard_of(client_id), self.arrival.now_ns());
        let mut state = shard.lock();
        let origin = Origin::Mqtt { client_id, packet_id: 0 };
        let ShardState { open, intake } = &mut *state;
        let message = Message::new(&will.topic, &will.payload);
        intake.add(&mut open.batch, &message, &origin, now_ns);
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
