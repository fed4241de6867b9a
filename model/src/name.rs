//! Names that users choose for databases, tables, tags and fields.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

/// Longest name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// The database of a request that names none.
pub const DEFAULT_DB: &str = "default";

/// The name of the column that holds the event time.
pub const TIME_COLUMN: &str = "time";

/// A name that passed the rules: 1 to 255 bytes of UTF-8, no control or bidirectional
/// characters, no `.` or `..` as a path part. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks `name` against the rules.
    ///
    /// # Errors
    /// [`Error::Name`] says which rule is broken.
    pub fn new(name: &str) -> Result<Name> {
        Name::check(name)?;
        Ok(Name(name.into()))
    }

    /// Checks `name` without making one.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn check(name: &str) -> Result<()> {
        check(name).map_err(|reason| Error::Name { name: excerpt(name), reason })
    }

    /// The name of a user's table: the rules of [`Name::new`], and no leading `_`, which is kept
    /// for Oribi's own tables.
    ///
    /// # Errors
    /// [`Error::Name`] says which rule is broken.
    pub fn user_table(name: &str) -> Result<Name> {
        if name.starts_with('_') {
            let reason = "names that start with `_` belong to Oribi's own tables";
            return Err(Error::Name { name: excerpt(name), reason });
        }
        Name::new(name)
    }

    /// Whether a table of this name is one of Oribi's own.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('_')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a name has at least one character");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("a name has at most 255 bytes");
    }
    // Most names are plain, and every row brings some.
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-');
    if name.bytes().all(is_plain) {
        return Ok(());
    }
    if name.chars().any(char::is_control) {
        return Err("control characters are refused");
    }
    if name.chars().any(is_bidirectional_control) {
        return Err("characters that turn the direction of writing are refused");
    }
    if name.split(['/', '\\']).any(|part| part == "." || part == "..") {
        return Err("`.` and `..` as a path part are refused");
    }
    Ok(())
}

/// Unicode's explicit direction marks (UAX #9, section 2), which can make a name read as another.
fn is_bidirectional_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn excerpt(name: &str) -> String {
    const CHARS_SHOWN: usize = 64;
    let mut text: String = name.chars().take(CHARS_SHOWN).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(name: String) -> Result<Name> {
        Name::new(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_like_names_are_fine_but_never_climb() {
        for good in ["km/h", "a/b", "CON", "a..b", "...", "Temperatur °C", "_x"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../../etc/passwd", "a/../b", "a\\..", "a\0b", "a\u{202e}b"] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert!(Name::new(&"x".repeat(255)).is_ok());
        assert!(Name::new(&"x".repeat(256)).is_err());
        assert!(Name::user_table("_dlq").is_err());
    }
}
