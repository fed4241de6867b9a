//! The HTTP front door: connections with bounds, over which requests reach a router.

mod accept;
mod connection;
mod entry;
mod pieces;
mod progress;
mod socket;
mod stream;

pub(crate) use accept::{FrontCounters, FrontDoor};
pub(crate) use entry::Entry;

use crate::config::HttpOptions;
use std::{net::IpAddr, time::Duration};

/// The address that a request comes from, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub(crate) IpAddr);

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    header_bytes_max: usize,
    /// Read ahead on one connection.
    buffer_bytes_max: usize,
    connections_max: usize,
    /// Until a request's headers are complete.
    header_ms_max: u64,
    /// Between two requests.
    keep_alive_ms_max: u64,
    /// While the client does not read its answer.
    write_ms_max: u64,
    /// After the stop, for requests in progress.
    drain_max: Duration,
}

impl Bounds {
    /// The bounds that the configuration asks for.
    pub(crate) fn of(options: &HttpOptions) -> Bounds {
        const DRAIN_MAX: Duration = Duration::from_secs(2);
        /// Connections that may have read ahead as much as all bodies in progress may hold.
        const READ_AHEAD: usize = 128;
        /// What is read at once without cost to the rate.
        const BUFFER_BYTES_MAX: usize = 512 << 10;
        Bounds {
            header_bytes_max: options.header_bytes_max,
            buffer_bytes_max: (options.inflight_bytes_max / READ_AHEAD).min(BUFFER_BYTES_MAX),
            connections_max: options.connections_max,
            header_ms_max: options.header_ms_max,
            keep_alive_ms_max: options.keep_alive_ms_max,
            write_ms_max: options.body_idle_ms_max,
            drain_max: DRAIN_MAX,
        }
    }
}
