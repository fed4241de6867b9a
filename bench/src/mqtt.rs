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

use crate::{load::quantile, mqtt::publisher::Publisher};

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
        let publishers = (0..self.connections)
            .map(|site| {
                let share = self.messages / self.connections;
                let rest = u64::from(site < self.messages % self.connections);
                Publisher::connect(self, site, share + rest)
            })
            .collect::<Result<Vec<Publisher>>>()?;
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
}
