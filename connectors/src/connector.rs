//! What connectors of all kinds have: members of their configuration, status, and what they run with.

mod common;
mod context;
mod feed;
mod kind;
mod members;
mod registry;
mod secret;
mod status;
mod store;
mod vault;

pub use common::Common;
pub use context::Parts;
pub use feed::{FeedSpec, RecordFormat};
pub use kind::Outline;
pub use members::members_of;
pub use registry::RegistrySpec;
pub use secret::Secret;
pub use status::{PartitionLag, State};
pub use store::{ConnectorStore, Seat};
pub use vault::{Closed, Vault};

pub(crate) use common::Transport;
pub(crate) use context::RunContext;
pub(crate) use kind::{
    FileMember, Kind, MESSAGE_BYTES_MAX, check_feeds, check_message_bytes_max, check_routes,
    option_files, schema_files,
};
pub(crate) use secret::{is_secret, read_file, redacted, texts};
pub(crate) use status::Progress;
