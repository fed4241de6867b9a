//! The MQTT bench: publishers at QoS 1 (MQTT 3.1.1) that keep a window of messages in flight.
//!
//! The encoder is written out by hand and payloads are made ahead, so that a message costs its
//! sender little more than a copy.

mod packets;
mod publisher;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::{
    load::quantile,
    mqtt::{packets::payloads, publisher::Publisher},
    random::Random,
};

/// Payloads made ahead; each device walks through them from another place.
const PAYLOADS: usize = 4096;

/// Threads that share the connections.
const THREADS_MAX: u64 = 4;

/// What is published and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Publishing {
    /// Where the broker or listener is, HOST:PORT.
    #[arg(long)]
    pub(crate) addr: String,
    /// Messages in all.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) messages: u64,
    /// Connections, each with devices of its own.
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: u64,
    /// Messages that each connection has in flight at most.
    #[arg(long, default_value_t = 500)]
    pub(crate) window: u64,
    /// Devices of each connection.
    #[arg(long, default_value_t = 100)]
    pub(crate) devices: u64,
}

/// How it went.
pub(crate) struct Published {
    /// Messages acked.
    pub(crate) acked: u64,
    /// From the first publish to the last ack.
    pub(crate) elapsed: Duration,
    /// Median time from publish to ack.
    pub(crate) ack_p50: Duration,
    /// The 99th percentile of it.
    pub(crate) ack_p99: Duration,
}

impl Publishing {
    /// Publishes everything and waits for every ack.
    ///
    /// # Errors
    /// A connection is refused or lost, or something else than an ack comes back.
    pub(crate) fn run(&self) -> Result<Published> {
        let payloads = payloads(&mut Random::new(0), PAYLOADS);
        let threads = self.connections.min(THREADS_MAX);
        let publishers = (0..threads)
            .map(|thread| {
                let sites = (thread..self.connections).step_by(threads as usize);
                Publisher::connect(self, sites.map(|site| (site, self.share(site))), &payloads)
            })
            .collect::<Result<Vec<Publisher<'_>>>>()?;
        let start = Instant::now();
        let waits = thread::scope(|scope| -> Result<Vec<Duration>> {
            let handles: Vec<_> = publishers
                .into_iter()
                .map(|publisher| scope.spawn(move || publisher.run(start)))
                .collect();
            let mut waits = Vec::new();
            for handle in handles {
                let own = handle.join().map_err(|_| anyhow!("a publisher panicked"))?;
                waits.extend(own.context("publishing failed")?);
            }
            Ok(waits)
        });
        let elapsed = start.elapsed();
        let mut waits = waits?;
        waits.sort_unstable();
        Ok(Published {
            acked: waits.len() as u64,
            elapsed,
            ack_p50: quantile(&waits, 0.5)?,
            ack_p99: quantile(&waits, 0.99)?,
        })
    }

    /// Messages of one connection.
    fn share(&self, site: u64) -> u64 {
        self.messages / self.connections + u64::from(site < self.messages % self.connections)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn read_packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        let (kind, mut length, mut shift) = (byte[0], 0, 0);
        loop {
            stream.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).ok()?;
        Some((kind, rest))
    }

    /// Acks in pairs, the later message first; answers the topics with their payloads' times.
    fn serve(mut stream: TcpStream) -> Vec<(String, u64)> {
        stream.set_nodelay(true).unwrap();
        let (mut seen, mut waiting) = (Vec::new(), None);
        while let Some((kind, rest)) = read_packet(&mut stream) {
            match kind {
                0x10 => stream.write_all(&[0x20, 2, 0, 0]).unwrap(),
                0x32 => {
                    let end = 2 + usize::from(rest[1]);
                    let topic = String::from_utf8(rest[2..end].to_vec()).unwrap();
                    let id = [rest[end], rest[end + 1]];
                    let payload: serde_json::Value =
                        serde_json::from_slice(&rest[end + 2..]).unwrap();
                    seen.push((topic, payload["time"].as_u64().unwrap()));
                    match waiting.take() {
                        None => waiting = Some(id),
                        Some(first) => {
                            stream.write_all(&[0x40, 2, id[0], id[1]]).unwrap();
                            stream.write_all(&[0x40, 2, first[0], first[1]]).unwrap();
                        }
                    }
                }
                _ => return seen,
            }
        }
        seen
    }

    #[test]
    fn every_message_has_a_key_of_its_own_and_is_acked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let publishing = Publishing {
            addr: listener.local_addr().unwrap().to_string(),
            messages: 140_000,
            connections: 2,
            window: 50,
            devices: 7,
        };
        let broker = thread::spawn(move || {
            let accept = |_| {
                thread::spawn({
                    let stream = listener.accept().unwrap().0;
                    move || serve(stream)
                })
            };
            let threads: Vec<_> = (0..2).map(accept).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let published = publishing.run().unwrap();
        assert_eq!(published.acked, 140_000);
        let mut keys = broker.join().unwrap();
        assert_eq!(keys.len(), 140_000);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 140_000);
    }
}
