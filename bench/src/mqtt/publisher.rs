//! A thread that publishes over some connections and reads their acks.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::mqtt::{
    Publishing,
    packets::{Acks, DISCONNECT, connect, publish_head, push_publish},
};

/// Packets are written in groups of this part of the window.
const GROUPS: u64 = 8;

/// How long a broker may stay silent while messages are in flight.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What a publisher waits for when a round over its connections brought few acks. A broker that
/// writes every ack by itself would else wake it as often, on cores that it needs itself.
const ACKS_GATHER: Duration = Duration::from_micros(500);

/// Connections that have not begun.
pub(super) struct Publisher<'a> {
    connections: Vec<Connection>,
    payloads: &'a [Vec<u8>],
    window: u64,
}

impl<'a> Publisher<'a> {
    /// Connects the sites, each with so many messages to send.
    ///
    /// # Errors
    /// The broker does not listen or refuses.
    pub(super) fn connect(
        publishing: &Publishing,
        sites: impl Iterator<Item = (u64, u64)>,
        payloads: &'a [Vec<u8>],
    ) -> Result<Publisher<'a>> {
        let connections = sites
            .map(|(site, messages)| Connection::open(publishing, site, messages))
            .collect::<Result<Vec<Connection>>>()?;
        Ok(Publisher { connections, payloads, window: publishing.window })
    }

    /// Publishes all messages; answers how long each ack took.
    ///
    /// # Errors
    /// A connection fails, an ack comes for what was not sent, or none comes for a minute.
    pub(super) fn run(mut self, start: Instant) -> Result<Vec<Duration>> {
        let messages: u64 = self.connections.iter().map(|connection| connection.messages).sum();
        let mut waits = Vec::with_capacity(messages as usize);
        let mut heard = Instant::now();
        while (waits.len() as u64) < messages {
            let (before, mut groups) = (waits.len(), 0);
            for connection in self.connections.iter_mut().filter(|one| !one.is_done()) {
                let acked = connection.read_acks(start, &mut waits);
                acked.with_context(|| format!("after {} acks", connection.acked))?;
                groups += connection.publish(self.payloads, self.window, start)?;
            }
            let acks = (waits.len() - before) as u64;
            if acks > 0 {
                heard = Instant::now();
            }
            ensure!(heard.elapsed() < SILENCE_MAX, "no ack for {SILENCE_MAX:?}");
            if groups == 0 && acks < self.window.div_ceil(GROUPS) / 2 + 1 {
                thread::sleep(ACKS_GATHER);
            }
        }
        for connection in &mut self.connections {
            connection.stream.set_nonblocking(false)?;
            connection.stream.write_all(&DISCONNECT)?;
        }
        Ok(waits)
    }
}

/// One connection: a site with devices of its own.
struct Connection {
    stream: TcpStream,
    acks: Acks<TcpStream>,
    heads: Vec<Vec<u8>>,
    site: u64,
    messages: u64,
    sent: u64,
    acked: u64,
    /// By packet id: 0 while it is free, else when its message was sent, in µs after the start,
    /// plus 1.
    slots: Vec<u32>,
    /// What the socket had no room for yet.
    unsent: Vec<u8>,
}

impl Connection {
    fn open(publishing: &Publishing, site: u64, messages: u64) -> Result<Connection> {
        let mut stream = TcpStream::connect(&publishing.addr).context(publishing.addr.clone())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.write_all(&connect(&format!("bench-{site}")))?;
        let mut acks = Acks::new(stream.try_clone()?);
        acks.connected()?;
        stream.set_nonblocking(true)?;
        let topic = |device| format!("sensors/site{site}/dev{device}");
        let heads = (0..publishing.devices).map(|device| publish_head(&topic(device))).collect();
        Ok(Connection {
            stream,
            acks,
            heads,
            site,
            messages,
            sent: 0,
            acked: 0,
            slots: vec![0; usize::from(u16::MAX) + 1],
            unsent: Vec::new(),
        })
    }

    fn is_done(&self) -> bool {
        self.acked == self.messages
    }

    /// Reads once, if there is something.
    fn read_acks(&mut self, start: Instant, waits: &mut Vec<Duration>) -> Result<()> {
        let (slots, acked, mut now) = (&mut self.slots, &mut self.acked, None);
        let read = self.acks.next(|id| {
            let now_us = *now.get_or_insert_with(|| micros(start));
            let sent = std::mem::take(&mut slots[usize::from(id)]);
            ensure!(sent != 0, "an ack for packet {id}, which is not in flight");
            waits.push(Duration::from_micros(u64::from((now_us + 1).saturating_sub(sent))));
            *acked += 1;
            Ok(())
        });
        match read {
            Err(error) if would_block(&error) => Ok(()),
            other => other,
        }
    }

    /// Sends what the window has room for; answers how many groups that were.
    fn publish(&mut self, payloads: &[Vec<u8>], window: u64, start: Instant) -> Result<u64> {
        self.flush()?;
        let group = window.div_ceil(GROUPS);
        let room = (window - (self.sent - self.acked)).min(self.messages - self.sent);
        if !self.unsent.is_empty() || room < group.min(self.messages - self.sent) || room == 0 {
            return Ok(0);
        }
        let now = micros(start);
        for place in self.sent..self.sent + room {
            let id = (place % u64::from(u16::MAX)) as u16 + 1;
            let slot = &mut self.slots[usize::from(id)];
            if *slot != 0 {
                bail!("packet {id} was never acked");
            }
            *slot = now + 1;
            let device = (place % self.heads.len() as u64) as usize;
            let round = place / self.heads.len() as u64;
            let payload = round as usize + device * 37 + self.site as usize * 1009;
            let time_ms = 1_451_606_400_000 + round * 1000;
            let (head, payload) = (&self.heads[device], &payloads[payload % payloads.len()]);
            push_publish(&mut self.unsent, head, id, payload, time_ms);
        }
        self.sent += room;
        self.flush()?;
        Ok(room / group)
    }

    fn flush(&mut self) -> Result<()> {
        let mut written = 0;
        while written < self.unsent.len() {
            match self.stream.write(&self.unsent[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.drain(..written);
        Ok(())
    }
}

fn would_block(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::WouldBlock)
}

/// µs since the start; enough for an hour.
fn micros(start: Instant) -> u32 {
    start.elapsed().as_micros() as u32
}
