//! What a connector is: its configuration, its status, and what it runs with.

mod context;
mod explain;
mod feed;
pub(crate) mod files;
mod registry;
mod secret;
mod spec;
mod start;
mod status;
mod store;

pub use context::Parts;
pub use explain::{Explained, explain};
pub use feed::{FeedSpec, RecordFormat};
pub use registry::RegistrySpec;
pub use secret::Secret;
pub use spec::{ConnectorSpec, Kind, Protocol, Retained};
pub use start::Start;
pub use status::{Described, PartitionLag, Shown, State};
pub use store::ConnectorStore;

pub(crate) use context::RunContext;
pub(crate) use secret::read_file;
pub(crate) use spec::Transport;
pub(crate) use start::Beginning;
pub(crate) use status::Progress;
