//! The write path: admission, validation and schema growth, split by tablet, dispatch, receipt.
//!
//! Where rows come from is not known here; see `oribi-connectors`.

mod admission;
mod api;
mod budget;
mod error;
mod fit;
mod granted;
mod ingestor;
mod part;
mod reject;
mod split;
#[cfg(test)]
mod tests;

pub use api::{Ingest, Receipt};
pub use error::{Error, Result, Unstored};
pub use granted::granted;
pub use ingestor::{IngestOptions, Ingestor};
pub use oribi_cluster::WriteOutcome;
