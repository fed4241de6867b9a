//! The rumqttc client of either version of MQTT, as one.

use super::{
    relay::{MARK, Relay},
    spec::{MqttSource, Protocol, Retained},
};
use crate::{
    Error, Result,
    connector::Common,
    mqtt::{network, transport},
};
use bytes::Bytes;
use oribi_decode::{mapping::TopicStyle, sparkplug::Command};
use rumqttc::{AsyncClient as ClientV4, v5::AsyncClient as ClientV5};
use std::time::Duration;

/// The largest packet that MQTT knows. rumqttc's own limits end a connection, upon which the broker
/// sends the same packet again, for ever; what is too large is dead-lettered instead.
const PACKET_BYTES_MAX: u32 = 268_435_460;
/// Messages that the broker may have under way to us (MQTT 5).
const RECEIVE_MAXIMUM: u16 = 2_000;
/// Acks, subscriptions and commands that wait to be sent: an ack for every packet id that there is,
/// so that sending one never waits for the task that polls, which may itself wait for a write.
const REQUESTS_MAX: usize = u16::MAX as usize + 1_024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the broker keeps what comes while we are away.
const SESSION_EXPIRY_S: u32 = 7 * 86_400;

/// What an ack needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) packet_id: u16,
    pub(super) qos: u8,
}

/// A message.
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    pub(super) ack: Ack,
}

/// What happened on a connection.
pub(super) enum Event {
    Connected {
        session_present: bool,
    },
    /// The filters that were refused, each with the reason.
    Subscribed(Vec<(String, String)>),
    Publish(Publish),
    /// A packet came that the client cannot read, and the connection has ended.
    Unreadable,
    Other,
}

enum EventLoop {
    V4(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

#[derive(Clone)]
enum Client {
    V4(ClientV4),
    V5(ClientV5),
}

/// One connection, made when it is first polled.
pub(super) struct Connection {
    events: EventLoop,
    client: Client,
    url: String,
    filters: Vec<String>,
    is_up: bool,
}

/// Sends acks on a connection.
pub(super) struct Acks(Client);

/// All filters, in the order of the routes.
pub(super) fn filters(spec: &MqttSource) -> impl Iterator<Item = &str> {
    spec.routes.iter().flat_map(|route| route.topics.iter().map(String::as_str))
}

impl Connection {
    /// The state of a new client knows of no QoS 2 message, and rumqttc ends a connection on which
    /// the broker releases one of the session before. So it is told of every packet id first; a
    /// release is then answered as MQTT wants.
    ///
    /// # Errors
    /// [`Error::Config`]: files that cannot be read, or hold no certificates.
    pub(super) fn open(
        spec: &MqttSource,
        common: &Common,
        relay: Option<&Relay>,
    ) -> Result<Connection> {
        let addresses = common.addresses(TopicStyle::Mqtt, "connector")?;
        let (host, port, transport) = match relay {
            Some(relay) => ("127.0.0.1".to_owned(), relay.port, rumqttc::Transport::tcp()),
            None => {
                let (host, port) = addresses.hosts[0].clone();
                (host, port, transport(common, addresses.transport)?)
            }
        };
        let login = common.username.clone().map(|user| Ok::<_, Error>((user, common.secret()?)));
        let login = login.transpose()?.map(|(user, secret)| (user, secret.unwrap_or_default()));
        let id = spec.client_id(common);
        let (events, client) = match spec.protocol() {
            Protocol::V311 => {
                let mut options = rumqttc::MqttOptions::new(id, host, port);
                options
                    .set_clean_session(false)
                    .set_keep_alive(KEEP_ALIVE)
                    .set_manual_acks(true)
                    .set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize)
                    .set_transport(transport);
                if let Some((user, password)) = login {
                    options.set_credentials(user, password);
                }
                let (client, mut events) = ClientV4::new(options, REQUESTS_MAX);
                events.set_network_options(network());
                for packet_id in 1..=u16::MAX {
                    let publish = v4_publish(Ack { packet_id, qos: 2 });
                    let seen =
                        events.state.handle_incoming_packet(rumqttc::Packet::Publish(publish));
                    seen.map_err(|wrong| unseeded(common, &wrong))?;
                    events.state.events.clear();
                }
                (EventLoop::V4(Box::new(events)), Client::V4(client))
            }
            Protocol::V5 => {
                let mut options = rumqttc::v5::MqttOptions::new(id, host, port);
                options
                    .set_clean_start(false)
                    .set_keep_alive(KEEP_ALIVE)
                    .set_manual_acks(true)
                    .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
                    .set_receive_maximum(Some(RECEIVE_MAXIMUM))
                    .set_max_packet_size(Some(PACKET_BYTES_MAX))
                    .set_network_options(network())
                    .set_transport(transport);
                if let Some((user, password)) = login {
                    options.set_credentials(user, password);
                }
                let (client, mut events) = ClientV5::new(options, REQUESTS_MAX);
                for packet_id in 1..=u16::MAX {
                    use rumqttc::v5::mqttbytes::v5::Packet;
                    let publish = v5_publish(Ack { packet_id, qos: 2 });
                    let seen = events.state.handle_incoming_packet(Packet::Publish(publish));
                    seen.map_err(|wrong| unseeded(common, &wrong))?;
                    events.state.events.clear();
                }
                (EventLoop::V5(Box::new(events)), Client::V5(client))
            }
        };
        let filters = filters(spec).map(str::to_owned).collect();
        Ok(Connection { events, client, url: common.url.clone(), filters, is_up: false })
    }

    /// What acks are sent with.
    pub(super) fn acks(&self) -> Acks {
        Acks(self.client.clone())
    }

    /// The next event.
    ///
    /// # Errors
    /// [`Error::Broker`]: the connection has ended.
    pub(super) async fn next(&mut self) -> Result<Event> {
        let event = match &mut self.events {
            EventLoop::V4(events) => match events.poll().await {
                Ok(event) => v4_event(event, &self.filters),
                Err(rumqttc::ConnectionError::MqttState(rumqttc::StateError::Deserialization(
                    _,
                ))) => Event::Unreadable,
                Err(wrong) => return Err(self.broken(wrong)),
            },
            EventLoop::V5(events) => match events.poll().await {
                Ok(event) => v5_event(event, &self.filters),
                Err(rumqttc::v5::ConnectionError::MqttState(
                    rumqttc::v5::StateError::Deserialization(_),
                )) => Event::Unreadable,
                Err(wrong) => return Err(self.broken(wrong)),
            },
        };
        if let Event::Connected { .. } = event {
            if self.is_up {
                // The client has connected again by itself, where old acks would be wrong.
                return Err(self.broken("the connection was lost"));
            }
            self.is_up = true;
        }
        Ok(event)
    }

    /// Asks for the filters; the answer is [`Event::Subscribed`].
    ///
    /// # Errors
    /// [`Error::Broker`]: the connection is clogged.
    pub(super) fn subscribe(&self, spec: &MqttSource) -> Result<()> {
        let asked = match &self.client {
            Client::V4(client) => {
                let filter = |filter: &String| {
                    rumqttc::SubscribeFilter::new(filter.clone(), v4_qos(spec.qos()))
                };
                client
                    .try_subscribe_many(self.filters.iter().map(filter))
                    .map_err(|w| w.to_string())
            }
            Client::V5(client) => {
                use rumqttc::v5::mqttbytes::v5::{Filter, RetainForwardRule};
                let rule = match spec.retained() {
                    Retained::Skip => RetainForwardRule::Never,
                    Retained::Take => RetainForwardRule::OnNewSubscribe,
                };
                let filter = |path: &String| {
                    let mut filter = Filter::new(path.clone(), v5_qos(spec.qos()));
                    // The flag then means what it means in MQTT 3.1.1: the broker had kept the
                    // message. Kept as published, it would stand on live messages too.
                    filter.preserve_retain = false;
                    // MQTT 5 forbids other rules for shared subscriptions.
                    if !path.starts_with("$share/") {
                        filter.retain_forward_rule = rule.clone();
                    }
                    filter
                };
                client
                    .try_subscribe_many(self.filters.iter().map(filter))
                    .map_err(|w| w.to_string())
            }
        };
        asked.map_err(|wrong| self.broken(wrong))
    }

    /// Publishes a command at QoS 0.
    pub(super) fn publish(&self, command: Command) {
        let Command { topic, payload } = command;
        // One that finds the queue full is lost; it is sent again when it is still due.
        match &self.client {
            Client::V4(client) => drop(client.try_publish(topic, v4_qos(0), false, payload)),
            Client::V5(client) => drop(client.try_publish(topic, v5_qos(0), false, payload)),
        }
    }

    /// Says goodbye; what was queued before goes out first.
    pub(super) fn disconnect(&self) {
        // A queue that is full belongs to a connection that is lost anyway.
        match &self.client {
            Client::V4(client) => drop(client.try_disconnect()),
            Client::V5(client) => drop(client.try_disconnect()),
        }
    }

    fn broken(&self, reason: impl std::fmt::Display) -> Error {
        let action = if self.is_up { "stay connected to" } else { "connect to" };
        Error::Broker { action, target: self.url.clone(), reason: reason.to_string() }
    }
}

impl Acks {
    /// Queues an ack. On a connection that has ended it is lost, which makes the broker send the
    /// message again.
    pub(super) fn send(&self, ack: Ack) {
        match &self.0 {
            Client::V4(client) => drop(client.try_ack(&v4_publish(ack))),
            Client::V5(client) => drop(client.try_ack(&v5_publish(ack))),
        }
    }
}

/// A message as far as its ack is concerned.
fn v4_publish(ack: Ack) -> rumqttc::Publish {
    let mut publish = rumqttc::Publish::new("", v4_qos(ack.qos), Vec::new());
    publish.pkid = ack.packet_id;
    publish
}

fn v5_publish(ack: Ack) -> rumqttc::v5::mqttbytes::v5::Publish {
    use rumqttc::v5::mqttbytes::v5::Publish;
    let mut publish = Publish::new("", v5_qos(ack.qos), Bytes::new(), None);
    publish.pkid = ack.packet_id;
    publish
}

fn unseeded(common: &Common, wrong: &dyn std::fmt::Display) -> Error {
    let (target, reason) = (common.url.clone(), wrong.to_string());
    Error::Broker { action: "prepare a connection to", target, reason }
}

fn v4_qos(qos: u8) -> rumqttc::QoS {
    match qos {
        0 => rumqttc::QoS::AtMostOnce,
        1 => rumqttc::QoS::AtLeastOnce,
        _ => rumqttc::QoS::ExactlyOnce,
    }
}

fn v5_qos(qos: u8) -> rumqttc::v5::mqttbytes::QoS {
    use rumqttc::v5::mqttbytes::QoS;
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn v4_event(event: rumqttc::Event, filters: &[String]) -> Event {
    use rumqttc::{Event as Of, Packet, SubscribeReasonCode};
    match event {
        Of::Incoming(Packet::ConnAck(connack)) => {
            Event::Connected { session_present: connack.session_present }
        }
        Of::Incoming(Packet::SubAck(suback)) => {
            let codes = suback.return_codes.iter().zip(filters);
            let refused = codes.filter(|(code, _)| **code == SubscribeReasonCode::Failure);
            Event::Subscribed(
                refused.map(|(_, filter)| (filter.clone(), "failure".to_owned())).collect(),
            )
        }
        Of::Incoming(Packet::Publish(publish)) => Event::Publish(Publish {
            topic: publish.topic,
            payload: publish.payload,
            retain: publish.retain,
            ack: Ack { packet_id: publish.pkid, qos: publish.qos as u8 },
        }),
        _ => Event::Other,
    }
}

fn v5_event(event: rumqttc::v5::Event, filters: &[String]) -> Event {
    use rumqttc::v5::{
        Event as Of,
        mqttbytes::v5::{Packet, SubscribeReasonCode},
    };
    match event {
        Of::Incoming(Packet::ConnAck(connack)) => {
            Event::Connected { session_present: connack.session_present }
        }
        Of::Incoming(Packet::SubAck(suback)) => {
            let codes = suback.return_codes.iter().zip(filters);
            let refused =
                codes.filter(|(code, _)| !matches!(code, SubscribeReasonCode::Success(_)));
            let shown = |code: &SubscribeReasonCode| format!("{code:?}");
            Event::Subscribed(refused.map(|(code, filter)| (filter.clone(), shown(code))).collect())
        }
        Of::Incoming(Packet::Publish(publish)) => Event::Publish(Publish {
            topic: match std::str::from_utf8(&publish.topic) {
                Ok(topic) => topic.to_owned(),
                Err(_) => format!("{MARK}{}", String::from_utf8_lossy(&publish.topic)),
            },
            payload: publish.payload,
            retain: publish.retain,
            ack: Ack { packet_id: publish.pkid, qos: publish.qos as u8 },
        }),
        _ => Event::Other,
    }
}
