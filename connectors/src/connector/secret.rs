//! A text that never shows, and files that hold such.

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, fmt, fs, path::Path};

/// What stands in the place of a secret.
const REDACTED: &str = "***";

/// A password or the like; shown and serialised as `***`.
#[derive(Clone, PartialEq, Eq)]
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
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Secret, D::Error> {
        Text::deserialize(deserializer).map(|Text(text)| Secret(text))
    }
}

/// A text. What is none is refused without a word of it: it may be a secret all the same.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Text, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Text).map_err(|_| serde::de::Error::custom("expected a text"))
    }
}

/// Options, of which none shows in an error.
pub(crate) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    let options = BTreeMap::<String, Text>::deserialize(deserializer)?;
    Ok(options.into_iter().map(|(name, Text(value))| (name, value)).collect())
}

/// Whether an option of this name holds a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 7] =
        ["password", "passphrase", "secret", "jaas", "token", "key.pem", "oauthbearer.config"];
    !name.ends_with(".url") && WORDS.iter().any(|word| name.contains(word))
}

/// Options as they are shown: secrets among them are not.
pub(crate) fn redacted<S: Serializer>(
    options: &BTreeMap<String, String>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(
        options
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { REDACTED } else { value.as_str() })),
    )
}

/// A password, read from its file where it is not given itself; `key` is how the configuration
/// calls the file.
pub(super) fn password(
    given: Option<&Secret>,
    file: Option<&Path>,
    key: &str,
) -> Result<Option<String>> {
    match (given, file) {
        (Some(password), _) => Ok(Some(password.reveal().to_owned())),
        (None, Some(path)) => read_file(path, key).map(|text| Some(text.trim_end().to_owned())),
        (None, None) => Ok(None),
    }
}

/// A small file that the configuration names.
pub(crate) fn read_file(path: &Path, key: &str) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|wrong| Error::config(key, format!("cannot read {}: {wrong}", path.display())))
}
