//! An MQTT broker as an outlet: QoS 1, MQTT 3.1.1, which every broker speaks.

use super::{Outlet, broken};
use crate::{
    Result,
    connector::{ConnectorSpec, RunContext},
    mqtt_source::{network, transport},
};
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

#[derive(Default)]
struct Acked {
    state: Mutex<(u64, Option<String>)>,
    changed: Condvar,
}

/// A connection.
pub(super) struct MqttOutlet {
    client: AsyncClient,
    acked: Arc<Acked>,
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
        spec: &ConnectorSpec,
        context: &RunContext,
        runtime: &Handle,
    ) -> Result<MqttOutlet> {
        let addresses = spec.addresses("connector")?;
        let (host, port) = addresses.hosts[0].clone();
        let id = spec.client_id.clone().unwrap_or_else(|| format!("oribi-{}", spec.name));
        let mut options = MqttOptions::new(id, host, port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_inflight(IN_FLIGHT_MAX)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_transport(transport(spec, addresses.transport)?);
        if let Some(user) = &spec.username {
            options.set_credentials(user, spec.secret()?.unwrap_or_default());
        }
        let (client, mut events) = AsyncClient::new(options, QUEUE_MAX);
        events.set_network_options(network());
        let acked = Arc::new(Acked::default());
        let polling = runtime.spawn(poll(events, acked.clone()));
        let (url, stop) = (spec.url.clone(), context.stop.clone());
        Ok(MqttOutlet { client, acked, polling, sent: 0, url, runtime: runtime.clone(), stop })
    }
}

/// Counts acks until the connection ends, which ends the outlet: what was not acked is sent again.
async fn poll(mut events: EventLoop, acked: Arc<Acked>) {
    loop {
        let event = events.poll().await;
        {
            let mut state = acked.state.lock();
            match event {
                Ok(Event::Incoming(Packet::PubAck(_))) => state.0 += 1,
                Ok(_) => continue,
                Err(wrong) => {
                    state.1 = Some(wrong.to_string());
                    acked.changed.notify_one();
                    return;
                }
            }
        }
        acked.changed.notify_one();
    }
}

impl Outlet for MqttOutlet {
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
            let failure = self.acked.state.lock().1.take();
            return Err(broken(&self.url, failure.unwrap_or(reason)));
        }
        self.sent += 1;
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        let mut state = self.acked.state.lock();
        while state.0 < self.sent {
            if let Some(reason) = state.1.take() {
                return Err(broken(&self.url, reason));
            }
            if self.stop.is_cancelled() {
                return Err(broken(&self.url, "the node stops"));
            }
            self.acked.changed.wait_for(&mut state, LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for MqttOutlet {
    fn drop(&mut self) {
        self.polling.abort();
    }
}
