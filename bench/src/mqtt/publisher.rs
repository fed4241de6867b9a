//! One connection: a thread that publishes and a thread that reads acks.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    mqtt::{
        Publishing,
        packets::{Acks, DISCONNECT, connect, payloads, publish_head, push_publish},
    },
    random::Random,
};

/// Payloads made ahead; each device walks through them from another place.
const PAYLOADS: usize = 4096;

/// Packets are written in groups of this part of the window.
const GROUPS: u64 = 8;

/// How long a broker may stay silent while messages are in flight.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A connected publisher that has not begun.
pub(super) struct Publisher {
    stream: TcpStream,
    acks: Acks<TcpStream>,
    heads: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
    messages: u64,
    window: u64,
}

/// What a reader waits for before its next read when the last one brought few acks. A broker that
/// writes every ack by itself would else wake the reader as often, on cores that it needs itself.
const ACKS_GATHER: Duration = Duration::from_micros(500);

/// What both threads know. A slot belongs to a packet id: 0 while it is free, else when its
/// message was sent, in µs after the start, plus 1.
struct Flight {
    slots: Vec<AtomicU32>,
    acked: AtomicU64,
}

impl Publisher {
    /// Connects, and makes topics and payloads.
    ///
    /// # Errors
    /// The broker does not listen or refuses.
    pub(super) fn connect(publishing: &Publishing, site: u64, messages: u64) -> Result<Publisher> {
        let mut stream = TcpStream::connect(&publishing.addr).context(publishing.addr.clone())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        stream.write_all(&connect(&format!("bench-{site}")))?;
        let mut acks = Acks::new(stream.try_clone()?);
        acks.connected()?;
        let topic = |device| format!("sensors/site{site}/dev{device}");
        let heads = (0..publishing.devices).map(|device| publish_head(&topic(device))).collect();
        let payloads = payloads(&mut Random::new(site), PAYLOADS);
        Ok(Publisher { stream, acks, heads, payloads, messages, window: publishing.window })
    }

    /// Publishes all messages; answers how long each ack took.
    ///
    /// # Errors
    /// The connection fails, or an ack comes for what was not sent.
    pub(super) fn run(mut self, start: Instant) -> Result<Vec<Duration>> {
        let slots = (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect();
        let flight = Arc::new(Flight { slots, acked: AtomicU64::new(0) });
        let (shared, messages, writer) = (Arc::clone(&flight), self.messages, thread::current());
        let (acks, group) = (self.acks, self.window.div_ceil(GROUPS));
        let reader = thread::spawn(move || {
            let read = shared.read(acks, messages, group, start, &writer);
            if read.is_err() {
                shared.acked.store(u64::MAX, Ordering::SeqCst);
                writer.unpark();
            }
            read
        });
        let mut buffer = Vec::with_capacity(256 << 10);
        let mut sent = 0;
        while sent < self.messages {
            let Some(free) = flight.wait_for_room(sent, self.window) else { break };
            buffer.clear();
            let now = micros(start);
            let count = free.min(self.messages - sent);
            for place in sent..sent + count {
                let id = (place % u64::from(u16::MAX)) as u16 + 1;
                flight.take_slot(id, now);
                let device = (place % self.heads.len() as u64) as usize;
                let round = place / self.heads.len() as u64;
                let payload = (round as usize + device * 37) % self.payloads.len();
                let time_ms = 1_451_606_400_000 + round * 1000;
                let (head, payload) = (&self.heads[device], &self.payloads[payload]);
                push_publish(&mut buffer, head, id, payload, time_ms);
            }
            self.stream.write_all(&buffer)?;
            sent += count;
        }
        let waits = reader.join().map_err(|_| anyhow!("a reader panicked"))??;
        self.stream.write_all(&DISCONNECT)?;
        Ok(waits)
    }
}

impl Flight {
    /// How many messages may be sent now, a group at least. `None` when the reader failed.
    fn wait_for_room(&self, sent: u64, window: u64) -> Option<u64> {
        loop {
            let acked = self.acked.load(Ordering::SeqCst);
            if acked == u64::MAX {
                return None;
            }
            let room = window - (sent - acked);
            if room >= window.div_ceil(GROUPS) {
                return Some(room);
            }
            thread::park();
        }
    }

    /// Marks a packet id as in flight; waits if its last message still is.
    fn take_slot(&self, id: u16, now_us: u32) {
        let slot = &self.slots[usize::from(id)];
        while slot.load(Ordering::SeqCst) != 0 && self.acked.load(Ordering::SeqCst) != u64::MAX {
            thread::park_timeout(Duration::from_millis(1));
        }
        slot.store(now_us + 1, Ordering::SeqCst);
    }

    fn read(
        &self,
        mut acks: Acks<TcpStream>,
        messages: u64,
        group: u64,
        start: Instant,
        writer: &Thread,
    ) -> Result<Vec<Duration>> {
        let mut waits = Vec::with_capacity(messages as usize);
        let mut told = 0;
        while (waits.len() as u64) < messages {
            let mut now = None;
            let before = waits.len() as u64;
            let read = acks.next(|id| {
                let now_us = *now.get_or_insert_with(|| micros(start));
                let sent = self.slots[usize::from(id)].swap(0, Ordering::SeqCst);
                ensure!(sent != 0, "an ack for packet {id}, which is not in flight");
                waits.push(Duration::from_micros(u64::from((now_us + 1).saturating_sub(sent))));
                Ok(())
            });
            read.with_context(|| format!("after {before} of {messages} acks"))?;
            let acked = waits.len() as u64;
            self.acked.store(acked, Ordering::SeqCst);
            if acked - told >= group {
                told = acked;
                writer.unpark();
            }
            if acked - before < group / 2 && acked < messages {
                thread::sleep(ACKS_GATHER);
            }
        }
        Ok(waits)
    }
}

/// µs since the start; enough for an hour.
fn micros(start: Instant) -> u32 {
    start.elapsed().as_micros() as u32
}
