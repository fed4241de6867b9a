//! Publishes into the open batch of the connection's shard, those above the packet limit as dead
//! letters.

use super::{Ack, Connection, End, PUBACK, PUBREC};
use crate::{
    dead_letter::PAYLOAD_BYTES_MAX,
    mqtt_listener::{
        frame::{self, Frame},
        packets::{self, reason},
        qos2::Known,
        shard::ShardState,
    },
    pump::{DeniedTable, Origin, head_of},
};
use oribi_decode::{Fault, Message};
use oribi_model::RejectReason;
use std::{collections::HashMap, sync::atomic::Ordering};

/// Of a publish above the packet limit so much is looked at: topic, properties, some payload.
const OVERSIZE_HEAD_BYTES: usize = 256 * 1024;

/// A publish above the packet limit whose rest is being skipped.
pub(super) struct Oversize {
    rest: usize,
    topic: String,
    head: Vec<u8>,
    payload_bytes: u64,
    qos: u8,
    packet_id: u16,
}

impl Oversize {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.topic.capacity() + self.head.capacity()
    }
}

impl Connection {
    /// Takes in consecutive publishes. `false`: the batch is full.
    pub(super) fn publishes(&mut self, input: &[u8], at: &mut usize) -> Result<bool, End> {
        let shard = self.shard.clone();
        let now_ns = self.common.arrival.now_ns();
        let mut state = shard.lock();
        // Looked at under the lock, under which the will of a connection that is taken over goes
        // in: nothing of it may come after that.
        if let Some(reason) = self.live.ended() {
            return Err(End::Refused(reason));
        }
        let mut taken = 0;
        let done = loop {
            if shard.is_full(&state.open) {
                break Ok(false);
            }
            let frame = match frame::peek(&input[*at..]) {
                Ok(Some(frame)) if frame.kind() == 3 => frame,
                _ => break Ok(true),
            };
            let whole = frame.bytes() <= self.common.options.packet_bytes_max
                && input.len() - *at >= frame.bytes();
            if !whole {
                break Ok(true);
            }
            let content = &input[*at + frame.start..*at + frame.bytes()];
            let publish = match frame::publish(frame.head, content, self.is_v5) {
                Ok(publish) => publish,
                Err(wrong) => break Err(wrong.into()),
            };
            let number = state.open.number();
            let is_repeated = publish.qos == 2 && !self.is_new(publish.packet_id, number);
            let topic = match self.aliases.resolve(publish.topic, publish.alias) {
                Ok(topic) => topic,
                Err(end) => break Err(end),
            };
            *at += frame.bytes();
            taken += 1;
            if is_repeated {
                continue;
            }
            // Before anything of it is remembered, such as its topic.
            if !self.topics.allow(topic) {
                self.common.keeper.refused(&self.access, topic, &self.client_id);
                self.deny(number, publish.qos, publish.packet_id);
                continue;
            }
            let message = Message::new(topic, publish.payload);
            let origin = Origin::Mqtt { client_id: &self.client_id, packet_id: publish.packet_id };
            let ShardState { open, intake } = &mut *state;
            let batch = &mut open.batch;
            match intake.add_as(&self.access, batch, &message, &origin, now_ns) {
                Ok(()) => self.ack_later(number, publish.qos, publish.packet_id),
                Err(DeniedTable(table)) => {
                    self.common.keeper.refused(&self.access, &table, &self.client_id);
                    self.deny(number, publish.qos, publish.packet_id);
                }
            }
        };
        if taken > 0 {
            // Nobody here can be asked for anything: clients of the listener have no subscriptions.
            drop(state.intake.take_rebirths());
            shard.announce(&mut state.open);
        }
        state.open.notify(&self.live.waker);
        self.common.counters.messages.fetch_add(taken, Ordering::Relaxed);
        done
    }

    /// Whether a QoS 2 packet id is not one that was received before. A repeated one is answered
    /// once the batch of its first delivery is stored.
    fn is_new(&mut self, packet_id: u16, number: u64) -> bool {
        let mut ids = self.joined.qos2.lock();
        let known = ids.look_up(packet_id, self.acked);
        match known {
            Known::New => ids.insert(packet_id, number, self.acked),
            Known::Stored => packets::push_ack(&mut self.output, PUBREC, packet_id),
            Known::Waiting if self.pending_qos2.insert(packet_id) => {
                // Acks go out in order, so this one waits behind those of later batches.
                let (head, reason) = (PUBREC, 0);
                self.pending.push_back(Ack { number, head, packet_id, reason });
            }
            Known::Waiting => {}
        }
        known == Known::New
    }

    fn ack_later(&mut self, number: u64, qos: u8, packet_id: u16) {
        self.push(number, qos, packet_id, 0);
        if qos == 2 {
            self.pending_qos2.insert(packet_id);
        }
    }

    /// Acks a message that is not stored, in its turn: whoever gets no ack, or is cut off, sends it
    /// again for ever. MQTT 5 is told why.
    fn deny(&mut self, number: u64, qos: u8, packet_id: u16) {
        if qos == 2 {
            self.joined.qos2.lock().remove(packet_id);
        }
        let reason = if self.is_v5 { reason::NOT_AUTHORIZED } else { 0 };
        self.push(number, qos, packet_id, reason);
    }

    fn push(&mut self, number: u64, qos: u8, packet_id: u16, reason: u8) {
        let head = match qos {
            1 => PUBACK,
            2 => PUBREC,
            _ => return,
        };
        self.pending.push_back(Ack { number, head, packet_id, reason });
    }

    /// Looks at the head of a publish above the packet limit. `false`: more of it is needed.
    pub(super) fn start_oversize(
        &mut self,
        frame: Frame,
        input: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        if frame.kind() != 3 {
            return Err(End::Refused(reason::TOO_LARGE));
        }
        let head_bytes = frame.bytes().min(OVERSIZE_HEAD_BYTES);
        if input.len() - *at < head_bytes {
            return Ok(false);
        }
        let content = &input[*at + frame.start..*at + head_bytes];
        let publish = match frame::publish(frame.head, content, self.is_v5) {
            // Properties that do not end here: the topic and the id are enough for a letter and its
            // ack, without which the client would send the same again for ever.
            Err(_) if self.is_v5 && head_bytes < frame.bytes() => {
                let publish = frame::publish_head(frame.head, content)?;
                frame::Publish { payload: &[], ..publish }
            }
            publish => publish?,
        };
        let topic = self.aliases.resolve(publish.topic, publish.alias)?;
        let before = content.len() - publish.payload.len();
        self.oversize = Some(Oversize {
            rest: frame.bytes() - head_bytes,
            topic: topic.to_owned(),
            head: publish.payload[..publish.payload.len().min(PAYLOAD_BYTES_MAX)].to_vec(),
            payload_bytes: (frame.length - before) as u64,
            qos: publish.qos,
            packet_id: publish.packet_id,
        });
        *at += head_bytes;
        Ok(true)
    }

    /// Skips what is left of a publish above the limit, and buries it at its end. `false`: there is
    /// more of it to come.
    pub(super) fn skip_oversize(&mut self, input: &[u8], at: &mut usize) -> bool {
        let Some(oversize) = &mut self.oversize else { return true };
        let skipped = oversize.rest.min(input.len() - *at);
        oversize.rest -= skipped;
        *at += skipped;
        if oversize.rest > 0 {
            return false;
        }
        self.bury_oversize();
        true
    }

    fn bury_oversize(&mut self) {
        let Some(oversize) = self.oversize.take() else { return };
        let shard = self.shard.clone();
        let mut state = shard.lock();
        let number = state.open.number();
        if !self.topics.allow(&oversize.topic) {
            self.common.keeper.refused(&self.access, &oversize.topic, &self.client_id);
            self.deny(number, oversize.qos, oversize.packet_id);
        } else if oversize.qos != 2 || self.is_new(oversize.packet_id, number) {
            let limit = self.common.options.packet_bytes_max;
            let detail = format!("a packet above the limit of {limit} bytes");
            let message = Message::new(&oversize.topic, &oversize.head);
            let origin = Origin::Mqtt { client_id: &self.client_id, packet_id: oversize.packet_id };
            let fault = Fault::new(RejectReason::Limit, detail);
            state.open.batch.add_dead(&message, oversize.payload_bytes, &origin, fault);
            self.ack_later(number, oversize.qos, oversize.packet_id);
        }
        shard.announce(&mut state.open);
        state.open.notify(&self.live.waker);
        self.common.counters.messages.fetch_add(1, Ordering::Relaxed);
    }
}

/// Most bytes of the topics behind the aliases of a connection.
const ALIAS_BYTES_MAX: usize = 256 * 1024;

/// The topics that stand behind the aliases of a connection.
#[derive(Default)]
pub(super) struct Aliases {
    topics: HashMap<u16, Box<str>>,
    bytes: usize,
}

impl Aliases {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        const ALIAS_BYTES: usize = 32;
        self.bytes + self.topics.capacity() * ALIAS_BYTES
    }

    /// The topic of a publish, through its alias where it has one.
    fn resolve<'a>(&'a mut self, topic: &'a str, alias: Option<u16>) -> Result<&'a str, End> {
        if topic.bytes().any(|b| matches!(b, b'+' | b'#' | 0)) {
            return Err(End::Refused(reason::TOPIC_INVALID));
        }
        match alias {
            None if topic.is_empty() => Err(End::Refused(reason::PROTOCOL)),
            None => Ok(topic),
            Some(alias) if alias == 0 || alias > packets::TOPIC_ALIAS_MAX => {
                Err(End::Refused(reason::ALIAS_INVALID))
            }
            Some(alias) if topic.is_empty() => {
                self.topics.get(&alias).map(|topic| &**topic).ok_or(End::Refused(reason::PROTOCOL))
            }
            Some(alias) => {
                let kept = head_of(topic);
                let before = self.topics.insert(alias, kept.into());
                self.bytes += kept.len();
                self.bytes -= before.map_or(0, |topic| topic.len());
                if self.bytes > ALIAS_BYTES_MAX {
                    return Err(End::Refused(reason::QUOTA));
                }
                Ok(topic)
            }
        }
    }
}
