//! A device: one MQTT 5 connection that publishes a replayed recording with QoS 1.

use super::{
    payload::payload,
    recordings::Recording,
    replay::{Due, Pace, Replay},
    tally::Tally,
};
use parking_lot::Mutex;
use rumqttc::{
    NetworkOptions, Outgoing,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions, Request,
        mqttbytes::{
            QoS,
            v5::{Packet, PubAck, PubAckReason},
        },
    },
};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;

/// Rows of one message while a device catches up.
const MESSAGE_ROWS_MAX: usize = 200;
/// Messages on their way to the server and back.
const IN_FLIGHT_MAX: u16 = 8;
/// Messages between the device and its connection.
const QUEUE_MAX: usize = 4;
const RECONNECT: Duration = Duration::from_millis(50);
const GOODBYE: Duration = Duration::from_millis(250);

/// A device and what it sends.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// Where it is.
    pub(super) site: &'static str,
    /// Its name there.
    pub(super) name: String,
    /// What it replays.
    pub(super) recording: Arc<Recording>,
    /// How fast.
    pub(super) pace: Pace,
    /// The run that its rows belong to.
    pub(super) run: i64,
}

/// Sizes of the messages that were given to the connection, in its order.
type Outbox = Arc<Mutex<VecDeque<u64>>>;

impl Device {
    /// After [`Tally::begins`], publishes to the first of `servers`, and to the next one where that is gone, until `stop`; then
    /// stays until `over` for the acks that are still to come.
    pub(super) async fn run(
        self,
        servers: Vec<SocketAddr>,
        tally: Arc<Tally>,
        stop: CancellationToken,
        over: CancellationToken,
    ) {
        let brokers: Vec<MqttOptions> =
            servers.iter().map(|server| self.options(*server)).collect();
        let Some(first) = brokers.first() else { return };
        let (client, events) = AsyncClient::new(first.clone(), QUEUE_MAX);
        let outbox = Outbox::default();
        let connection = Connection {
            brokers,
            at: 0,
            unacked: VecDeque::new(),
            outbox: outbox.clone(),
            in_flight: HashMap::new(),
            tally: tally.clone(),
        };
        let driven = tokio::spawn(connection.drive(events, over.clone()));
        tokio::select! {
            () = self.publish(&client, &outbox, &tally, stop) => {}
            // Reached first only where the server takes nothing any more.
            () = over.cancelled() => {}
        }
        tally.ends();
        over.cancelled().await;
        // An error here means that the connection is gone already.
        let _ = client.try_disconnect();
        let _ = driven.await;
    }

    fn options(&self, server: SocketAddr) -> MqttOptions {
        const KEEP_ALIVE: Duration = Duration::from_secs(30);
        const SESSION_S: u32 = 300;
        let id = format!("demo-{}-{}-{}", self.site, self.name, self.run);
        let mut options = MqttOptions::new(id, server.ip().to_string(), server.port());
        options
            .set_keep_alive(KEEP_ALIVE)
            // With its session kept, what was not acked is sent again after a lost connection.
            .set_clean_start(false)
            .set_session_expiry_interval(Some(SESSION_S))
            .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options
    }

    async fn publish(
        &self,
        client: &AsyncClient,
        outbox: &Outbox,
        tally: &Tally,
        stop: CancellationToken,
    ) {
        let topic = format!("sensors/{}/{}", self.site, self.name);
        let mut is_live = false;
        let mut rows: Vec<Due> = Vec::with_capacity(MESSAGE_ROWS_MAX);
        for due in Replay::new(self.recording.clone(), self.pace) {
            let ahead = Duration::from_nanos((due.time_ns - now_ns()).max(0).unsigned_abs());
            let has_time = !ahead.is_zero();
            if rows.len() == MESSAGE_ROWS_MAX || (has_time && !rows.is_empty()) {
                let message = payload(&self.recording, &rows, self.run);
                let count = rows.len() as u64;
                rows.clear();
                outbox.lock().push_back(count);
                tally.sent(count);
                if client.publish(&topic, QoS::AtLeastOnce, false, message).await.is_err() {
                    return;
                }
            }
            if has_time {
                if !std::mem::replace(&mut is_live, true) {
                    tally.is_live();
                }
                tokio::select! {
                    () = tokio::time::sleep(ahead) => {}
                    () = stop.cancelled() => return,
                }
            } else if stop.is_cancelled() {
                return;
            }
            rows.push(due);
        }
    }
}

/// Now, ns since the Unix epoch.
pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The MQTT side of a device: which message went out when, and which came back.
struct Connection {
    /// All servers, and which of them is in use.
    brokers: Vec<MqttOptions>,
    at: usize,
    /// What was not acked when the connection was lost.
    unacked: VecDeque<Request>,
    outbox: Outbox,
    /// By packet identifier: when it went out, and its rows.
    in_flight: HashMap<u16, (Instant, u64)>,
    tally: Arc<Tally>,
}

impl Connection {
    async fn drive(mut self, mut events: EventLoop, over: CancellationToken) {
        loop {
            let event = tokio::select! {
                event = events.poll() => event,
                () = over.cancelled() => break,
            };
            match event {
                Ok(Event::Outgoing(Outgoing::Publish(packet_id))) => self.went_out(packet_id),
                Ok(Event::Incoming(Packet::PubAck(ack))) => self.came_back(&ack),
                // The client forgets what another server knows nothing of.
                Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                    events.pending = std::mem::take(&mut self.unacked);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a device of the demo lost its connection");
                    self.turn_to_next(&mut events);
                    tokio::time::sleep(RECONNECT).await;
                }
            }
        }
        // Says good-bye, so that the server need not keep the session.
        let goodbye = async { while events.poll().await.is_ok() {} };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    fn turn_to_next(&mut self, events: &mut EventLoop) {
        events.clean();
        // A try to connect that fails takes nothing away from what the last connection left.
        if !events.pending.is_empty() {
            self.unacked = events.pending.clone();
        }
        self.at = (self.at + 1) % self.brokers.len();
        events.options = self.brokers[self.at].clone();
    }

    fn went_out(&mut self, packet_id: u16) {
        // One that is known goes out again after a lost connection.
        if !self.in_flight.contains_key(&packet_id)
            && let Some(rows) = self.outbox.lock().pop_front()
        {
            self.in_flight.insert(packet_id, (Instant::now(), rows));
        }
    }

    fn came_back(&mut self, ack: &PubAck) {
        let Some((at, rows)) = self.in_flight.remove(&ack.pkid) else { return };
        match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                self.tally.acked(rows, at.elapsed());
            }
            _ => self.tally.refused(rows),
        }
    }
}
