//! How secrets are kept, `[secrets]` in the configuration file.

use serde::Deserialize;
use std::path::PathBuf;

/// The key under which the cluster keeps secrets of connectors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SecretsOptions {
    /// The file with the key, the same on all nodes; when absent the cluster makes one, which each
    /// node keeps in `DATA_DIR/cluster.key`.
    pub(crate) key_file: Option<PathBuf>,
}
