//! Commands that talk to a running node over HTTP, and some for the directory of a stopped one.

pub(crate) mod backup;
pub(crate) mod check;
mod client;
pub(crate) mod cluster;
pub(crate) mod connectors;
pub(crate) mod dead_letters;
pub(crate) mod export;
mod head;
pub(crate) mod import;
pub(crate) mod repair;
pub(crate) mod restore;
mod splice;
mod split;
pub(crate) mod sql;
pub(crate) mod status;
mod text_table;

use clap::Args;

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct NodeUrl {
    /// Where the node's HTTP is.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8640",
        env = "ORIBI_URL"
    )]
    url: String,
}
