//! Commands that talk to a running node over HTTP, and some for the directory of a stopped one.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod check;
mod client;
pub(crate) mod cluster;
pub(crate) mod connectors;
mod credentials;
pub(crate) mod dead_letters;
pub(crate) mod export;
mod head;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod repair;
pub(crate) mod restore;
mod splice;
mod split;
pub(crate) mod sql;
pub(crate) mod status;
mod text_table;
pub(crate) mod token;
pub(crate) mod whoami;

use clap::Args;
use std::path::PathBuf;

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
    /// File with the token to show, - for standard input [default: ORIBI_TOKEN, the file that
    /// ORIBI_TOKEN_FILE names, or the admin's token below ORIBI_DATA_DIR]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate of the authority that the node's certificate is of, PEM.
    #[arg(long, global = true, value_name = "FILE", env = "ORIBI_CA_FILE")]
    ca_file: Option<PathBuf>,
}
