//! What the process says of itself: log lines and figures.

mod auth;
mod cluster;
mod connectors;
mod ingest;
mod log;
mod memory;
mod metrics;
mod page;
mod process;

pub(crate) use ingest::{CountedIngest, IngestCounters};
pub(crate) use log::{change_log, start_log};
pub(crate) use memory::Memory;
pub(crate) use metrics::{Metrics, Sources, plain};
pub(crate) use process::{allocated_bytes, raise_file_limit, resident_bytes};
