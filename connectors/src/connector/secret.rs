//! A text that never shows.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "***";

/// A password or the like; shown and serialised as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Whether an option of this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    ["password", "secret", "jaas", "token", "key.pem"].iter().any(|word| name.contains(word))
}
