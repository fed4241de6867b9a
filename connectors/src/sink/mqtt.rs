//! An MQTT broker as an outlet: QoS 1, MQTT 3.1.1, which every broker speaks.

use super::{Outlet, broken};
use crate::{
    Result,
    connector::{Common, RunContext},
    mqtt::{network, transport},
};
use oribi_decode::mapping::TopicStyle;
use parking_lot::{Condvar, Mutex};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Publishes that wait to be sent.
const QUEUE_MAX: usize = 1_024;
/// Publishes that wait to be acked.
const IN_FLIGHT_MAX: u16 = 1_000;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const PACKET_BYTES_MAX: usize = 64 << 20;
/// How often waiting looks whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the broker has answered so far.
#[derive(Default)]
struct Answers {
    state: Mutex<Answered>,
    changed: Condvar,
}

#[derive(Default)]
struct Answered {
    is_connected: bool,
    acks: u64,
    failure: Option<String>,
}

/// A connection.
pub(super) struct MqttOutlet {
    client: AsyncClient,
    answers: Arc<Answers>,
    polling: JoinHandle<()>,
    sent: u64,
    url: String,
    runtime: Handle,
    stop: CancellationToken,
}

impl MqttOutlet {
    /// # Errors
    /// [`crate::Error::Config`]: files that cannot be read.
    pub(super) fn connect(
        client_id: String,
        common: &Common,
        context: &RunContext,
        runtime: &Handle,
    ) -> Result<MqttOutlet> {
        let addresses = common.addresses(TopicStyle::Mqtt, "connector")?;
        let (host, port) = addresses.hosts[0].clone();
        let mut options = MqttOptions::new(client_id, host, port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_inflight(IN_FLIGHT_MAX)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_transport(transport(common, addresses.transport)?);
        if let Some(user) = &common.username {
            options.set_credentials(user, common.secret()?.unwrap_or_default());
        }
        let (client, mut events) = AsyncClient::new(options, QUEUE_MAX);
        events.set_network_options(network());
        let answers = Arc::new(Answers::default());
        let polling = runtime.spawn(poll(events, answers.clone()));
        let (url, stop) = (common.url.clone(), context.stop.clone());
        Ok(MqttOutlet { client, answers, polling, sent: 0, url, runtime: runtime.clone(), stop })
    }

    /// Waits for answers until `is_enough`.
    fn wait(&self, is_enough: impl Fn(&Answered) -> bool) -> Result<()> {
        let mut state = self.answers.state.lock();
        while !is_enough(&state) {
            if let Some(reason) = state.failure.take() {
                return Err(broken(&self.url, reason));
            }
            if self.stop.is_cancelled() {
                return Err(broken(&self.url, "the node stops"));
            }
            self.answers.changed.wait_for(&mut state, LOOK_EVERY);
        }
        Ok(())
    }
}

/// Counts answers until the connection ends, which ends the outlet: what was not acked is sent again.
async fn poll(mut events: EventLoop, answers: Arc<Answers>) {
    let mut is_open = true;
    while is_open {
        let event = events.poll().await;
        {
            let mut state = answers.state.lock();
            match event {
                Ok(Event::Incoming(Packet::PubAck(_))) => state.acks += 1,
                Ok(Event::Incoming(Packet::ConnAck(_))) => state.is_connected = true,
                Ok(_) => continue,
                Err(wrong) => {
                    state.failure = Some(wrong.to_string());
                    is_open = false;
                }
            }
        }
        answers.changed.notify_one();
    }
}

impl Outlet for MqttOutlet {
    fn meet(&mut self) -> Result<()> {
        self.wait(|answered| answered.is_connected)
    }

    /// Every topic is there.
    fn obstacle(&mut self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    fn send(&mut self, topic: &str, _: &str, payload: &[u8]) -> Result<()> {
        let publish = self.client.publish(topic, QoS::AtLeastOnce, false, payload);
        let stop = &self.stop;
        let sent = self.runtime.block_on(async {
            tokio::select! {
                sent = publish => sent.map_err(|wrong| wrong.to_string()),
                () = stop.cancelled() => Err("the node stops".to_owned()),
            }
        });
        if let Err(reason) = sent {
            let failure = self.answers.state.lock().failure.take();
            return Err(broken(&self.url, failure.unwrap_or(reason)));
        }
        self.sent += 1;
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.wait(|answered| answered.acks >= self.sent)
    }
}

impl Drop for MqttOutlet {
    fn drop(&mut self) {
        self.polling.abort();
    }
}
