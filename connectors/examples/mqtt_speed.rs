//! What an MQTT subscriber that does nothing but ack reaches, beside which the MQTT source is measured:
//! `mqtt_speed PORT CLIENT_ID MESSAGES` takes what a session at a broker of this machine has queued.

use rumqttc::{AsyncClient, Event, MqttOptions, Packet};
use std::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, client_id, count] = args.as_slice() else {
        return Err("expected PORT CLIENT_ID MESSAGES".into());
    };
    let count: u64 = count.parse()?;
    let mut options = MqttOptions::new(client_id, "127.0.0.1", port.parse()?);
    options.set_clean_session(false).set_manual_acks(true);
    // Polling reads faster than it sends acks, all of which may wait.
    let (client, mut events) = AsyncClient::new(options, count as usize);
    // A task on a worker thread, as the connector's is.
    let elapsed = tokio::spawn(async move {
        let (mut started, mut taken) = (None, 0);
        while taken < count {
            let event = events.poll().await.map_err(|wrong| wrong.to_string())?;
            if let Event::Incoming(Packet::Publish(publish)) = event {
                started.get_or_insert_with(Instant::now);
                taken += 1;
                client.try_ack(&publish).map_err(|wrong| wrong.to_string())?;
            }
        }
        Ok::<_, String>(started.map_or(0.0, |started| started.elapsed().as_secs_f64()))
    });
    println!("{:.0} messages/s", count as f64 / elapsed.await??);
    Ok(())
}
