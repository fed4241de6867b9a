//! One connection, from CONNECT to its end.

mod publishes;

use super::{
    MqttListenerOptions,
    counters::Counters,
    frame::{self, Malformed},
    holds::Leave,
    packets::{self, Connect, Will, reason},
    session::{Joined, Live, Sessions},
    shard::{Shard, Waker},
};
use crate::{mapping::Message, pump::Origin};
use oribi_model::ArrivalClock;
use publishes::Oversize;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

const READ_BYTES: usize = 64 * 1024;
/// How long a client may refuse to take its acks.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the last acks are waited for when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// What all connections share.
pub(super) struct Common {
    pub(super) options: Arc<MqttListenerOptions>,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) sessions: Sessions,
    pub(super) counters: Arc<Counters>,
    pub(super) arrival: ArrivalClock,
    pub(super) shutdown: CancellationToken,
}

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

struct Connection {
    common: Arc<Common>,
    stream: TcpStream,
    shard: Arc<Shard>,
    live: Arc<Live>,
    waker: Arc<Waker>,
    joined: Joined,
    client_id: Arc<str>,
    is_v5: bool,
    keep_alive: Option<Duration>,
    expiry_s: u32,
    will: Option<Will>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Acks that wait for their batch, in the order of their messages.
    pending: VecDeque<(u64, u8, u16)>,
    /// The packet ids of those that are PUBRECs.
    pending_qos2: HashSet<u16>,
    /// Batches up to this one may be acked.
    acked: u64,
    aliases: HashMap<u16, String>,
    oversize: Option<Oversize>,
}

/// Serves one client until it is gone.
pub(super) async fn serve(common: Arc<Common>, mut stream: TcpStream) {
    let mut input = Vec::with_capacity(READ_BYTES);
    let limit = Duration::from_millis(common.options.connect_timeout_ms);
    let greeting = read_connect(&common, &mut stream, &mut input);
    let connect = tokio::select! {
        greeting = timeout(limit, greeting) => greeting,
        () = common.shutdown.cancelled() => return,
    };
    let Ok(Some(connect)) = connect else { return };
    let mut connection = Connection::join(common, stream, input, connect);
    let end = connection.run().await;
    connection.close(end).await;
}

/// Waits for CONNECT. `None`: the connection is not to be served.
async fn read_connect(
    common: &Common,
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
) -> Option<Connect> {
    loop {
        match frame::peek(input) {
            Err(_) => return None,
            Ok(Some(frame)) => {
                if frame.head != 0x10 || frame.bytes() > common.options.packet_bytes_max {
                    return None;
                }
                if input.len() >= frame.bytes() {
                    let content = &input[frame.start..frame.bytes()];
                    let is_v5 = content.get(6) == Some(&5);
                    let parsed = packets::connect(content);
                    input.drain(..frame.bytes());
                    return match parsed {
                        Ok(connect) => Some(connect),
                        Err(wrong) => {
                            let mut answer = Vec::new();
                            packets::push_refusal(&mut answer, wrong, is_v5);
                            // The client may be gone already; it is refused either way.
                            let _ = stream.write_all(&answer).await;
                            None
                        }
                    };
                }
            }
            Ok(None) if input.first().is_some_and(|head| *head != 0x10) => return None,
            Ok(None) => {}
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

impl Connection {
    fn join(
        common: Arc<Common>,
        stream: TcpStream,
        input: Vec<u8>,
        connect: Connect,
    ) -> Connection {
        let is_assigned = connect.client_id.is_empty();
        let client_id: Arc<str> = if is_assigned {
            format!("oribi-{:x}", common.arrival.next_ns()).into()
        } else {
            connect.client_id.as_str().into()
        };
        let waker = Arc::new(Waker::default());
        let live = Arc::new(Live { waker: waker.clone(), is_taken_over: AtomicBool::new(false) });
        let joined = common.sessions.join(&client_id, &connect, live.clone());
        // One client always has the same shard, so that its messages keep their order and its
        // QoS 2 ids name batches of one sequence.
        let hash = xxhash_rust::xxh3::xxh3_64(client_id.as_bytes());
        let shard = common.shards[(hash % common.shards.len() as u64) as usize].clone();
        let mut output = Vec::new();
        let assigned = is_assigned.then_some(&*client_id);
        packets::push_connack(&mut output, &connect, joined.session_present, assigned);
        let keep_alive = (connect.keep_alive_s > 0)
            .then(|| Duration::from_millis(u64::from(connect.keep_alive_s) * 1500));
        Connection {
            common,
            stream,
            shard,
            live,
            waker,
            joined,
            client_id,
            is_v5: connect.is_v5,
            keep_alive,
            expiry_s: connect.expiry_s,
            will: connect.will,
            input,
            output,
            pending: VecDeque::new(),
            pending_qos2: HashSet::new(),
            acked: 0,
            aliases: HashMap::new(),
            oversize: None,
        }
    }

    async fn run(&mut self) -> End {
        let mut heard = Instant::now();
        loop {
            let progress = match self.process() {
                Ok(progress) => progress,
                Err(end) => return end,
            };
            let leave = self.release();
            if self.flush().await.is_err() {
                return End::Lost;
            }
            if self.live.is_taken_over.load(Ordering::Acquire) {
                return End::Refused(reason::TAKEN_OVER);
            }
            let reads = matches!(progress, Progress::NeedsBytes) && leave.may_read;
            if !reads {
                heard = Instant::now();
            }
            let silent = self.keep_alive.map_or(Duration::from_secs(86_400), |limit| limit);
            self.input.reserve(READ_BYTES);
            tokio::select! {
                biased;
                () = self.common.shutdown.cancelled() => return End::Refused(reason::SHUTTING_DOWN),
                () = self.waker.wake.notified() => {}
                read = self.stream.read_buf(&mut self.input), if reads => match read {
                    Ok(0) | Err(_) => return End::Lost,
                    Ok(bytes) => {
                        heard = Instant::now();
                        self.common.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    }
                },
                () = tokio::time::sleep_until(heard + silent) => {
                    if self.keep_alive.is_some() {
                        return End::Refused(reason::KEEP_ALIVE);
                    }
                }
            }
        }
    }

    /// Works through the packets in the input, the publishes under one lock.
    fn process(&mut self) -> Result<Progress, End> {
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        let done = self.process_input(&input, &mut at);
        self.input = input;
        self.input.drain(..at);
        done
    }

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
                let known = self.joined.qos2.lock().remove(&id).is_some();
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
        let leave = self.shard.leave(&self.client_id, &self.waker);
        self.acked = leave.acked;
        while let Some((number, head, packet_id)) = self.pending.front().copied() {
            if number > leave.acked {
                break;
            }
            packets::push_ack(&mut self.output, head, packet_id);
            self.pending.pop_front();
            if head == PUBREC {
                self.pending_qos2.remove(&packet_id);
            }
        }
        leave
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if !self.output.is_empty() {
            timeout(WRITE_TIMEOUT, self.stream.write_all(&self.output)).await??;
            self.output.clear();
        }
        Ok(())
    }

    async fn close(mut self, end: End) {
        if end == End::Refused(reason::SHUTTING_DOWN) {
            let last_acks = async {
                // Nobody waits for tables that may take minutes.
                while !self.release().is_held && !self.pending.is_empty() {
                    self.waker.wake.notified().await;
                }
            };
            // What is not stored in time is not acked; the client sends it again.
            let _ = timeout(STOP_TIMEOUT, last_acks).await;
        }
        if let End::Refused(code) = end {
            packets::push_disconnect(&mut self.output, code, self.is_v5);
        }
        // The client may be gone already.
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
        self.common.sessions.leave(&self.client_id, self.joined.generation, self.expiry_s);
        let stops = end == End::Refused(reason::SHUTTING_DOWN);
        if let Some(will) = self.will.take().filter(|_| end != End::Clean && !stops) {
            self.publish_will(will);
        }
    }

    fn publish_will(self, will: Will) {
        let delay_s = will.delay_s.min(self.expiry_s);
        let Connection { common, shard, client_id, joined, .. } = self;
        let (now_ns, generation) = (common.arrival.now_ns(), joined.generation);
        let publish = move |common: &Common| {
            if delay_s > 0 && common.sessions.is_back(&client_id, generation) {
                return;
            }
            let mut state = shard.lock();
            let (topic, payload) = (will.topic.as_str(), will.payload.as_slice());
            let origin = Origin::Mqtt { client_id: &client_id, packet_id: 0 };
            shard.add(&mut state, &Message::new(topic, payload), &origin, now_ns);
            shard.announce(&mut state.open);
            common.counters.messages.fetch_add(1, Ordering::Relaxed);
        };
        if delay_s == 0 {
            publish(&common);
            return;
        }
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(delay_s.into())) => publish(&common),
                () = common.shutdown.cancelled() => {}
            }
        });
    }
}
