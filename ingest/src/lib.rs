//! The write path: admission, validation and schema growth, split by tablet, dispatch, receipt.
//!
//! Where rows come from is not known here; see `oribi-connectors`.

mod api;
mod error;
mod ingestor;

pub use api::{Ingest, Receipt};
pub use error::{Error, Result};
pub use ingestor::{IngestOptions, Ingestor};
