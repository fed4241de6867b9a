//! What a Kafka consumer and producer that do nothing else reach, beside which the connectors are
//! measured: `kafka_speed consume BROKERS TOPIC RECORDS`, `kafka_speed produce BROKERS TOPIC RECORDS`.

use rdkafka::{
    ClientConfig,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, brokers, topic, count] = args.as_slice() else {
        return Err("expected consume|produce BROKERS TOPIC RECORDS".into());
    };
    let count: u64 = count.parse()?;
    let elapsed = match what.as_str() {
        "consume" => consume(brokers, topic, count).await?,
        "produce" => produce(brokers, topic, count)?,
        other => return Err(format!("{other:?} is neither consume nor produce").into()),
    };
    println!("{:.0} records/s", count as f64 / elapsed.as_secs_f64());
    Ok(())
}

/// From the first record to the last.
async fn consume(brokers: &str, topic: &str, count: u64) -> Result<Duration, KafkaError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("speed-{}", std::process::id()))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&[topic])?;
    consumer.recv().await?;
    let started = Instant::now();
    for _ in 1..count {
        consumer.recv().await?;
    }
    Ok(started.elapsed())
}

/// Records of 200 bytes, until all are confirmed.
fn produce(brokers: &str, topic: &str, count: u64) -> Result<Duration, KafkaError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "10")
        .set("compression.type", "lz4");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
    let started = Instant::now();
    for at in 0..count {
        let device = at % 1_000;
        let time = 1_700_000_000_000 + at;
        let mut payload = format!(
            "{{\"device\":\"d{device}\",\"time\":{time},\"temperature\":{}.{},\"humidity\":{},\"pressure\":1013.25,\"n\":{at}",
            15 + at % 20,
            at % 10,
            at % 100
        );
        let fill = 188usize.saturating_sub(payload.len());
        payload.push_str(&format!(",\"pad\":\"{}\"}}", "x".repeat(fill)));
        let key = device.to_string();
        let mut record = BaseRecord::to(topic).key(&key).payload(&payload);
        while let Err((wrong, back)) = producer.send(record) {
            if !matches!(wrong, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(wrong);
            }
            record = back;
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    producer.flush(Duration::from_secs(120))?;
    Ok(started.elapsed())
}
