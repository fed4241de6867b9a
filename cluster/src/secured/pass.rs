//! Secrets to join that end by themselves. A member makes one of the cluster key for whoever is to come, and
//! nobody keeps it: its text says until when it holds and of which key it was made, and so does whoever
//! joins with it. From that each member finds the secret again.

use super::ClusterKey;
use crate::hex;
use bytes::{Buf, Bytes};
use jiff::Timestamp;
use ring::hmac::{HMAC_SHA256, Key, sign};
use std::fmt;

const PREFIX: &str = "oribi_join_";
const SECRET_BYTES: usize = 32;
const SECRET_LABEL: &[u8] = b"oribi join pass";
const NAME_BYTES: usize = 16;
/// Before a name in what is said, which is JSON otherwise and so begins with another byte.
const MARK: u8 = 0;

/// What a pass says of itself. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassName {
    /// Until when it holds, s since the Unix epoch.
    until_s: u64,
    /// The beginning of the id of the key that it was made of.
    maker: u64,
}

/// A secret to join that holds until a certain time. Its text is what is given to a new node.
#[derive(Clone)]
pub struct JoinPass {
    name: PassName,
    secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for JoinPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinPass").field(&self.name).finish()
    }
}

/// A text that begins like a pass, and is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut;

/// A name that is said, and is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutName;

impl PassName {
    /// What is said, with the name before it.
    pub(crate) fn before(name: Option<PassName>, said: &[u8]) -> Vec<u8> {
        match name {
            Some(name) => [&[MARK], &name.to_bytes()[..], said].concat(),
            None => said.to_vec(),
        }
    }

    /// Takes the name from before what is said, where there is one.
    ///
    /// # Errors
    /// It is not whole.
    pub(crate) fn take(said: &mut Bytes) -> Result<Option<PassName>, CutName> {
        if said.first() != Some(&MARK) {
            return Ok(None);
        }
        let (name, _) = said[1..].split_first_chunk::<NAME_BYTES>().ok_or(CutName)?;
        let name = PassName::from_bytes(*name);
        said.advance(1 + NAME_BYTES);
        Ok(Some(name))
    }

    fn to_bytes(self) -> [u8; NAME_BYTES] {
        (u128::from(self.until_s) << 64 | u128::from(self.maker)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; NAME_BYTES]) -> PassName {
        let both = u128::from_be_bytes(bytes);
        PassName { until_s: (both >> 64) as u64, maker: both as u64 }
    }

    /// Whether the time until which it holds has come.
    pub(super) fn has_ended(self, now_ns: i64) -> bool {
        self.until_s <= now_ns.max(0).unsigned_abs() / 1_000_000_000
    }

    /// Until when it holds, as people write it.
    pub(super) fn until(self) -> String {
        let until = i64::try_from(self.until_s).ok();
        let until = until.and_then(|seconds| Timestamp::from_second(seconds).ok());
        until.map_or_else(|| format!("{} s", self.until_s), |until| until.to_string())
    }

    /// The secret of the pass of this name; `None` where it was made of another key.
    pub(super) fn key(self, of: &ClusterKey) -> Option<Key> {
        (self.maker == maker(of)).then(|| Key::new(HMAC_SHA256, &secret(of, self)))
    }
}

impl JoinPass {
    /// The one that holds until a time, s since the Unix epoch.
    pub fn new(key: &ClusterKey, until_s: u64) -> JoinPass {
        let name = PassName { until_s, maker: maker(key) };
        JoinPass { name, secret: secret(key, name) }
    }

    /// What a new node is started with.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}{}", hex::encode(&self.name.to_bytes()), hex::encode(&self.secret))
    }

    /// The pass that a text is; `None` for one that does not begin like one.
    ///
    /// # Errors
    /// It is not whole.
    pub(super) fn read(text: &str) -> Result<Option<JoinPass>, Cut> {
        let Some(digits) = text.strip_prefix(PREFIX) else { return Ok(None) };
        let bytes = hex::decode(digits).ok_or(Cut)?;
        let (name, secret) = bytes.split_first_chunk::<NAME_BYTES>().ok_or(Cut)?;
        let secret = secret.try_into().map_err(|_| Cut)?;
        Ok(Some(JoinPass { name: PassName::from_bytes(*name), secret }))
    }

    /// What it says of itself.
    pub(super) fn name(&self) -> PassName {
        self.name
    }

    /// The secret.
    pub(super) fn key(&self) -> Key {
        Key::new(HMAC_SHA256, &self.secret)
    }
}

fn maker(key: &ClusterKey) -> u64 {
    (key.id().0 >> 64) as u64
}

fn secret(key: &ClusterKey, name: PassName) -> [u8; SECRET_BYTES] {
    let key = Key::new(HMAC_SHA256, key.as_bytes());
    let mut secret = [0; SECRET_BYTES];
    secret.copy_from_slice(sign(&key, &[SECRET_LABEL, &name.to_bytes()].concat()).as_ref());
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_read_whole_or_refused() {
        let pass = JoinPass::new(&ClusterKey::generate().unwrap(), 1_800_000_000);
        let text = pass.to_text();
        assert_eq!(pass.name.until(), "2027-01-15T08:00:00Z");
        let again = JoinPass::read(&text).unwrap().unwrap();
        assert_eq!((again.name, again.secret), (pass.name, pass.secret));
        for wrong in [&text[..text.len() - 2], &text[..20], PREFIX, &format!("{text}ab")] {
            assert_eq!(JoinPass::read(wrong).unwrap_err(), Cut, "{wrong}");
        }
        assert!(JoinPass::read(&"0f".repeat(32)).unwrap().is_none());
        assert!(!format!("{pass:?}").contains(&text[text.len() - 64..]));
    }

    #[test]
    fn a_name_stands_before_what_is_said_or_is_not_there() {
        let pass = JoinPass::new(&ClusterKey::generate().unwrap(), 1_800_000_000);
        for name in [None, Some(pass.name)] {
            let mut said = Bytes::from(PassName::before(name, b"{}"));
            assert_eq!(PassName::take(&mut said), Ok(name));
            assert_eq!(&said[..], b"{}");
        }
        let mut short = Bytes::from_static(&[MARK; NAME_BYTES]);
        assert_eq!(PassName::take(&mut short), Err(CutName));
        assert_eq!(PassName::take(&mut Bytes::new()), Ok(None));
    }

    #[test]
    fn another_time_or_another_key_is_another_secret() {
        let (key, other) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let (pass, later) = (JoinPass::new(&key, 7), JoinPass::new(&key, 8));
        assert_ne!(pass.secret, later.secret);
        assert!(pass.name.key(&key).is_some() && pass.name.key(&other).is_none());
        for (now_s, has_ended) in [(-1, false), (6, false), (7, true), (8, true)] {
            assert_eq!(pass.name.has_ended(now_s * 1_000_000_000), has_ended, "{now_s}");
        }
    }
}
