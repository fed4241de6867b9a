//! `oribi simulate`: recorded series, as if they happened now, to an MQTT broker and to Kafka.

use super::{
    device::now_ns,
    payload::payload,
    plan,
    recordings::Recording,
    replay::{Due, Replay},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};
use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Messages between the devices and their connection.
const QUEUE_MAX: usize = 1_024;
const RECONNECT: Duration = Duration::from_millis(500);
/// How long what was sent may take to be confirmed at the end.
const SETTLE: Duration = Duration::from_secs(10);

/// Flags of `oribi simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// MQTT broker; topics are sensors/SITE/DEVICE.
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
    /// Kafka brokers; the topic is readings.
    #[arg(long, value_name = "HOST:PORT,...")]
    kafka: Option<String>,
    /// End by itself after so long, such as 20s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::length::parse_duration)]
    duration: Option<Duration>,
    /// Devices.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    devices: u32,
    /// Rows per second of all devices together.
    #[arg(long, value_name = "ROWS", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
}

type Kafka = ThreadedProducer<DefaultProducerContext>;

/// Publishes until `stop` or the end of `--for`, and prints how many rows went where.
///
/// # Errors
/// Brokers that are named wrongly, or rows that were not confirmed.
pub(crate) async fn run(args: &SimulateArgs, stop: CancellationToken) -> Result<()> {
    if args.mqtt.is_none() && args.kafka.is_none() {
        bail!("expected --mqtt HOST:PORT, --kafka HOST:PORT, or both");
    }
    if let Some(duration) = args.duration {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            stop.cancel();
        });
    }
    let mut mqtt = args.mqtt.as_deref().map(connect).transpose()?;
    let kafka = args.kafka.as_deref().map(produce).transpose()?;
    let mut devices: Vec<_> = plan::live(args.devices, args.rate)?
        .into_iter()
        .map(|device| {
            let replay = Replay::new(device.recording.clone(), device.pace).peekable();
            (replay, device.recording, device.name)
        })
        .collect();
    let mut rows = 0u64;
    loop {
        let next = devices
            .iter_mut()
            .enumerate()
            .filter_map(|(at, (replay, ..))| replay.peek().map(|due| (due.time_ns, at)));
        let Some((time_ns, at)) = next.min() else { break };
        let ahead = Duration::from_nanos((time_ns - now_ns()).max(0).unsigned_abs());
        tokio::select! {
            () = tokio::time::sleep(ahead) => {}
            () = stop.cancelled() => break,
        }
        let (replay, recording, name) = &mut devices[at];
        let Some(due) = replay.next() else { continue };
        if let Some((client, _)) = &mqtt {
            let topic = format!("sensors/{}/{name}", recording.site);
            let sent =
                client.publish(topic, QoS::AtLeastOnce, false, payload(recording, &[due], 0));
            tokio::select! {
                sent = sent => sent.context("cannot publish over mqtt")?,
                () = stop.cancelled() => break,
            }
        }
        if let Some(producer) = &kafka {
            send(producer, recording, name, due).await?;
        }
        rows += 1;
    }
    if let Some((_, acked)) = &mut mqtt {
        let all = tokio::time::timeout(SETTLE, acked.wait_for(|acked| *acked >= rows)).await;
        all.context("the mqtt broker did not ack all rows")?.context("mqtt ended")?;
    }
    if let Some(producer) = &kafka {
        producer.flush(SETTLE).context("kafka did not confirm all rows")?;
    }
    println!("{rows} rows published");
    Ok(())
}

/// A client and how many of its publishes the broker has acked.
fn connect(address: &str) -> Result<(AsyncClient, watch::Receiver<u64>)> {
    let (host, port) = address.rsplit_once(':').context("expected --mqtt HOST:PORT")?;
    let port = port.parse().with_context(|| format!("{port:?} is no port"))?;
    let options = MqttOptions::new("oribi-simulate", host, port);
    let (client, mut events) = AsyncClient::new(options, QUEUE_MAX);
    let (count, acked) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => count.send_modify(|acked| *acked += 1),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the simulator has no mqtt connection");
                    tokio::time::sleep(RECONNECT).await;
                }
            }
        }
    });
    Ok((client, acked))
}

fn produce(brokers: &str) -> Result<Kafka> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "5")
        .set("enable.idempotence", "true");
    config.create().context("cannot make a kafka producer")
}

async fn send(producer: &Kafka, recording: &Recording, name: &str, due: Due) -> Result<()> {
    const FULL_PAUSE: Duration = Duration::from_millis(10);
    // The record tells its device itself; over MQTT the topic does.
    let row = payload(recording, &[due], 0);
    let row = format!("{{\"site\":\"{}\",\"device\":\"{name}\",{}", recording.site, &row[1..]);
    let mut record = BaseRecord::to("readings").key(name).payload(&row);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err((wrong, _)) => return Err(wrong).context("cannot send to kafka"),
        }
    }
}
