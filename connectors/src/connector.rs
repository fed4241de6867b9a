//! Connectors: sources and sinks that are configured, run, watched and restarted.

mod explain;
mod kinds;
mod secret;
mod spec;
mod status;
mod store;
mod supervisor;

pub use explain::{Explained, explain};
pub use secret::Secret;
pub use spec::{ConnectorSpec, FeedSpec, Kind, Protocol, RecordFormat, Retained};
pub use status::{Described, State};
pub use store::ConnectorStore;
pub use supervisor::{Connectors, Parts};

pub(crate) use spec::{Transport, read_file};
pub(crate) use status::Progress;
pub(crate) use supervisor::RunContext;
