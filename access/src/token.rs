//! A token as the cluster keeps it.

use crate::{Digest, Rights};
use serde::{Deserialize, Serialize};

/// The token of requests that show none. It has no secret.
pub const ANONYMOUS: &str = "anonymous";
/// How the token in a node's own file is called, before `@` and the node.
pub const ADMIN_FILE: &str = "admin-file";
/// Longest note, bytes.
pub const NOTE_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 64;

/// A token. Times are ns since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Never given twice; 0 before it is given.
    pub id: u64,
    /// Grows with each change.
    pub version: u64,
    /// Its name, which no other token has.
    pub name: String,
    /// Of its secret; `None`: nobody can show it.
    pub digest: Option<Digest>,
    /// The secret before, while it still holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// What it may do.
    pub rights: Rights,
    /// From when on it is refused; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ns: Option<i64>,
    /// When it was made.
    pub created_ns: i64,
    /// The token that made it.
    pub created_by: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A secret that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// Of the secret.
    pub digest: Digest,
    /// From when on it is refused.
    pub until_ns: i64,
}

impl Token {
    /// Whether it is over.
    pub fn has_expired(&self, now_ns: i64) -> bool {
        self.expires_ns.is_some_and(|end| end <= now_ns)
    }

    /// Whether a secret of this digest stands for it now.
    pub fn is_shown_by(&self, digest: &Digest, now_ns: i64) -> bool {
        let is_previous = |one: Previous| one.digest == *digest && one.until_ns > now_ns;
        self.digest.as_ref() == Some(digest) || self.previous.is_some_and(is_previous)
    }

    /// The next moment at which it, or a secret of it, is over.
    pub fn next_end_ns(&self, now_ns: i64) -> Option<i64> {
        let previous = self.previous.map(|one| one.until_ns);
        self.expires_ns.into_iter().chain(previous).filter(|end| *end > now_ns).min()
    }
}

/// Checks the name of a token: 1 to 64 letters, digits, `.`, `_` and `-`, and none of those kept
/// for other use.
///
/// # Errors
/// Says what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        return Err(format!(
            "the token name {shown:?} is not 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'"
        ));
    }
    if name == ANONYMOUS || name == ADMIN_FILE {
        return Err(format!("the token name {name:?} is kept for Oribi's own use"));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn token(name: &str, rights: Rights) -> Token {
    Token {
        id: 1,
        version: 1,
        name: name.into(),
        digest: None,
        previous: None,
        rights,
        expires_ns: None,
        created_ns: 0,
        created_by: "test".into(),
        note: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn names_cannot_be_wildcards_or_paths() {
        for good in ["dev7", "a.b_c-d", "x", &"n".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "a/b", "a+", "#", "a b", "é", "anonymous", "admin-file", &"n".repeat(65)]
        {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_and_tokens_end() {
        let (now, old) = (Secret::make().unwrap().digest(), Secret::make().unwrap().digest());
        let mut token = token("t", Rights::default());
        (token.digest, token.expires_ns) = (Some(now), Some(20));
        token.previous = Some(Previous { digest: old, until_ns: 10 });
        assert!(token.is_shown_by(&now, 15) && token.is_shown_by(&old, 9));
        assert!(!token.is_shown_by(&old, 10));
        assert!(token.has_expired(20) && !token.has_expired(19));
        assert_eq!([token.next_end_ns(0), token.next_end_ns(10)], [Some(10), Some(20)]);
        assert_eq!(token.next_end_ns(20), None);
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<Token>(&text).unwrap(), token);
    }
}
