//! The text that a client shows, and the digest that is kept of it.

use ring::{
    digest::{SHA256, SHA256_OUTPUT_LEN},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Characters of a secret that was made here.
pub const SECRET_CHARS: usize = 30;
/// How each of them begins.
const PREFIX: &str = "oribi_";
/// Longer texts are refused without a digest, bytes.
const BYTES_MAX: usize = 256;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Another form: empty, or far too long.
    #[error("the token has another form than oribi_ and 24 letters or digits")]
    Malformed,
    /// It begins like one and ends too early.
    #[error("the token was cut to {0} characters by who sent it; tokens have 30")]
    Cut(usize),
}

/// A secret in clear text. It is shown once and kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// SHA-256 of a secret: 143 random bits cannot be searched, so that a fast digest is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; SHA256_OUTPUT_LEN]);

impl Secret {
    /// A new one out of random bytes; `None` where the system has none.
    pub fn make() -> Option<Secret> {
        let (random, mut text) = (SystemRandom::new(), PREFIX.to_owned());
        while text.len() < SECRET_CHARS {
            let mut bytes = [0; 2 * SECRET_CHARS];
            random.fill(&mut bytes).ok()?;
            // The bytes that are left out would make some letters likelier than others.
            let fair = bytes.iter().filter(|byte| usize::from(**byte) < 4 * ALPHABET.len());
            let letters =
                fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
            text.extend(letters.take(SECRET_CHARS - text.len()));
        }
        Some(Secret(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Digest {
    fn of(bytes: &[u8]) -> Digest {
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(ring::digest::digest(&SHA256, bytes).as_ref());
        Digest(digest)
    }

    /// The digest of what a client shows. A secret of somebody's own making may have any form of 30
    /// characters and more.
    ///
    /// # Errors
    /// What it cannot be.
    pub fn of_shown(text: &[u8]) -> Result<Digest, BadSecret> {
        let length = text.len();
        if length < SECRET_CHARS && text.starts_with(PREFIX.as_bytes()) {
            return Err(BadSecret::Cut(length));
        }
        if !(SECRET_CHARS..=BYTES_MAX).contains(&length) {
            return Err(BadSecret::Malformed);
        }
        Ok(Digest::of(text))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Digest, &'static str> {
        const WRONG: &str = "a digest is 64 hexadecimal digits";
        let mut digest = [0; SHA256_OUTPUT_LEN];
        if text.len() != 2 * SHA256_OUTPUT_LEN || !text.is_ascii() {
            return Err(WRONG);
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| WRONG)?;
        }
        Ok(Digest(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_thirty_plain_characters_and_all_different() {
        let made: Vec<Secret> = (0..100).map(|_| Secret::make().unwrap()).collect();
        for (at, secret) in made.iter().enumerate() {
            let text = secret.as_str();
            assert_eq!(text.len(), SECRET_CHARS);
            assert!(text[PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(made[..at].iter().all(|other| other != secret));
            assert_eq!(Digest::of_shown(text.as_bytes()), Ok(secret.digest()));
            assert!(!format!("{secret:?}").contains(text));
        }
    }

    #[test]
    fn what_a_device_has_cut_is_told_apart() {
        assert_eq!(Digest::of_shown(b"oribi_0123456789"), Err(BadSecret::Cut(16)));
        assert_eq!(Digest::of_shown(b""), Err(BadSecret::Malformed));
        assert_eq!(Digest::of_shown(b"password"), Err(BadSecret::Malformed));
        assert_eq!(Digest::of_shown(&[b'x'; 257]), Err(BadSecret::Malformed));
        assert!(Digest::of_shown(&[0xff; 256]).is_ok());
    }

    #[test]
    fn a_digest_survives_its_text() {
        let digest = Secret::make().unwrap().digest();
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        for wrong in ["\"\"", "\"zz\"", "7"] {
            assert!(serde_json::from_str::<Digest>(wrong).is_err());
        }
    }
}
