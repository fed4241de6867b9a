//! One connection, from CONNECT to its end.

mod publishes;

use super::{
    common::{Caller, Common, session_of},
    connect::{self, Will},
    frame::{self, Malformed},
    greeting::{self, Guest},
    holds::Leave,
    input,
    ledger::{Account, FREE_BYTES, Owner},
    live::Live,
    packets::{self, reason},
    session::{Joined, Left},
    shard::Shard,
    wire::Wire,
};
use oribi_access::{Access, TopicRules};
use publishes::{Aliases, Oversize};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long a client may refuse to take its acks.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the last acks are waited for when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long a use is noted again.
const USE_NOTED: Duration = Duration::from_secs(1);
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client said DISCONNECT; its will is void.
    Clean,
    /// The socket closed, or the client asked for its will.
    Lost,
    /// Closed from here, with this reason code.
    Refused(u8),
}

impl From<Malformed> for End {
    fn from(_: Malformed) -> End {
        End::Refused(reason::MALFORMED)
    }
}

enum Progress {
    /// All complete packets are done.
    NeedsBytes,
    /// The open batch is full.
    NeedsRoom,
}

/// An ack that waits for its batch.
#[derive(Debug, Clone, Copy)]
struct Ack {
    /// The batch.
    number: u64,
    /// PUBACK or PUBREC.
    head: u8,
    packet_id: u16,
    /// A reason code of MQTT 5; 0: the message is stored.
    reason: u8,
}

struct Connection {
    common: Arc<Common>,
    shard: Arc<Shard>,
    live: Arc<Live>,
    joined: Joined,
    /// The key of its session.
    session: Arc<str>,
    access: Access,
    topics: TopicRules,
    client_id: Arc<str>,
    is_v5: bool,
    keep_alive: Option<Duration>,
    expiry_s: u32,
    will_bytes: usize,
    /// What is left of a packet that is not complete, or of what there was no room for.
    input: Vec<u8>,
    output: Vec<u8>,
    /// Acks that wait for their batch, in the order of their messages.
    pending: VecDeque<Ack>,
    /// The packet ids of those that are PUBRECs.
    pending_qos2: HashSet<u16>,
    /// Batches up to this one may be acked.
    acked: u64,
    aliases: Aliases,
    oversize: Option<Oversize>,
    account: Account,
    /// Bytes and time as last noted in the account.
    noted: (usize, Instant),
}

/// Serves one client until it is gone.
pub(super) async fn serve(common: Arc<Common>, caller: Caller) {
    let mut input = Vec::new();
    let live = Arc::new(Live::default());
    let guest = greeting::greet(&common, &live, caller, &mut input).await;
    let Some(guest) = guest else { return };
    let (mut connection, mut wire) = Connection::join(common, live, input, guest);
    let end = connection.run(&mut wire).await;
    connection.close(end, &mut wire).await;
}

impl Connection {
    fn join(
        common: Arc<Common>,
        live: Arc<Live>,
        input: Vec<u8>,
        guest: Guest,
    ) -> (Connection, Wire) {
        let Guest { wire, connect, access, topics } = guest;
        let is_assigned = connect.client_id.is_empty();
        let client_id: Arc<str> = if is_assigned {
            format!("oribi-{:x}", common.arrival.next_ns()).into()
        } else {
            connect.client_id.as_str().into()
        };
        let publish = |client: &Arc<str>, will: Will| common.publish_will(client, &will);
        let session = session_of(&access, &client_id);
        let joined = common.sessions.join(&session, &connect, (&access, live.clone()), &publish);
        if !common.keeper.still(&access) {
            // What was taken back while the client came in was looked for in vain.
            live.end(reason::NOT_AUTHORIZED);
        }
        let shard = common.shard_of(&client_id).clone();
        let mut output = Vec::new();
        let assigned = is_assigned.then_some(&*client_id);
        connect::push_connack(&mut output, &connect, joined.session_present, assigned);
        let keep_alive = (connect.keep_alive_s > 0)
            .then(|| Duration::from_millis(u64::from(connect.keep_alive_s) * 1500));
        let connection = Connection {
            common,
            shard,
            live,
            joined,
            session,
            access,
            topics,
            client_id,
            is_v5: connect.is_v5,
            keep_alive,
            expiry_s: connect.expiry_s,
            will_bytes: connect.will.as_ref().map_or(0, Will::bytes),
            input,
            output,
            pending: VecDeque::new(),
            pending_qos2: HashSet::new(),
            acked: 0,
            aliases: Aliases::default(),
            oversize: None,
            account: Account::default(),
            noted: (0, Instant::now()),
        };
        (connection, wire)
    }

    async fn run(&mut self, stream: &mut Wire) -> End {
        let (mut heard, mut reads) = (Instant::now(), true);
        let mut progress = self.process();
        loop {
            let has_room = match progress {
                Ok(Progress::NeedsBytes) => true,
                Ok(Progress::NeedsRoom) => false,
                Err(end) => return end,
            };
            let leave = self.release();
            if self.flush(stream).await.is_err() {
                return End::Lost;
            }
            self.note_bytes();
            if let Some(reason) = self.live.ended() {
                return End::Refused(reason);
            }
            let did_read = std::mem::replace(&mut reads, has_room && leave.may_read);
            if !(reads && did_read) {
                // Nobody is silent whom nobody listened to.
                heard = Instant::now();
            }
            let silent_at = self.keep_alive.filter(|_| reads).map(|limit| heard + limit);
            progress = tokio::select! {
                biased;
                () = self.common.shutdown.cancelled() => return End::Refused(reason::SHUTTING_DOWN),
                () = self.live.waker.wake.notified() => self.process(),
                ready = stream.readable(), if reads => {
                    if ready.is_err() {
                        return End::Lost;
                    }
                    heard = Instant::now();
                    match self.read(stream) {
                        Ok(progress) => progress,
                        Err(_) => return End::Lost,
                    }
                }
                () = tokio::time::sleep_until(silent_at.unwrap_or(heard)), if silent_at.is_some() => {
                    return End::Refused(reason::KEEP_ALIVE);
                }
            };
        }
    }

    /// Takes in what there is to read.
    fn read(&mut self, stream: &mut Wire) -> std::io::Result<Result<Progress, End>> {
        let mut rest = std::mem::take(&mut self.input);
        let read = input::read(stream, &mut rest, |bytes, new_bytes| {
            self.common.counters.bytes.fetch_add(new_bytes as u64, Ordering::Relaxed);
            let mut at = 0;
            let done = self.process_input(bytes, &mut at);
            (done, at)
        });
        self.input = rest;
        Ok(read?.unwrap_or(Ok(Progress::NeedsBytes)))
    }

    /// Notes what the connection holds, where that is more than every connection may.
    fn note_bytes(&mut self) {
        const PENDING_BYTES: usize = 24;
        const PENDING_KEPT: usize = 64;
        // Who has acks to come is busy and needs the same again.
        if self.pending.is_empty() {
            input::shrink(&mut self.input);
            input::shrink(&mut self.output);
            if self.pending.capacity() > PENDING_KEPT {
                self.pending = VecDeque::new();
                self.pending_qos2 = HashSet::new();
            }
        }
        let bytes = self.input.capacity()
            + self.output.capacity()
            + self.pending.capacity() * PENDING_BYTES
            + self.aliases.bytes()
            + self.oversize.as_ref().map_or(0, Oversize::bytes)
            + self.will_bytes
            + self.client_id.len()
            + self.joined.qos2.lock().bytes();
        if bytes <= FREE_BYTES {
            if self.noted.0 > 0 {
                self.common.ledger.clear(&mut self.account);
                self.noted.0 = 0;
            }
            return;
        }
        let (before, at) = self.noted;
        if bytes.abs_diff(before) > FREE_BYTES / 2 || at.elapsed() > USE_NOTED {
            self.noted = (bytes, Instant::now());
            let owner = Owner::Connection(self.live.clone());
            let evicted = self.common.ledger.note(&mut self.account, bytes, &owner);
            self.common.evict(evicted);
        }
    }

    /// Works through the packets in the input.
    fn process(&mut self) -> Result<Progress, End> {
        let mut at = 0;
        let mut input = std::mem::take(&mut self.input);
        let done = self.process_input(&input, &mut at);
        input.drain(..at);
        self.input = input;
        done
    }

    /// Works through the packets in `input` from `at` on, the publishes under one lock.
    fn process_input(&mut self, input: &[u8], at: &mut usize) -> Result<Progress, End> {
        loop {
            if !self.skip_oversize(input, at) {
                return Ok(Progress::NeedsBytes);
            }
            let Some(frame) = frame::peek(&input[*at..])? else { return Ok(Progress::NeedsBytes) };
            if frame.bytes() > self.common.options.packet_bytes_max {
                if !self.start_oversize(frame, input, at)? {
                    return Ok(Progress::NeedsBytes);
                }
                continue;
            }
            if input.len() - *at < frame.bytes() {
                return Ok(Progress::NeedsBytes);
            }
            if frame.kind() == 3 {
                if !self.publishes(input, at)? {
                    return Ok(Progress::NeedsRoom);
                }
                continue;
            }
            let content = &input[*at + frame.start..*at + frame.bytes()];
            *at += frame.bytes();
            self.control(frame.head, content)?;
        }
    }

    fn control(&mut self, head: u8, content: &[u8]) -> Result<(), End> {
        const SUBACK: u8 = 0x90;
        const UNSUBACK: u8 = 0xb0;
        let is_v5 = self.is_v5;
        match head {
            0x62 => {
                let id = packets::pubrel(content)?;
                let known = self.joined.qos2.lock().remove(id);
                if known || !is_v5 {
                    packets::push_ack(&mut self.output, PUBCOMP, id);
                } else {
                    let id = id.to_be_bytes();
                    self.output.extend([PUBCOMP, 3, id[0], id[1], reason::ID_UNKNOWN]);
                }
            }
            0x82 => {
                let (id, count) = packets::subscribe(content, is_v5)?;
                let code = if is_v5 { 0x83 } else { 0x80 };
                packets::push_codes(&mut self.output, SUBACK, id, Some(code), count, is_v5);
            }
            0xa2 => {
                let (id, count) = packets::unsubscribe(content, is_v5)?;
                let code = is_v5.then_some(0x11);
                packets::push_codes(&mut self.output, UNSUBACK, id, code, count, is_v5);
            }
            0xc0 if content.is_empty() => self.output.extend([0xd0, 0]),
            0xe0 => {
                let (drops_will, expiry_s) = packets::disconnect(content, is_v5)?;
                match expiry_s {
                    Some(_) if self.expiry_s == 0 => return Err(End::Refused(reason::PROTOCOL)),
                    Some(expiry_s) => self.expiry_s = expiry_s,
                    None => {}
                }
                return Err(if drops_will { End::Clean } else { End::Lost });
            }
            // Acks of publishes that a server which publishes nothing has not sent.
            0x40 | 0x50 | 0x70 => {}
            0x10 | 0xf0 => return Err(End::Refused(reason::PROTOCOL)),
            _ => return Err(End::Refused(reason::MALFORMED)),
        }
        Ok(())
    }

    /// Moves the acks of stored batches to the output.
    fn release(&mut self) -> Leave {
        let leave = self.shard.leave(&self.client_id, &self.live.waker);
        self.acked = leave.acked;
        while let Some(ack) = self.pending.front().copied() {
            let Ack { number, head, packet_id, reason } = ack;
            if number > leave.acked {
                break;
            }
            match reason {
                0 => packets::push_ack(&mut self.output, head, packet_id),
                reason => {
                    let id = packet_id.to_be_bytes();
                    self.output.extend([head, 3, id[0], id[1], reason]);
                }
            }
            self.pending.pop_front();
            if head == PUBREC {
                self.pending_qos2.remove(&packet_id);
            }
        }
        leave
    }

    async fn flush(&mut self, stream: &mut Wire) -> std::io::Result<()> {
        if !self.output.is_empty() {
            timeout(WRITE_TIMEOUT, stream.write_all(&self.output)).await??;
            self.output.clear();
        }
        Ok(())
    }

    async fn close(mut self, end: End, stream: &mut Wire) {
        let stops = end == End::Refused(reason::SHUTTING_DOWN);
        // Who may no longer publish has no will, either.
        let is_void = end == End::Refused(reason::NOT_AUTHORIZED);
        if stops {
            let last_acks = async {
                // Nobody waits for tables that may take minutes.
                while !self.release().is_held && !self.pending.is_empty() {
                    self.live.waker.wake.notified().await;
                }
            };
            // What is not stored in time is not acked; the client sends it again.
            let _ = timeout(STOP_TIMEOUT, last_acks).await;
        }
        self.common.ledger.clear(&mut self.account);
        let is_clean = end == End::Clean || stops || is_void;
        let left = Left { is_clean, expiry_s: self.expiry_s };
        let publish = |client: &Arc<str>, will: Will| self.common.publish_will(client, &will);
        self.common.sessions.leave(&self.session, self.joined.generation, left, &publish);
        if let End::Refused(code) = end {
            packets::push_disconnect(&mut self.output, code, self.is_v5);
        }
        // The client may be gone already.
        let _ = self.flush(stream).await;
        let _ = stream.shutdown().await;
    }
}
