//! Who is asked for a token.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// `auth.mode` as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthMode {
    /// On where a listener is reached from elsewhere and `insecure` is not set.
    #[default]
    Auto,
    /// On everywhere.
    On,
    /// Off everywhere.
    Off,
}

/// Whether tokens are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TokenMode {
    /// Any credentials will do, and none.
    #[default]
    Off,
    /// Each request and connection shows one.
    On,
}

/// Tokens, `[auth]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthOptions {
    /// Whether tokens are asked for.
    pub(crate) mode: AuthMode,
    /// The file with a token that may do everything on this node; `DATA_DIR/admin.token` when
    /// absent, none when empty.
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Whether `/metrics` is told without a token.
    pub(crate) metrics_open: bool,
}

impl AuthOptions {
    /// Where the file with the admin's token is.
    pub(crate) fn admin_token_file(&self, data_dir: &Path) -> Option<PathBuf> {
        let path = self.admin_token_file.clone();
        let path = path.unwrap_or_else(|| data_dir.join("admin.token"));
        Some(path).filter(|path| !path.as_os_str().is_empty())
    }
}
