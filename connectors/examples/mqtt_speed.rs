//! What an MQTT subscriber that does nothing else reaches, with manual acks at once, beside which the
//! MQTT source is measured: `mqtt_speed PORT MESSAGES`.

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use std::{error::Error, time::Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, count] = args.as_slice() else { return Err("expected PORT MESSAGES".into()) };
    let (port, count): (u16, u64) = (port.parse()?, count.parse()?);
    let mut options = MqttOptions::new("speed", "127.0.0.1", port);
    options.set_manual_acks(true).set_receive_maximum(Some(2_000));
    let (client, mut events) = AsyncClient::new(options, 4_096);
    client.subscribe("s/+", QoS::AtLeastOnce).await?;
    let (mut seen, mut started) = (0, Instant::now());
    while seen < count {
        match events.poll().await? {
            Event::Incoming(Packet::SubAck(_)) => println!("subscribed"),
            Event::Incoming(Packet::Publish(publish)) => {
                if seen == 0 {
                    started = Instant::now();
                }
                seen += 1;
                client.try_ack(&publish)?;
            }
            _ => {}
        }
    }
    println!("{:.0} messages/s", count as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
