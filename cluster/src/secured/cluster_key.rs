//! The key under which a cluster keeps secrets, and secrets sealed with it.
//!
//! A sealed secret is `v1:KEY:BYTES`: which key it was, and in hexadecimal digits a nonce of 12 bytes, what
//! AES-256-GCM makes of the secret, and the tag. The place that it was sealed for is not in it but is
//! proven with it, so that it cannot be opened anywhere else.

use crate::{ClusterKeyId, hex};
use parking_lot::Mutex;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{Context, SHA256},
    error::Unspecified,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, io};
use tokio::sync::watch;

const KEY_BYTES: usize = 32;
const VERSION: &str = "v1";
const ID_LABEL: &[u8] = b"oribi cluster key";

/// The key under which a cluster keeps secrets: 32 random bytes, as text 64 hexadecimal digits. All of
/// its nodes have it; no backup has.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_BYTES]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({})", self.id())
    }
}

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it does not hold 64 hexadecimal digits and nothing else; openssl rand -hex 32 makes a good key"
)]
pub struct BadClusterKey;

/// The system gave no random bytes, or the cipher refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot seal: the system gives no random bytes")]
pub struct CannotSeal;

impl From<Unspecified> for CannotSeal {
    fn from(_: Unspecified) -> CannotSeal {
        CannotSeal
    }
}

/// Why a sealed secret stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It was sealed with this key.
    #[error("it was sealed with another key, {0}")]
    OtherKey(ClusterKeyId),
    /// It was changed, or sealed for another place.
    #[error("it is damaged, or was sealed for another place")]
    Damaged,
}

impl ClusterKey {
    /// Draws one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<ClusterKey, CannotSeal> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key)?;
        Ok(ClusterKey(key))
    }

    /// The key that a text is, without white space around it.
    ///
    /// # Errors
    /// It is none.
    pub fn from_text(text: &str) -> Result<ClusterKey, BadClusterKey> {
        let bytes = hex::decode(text.trim()).and_then(|bytes| bytes.try_into().ok());
        bytes.map(ClusterKey).ok_or(BadClusterKey)
    }

    /// What [`ClusterKey::from_text`] reads.
    pub fn to_text(&self) -> String {
        hex::encode(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// By what it is known. It says nothing of the key.
    pub fn id(&self) -> ClusterKeyId {
        let mut context = Context::new(&SHA256);
        context.update(ID_LABEL);
        context.update(&self.0);
        let mut id = [0; 16];
        id.copy_from_slice(&context.finish().as_ref()[..16]);
        ClusterKeyId(u128::from_be_bytes(id))
    }

    /// Seals a secret; only with the same `place` it can be opened again.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, place: &str, secret: &str) -> Result<String, CannotSeal> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce)?;
        let mut sealed = secret.as_bytes().to_vec();
        let place = Aad::from(place.as_bytes());
        let nonced = Nonce::assume_unique_for_key(nonce);
        self.cipher()?.seal_in_place_append_tag(nonced, place, &mut sealed)?;
        let bytes = hex::encode(&[&nonce, &sealed[..]].concat());
        Ok(format!("{VERSION}:{}:{bytes}", self.id()))
    }

    /// The secret that was sealed for this place.
    ///
    /// # Errors
    /// Why it stays closed.
    pub fn open(&self, place: &str, sealed: &str) -> Result<String, Unopened> {
        let mut parts = sealed.split(':');
        let (Some(VERSION), Some(id), Some(bytes), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Unopened::Damaged);
        };
        let id: ClusterKeyId = id.parse().map_err(|_| Unopened::Damaged)?;
        if id != self.id() {
            return Err(Unopened::OtherKey(id));
        }
        let mut bytes = hex::decode(bytes).ok_or(Unopened::Damaged)?;
        let (nonce, sealed) =
            bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or(Unopened::Damaged)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let cipher = self.cipher().map_err(|_| Unopened::Damaged)?;
        let opened = cipher.open_in_place(nonce, Aad::from(place.as_bytes()), sealed);
        let opened = opened.map_err(|_| Unopened::Damaged)?;
        String::from_utf8(opened.to_vec()).map_err(|_| Unopened::Damaged)
    }

    fn cipher(&self) -> Result<LessSafeKey, Unspecified> {
        UnboundKey::new(&AES_256_GCM, &self.0).map(LessSafeKey::new)
    }
}

impl Serialize for ClusterKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for ClusterKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClusterKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        ClusterKey::from_text(&text).map_err(serde::de::Error::custom)
    }
}

/// Writes a key to where the next run of the node finds it.
type Keep = Box<dyn Fn(&ClusterKey) -> io::Result<()> + Send + Sync>;

/// The cluster key as far as a node has it.
pub struct KeyHolder {
    held: watch::Sender<Option<ClusterKey>>,
    /// How a key is kept; `None` where it was given from outside, and is never replaced.
    keep: Option<Mutex<Keep>>,
}

impl fmt::Debug for KeyHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHolder").field("held", &*self.held.borrow()).finish_non_exhaustive()
    }
}

impl KeyHolder {
    /// With a key that was given from outside.
    pub fn given(key: ClusterKey) -> KeyHolder {
        KeyHolder { held: watch::Sender::new(Some(key)), keep: None }
    }

    /// With the key that was kept by `keep` before, if there was one.
    pub fn keeping(
        kept: Option<ClusterKey>,
        keep: impl Fn(&ClusterKey) -> io::Result<()> + Send + Sync + 'static,
    ) -> KeyHolder {
        let keep: Keep = Box::new(keep);
        KeyHolder { held: watch::Sender::new(kept), keep: Some(Mutex::new(keep)) }
    }

    /// The key, once there is one.
    pub fn held(&self) -> Option<ClusterKey> {
        self.held.borrow().clone()
    }

    /// Whether it was given from outside, and is never replaced.
    pub fn is_given(&self) -> bool {
        self.keep.is_none()
    }

    /// Keeps a key from now on, unless another one was given from outside. Blocks.
    ///
    /// # Errors
    /// It could not be written; the one before stays.
    pub fn hold(&self, key: ClusterKey) -> io::Result<()> {
        let Some(keep) = &self.keep else { return Ok(()) };
        let keep = keep.lock();
        if self.held().as_ref() != Some(&key) {
            keep(&key)?;
            self.held.send_replace(Some(key));
        }
        Ok(())
    }

    /// Told when another key is held.
    pub fn watch(&self) -> watch::Receiver<Option<ClusterKey>> {
        self.held.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_with_its_key_and_at_its_place() {
        let (key, other) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let sealed = key.seal("plant password", "hunter2 ü").unwrap();
        assert!(!sealed.contains("hunter2"));
        assert_ne!(key.seal("plant password", "hunter2 ü").unwrap(), sealed, "the same nonce");
        assert_eq!(key.open("plant password", &sealed).unwrap(), "hunter2 ü");
        assert_eq!(key.open("plant registry.password", &sealed), Err(Unopened::Damaged));
        assert_eq!(other.open("plant password", &sealed), Err(Unopened::OtherKey(key.id())));
        let again = ClusterKey::from_text(&format!(" {}\n", key.to_text())).unwrap();
        assert_eq!(again.open("plant password", &sealed).unwrap(), "hunter2 ü");
    }

    #[test]
    fn what_was_changed_stays_closed() {
        let key = ClusterKey::generate().unwrap();
        let sealed = key.seal("p", "secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(key.open("p", &changed).is_err(), "{changed}");
            assert!(key.open("p", &sealed[..at]).is_err());
        }
        for odd in ["", "v1", "v1::", "v2:0:0", "v1:ü:ü", &format!("{sealed}:"), &sealed[3..]] {
            assert_eq!(key.open("p", odd), Err(Unopened::Damaged), "{odd}");
        }
    }

    #[test]
    fn a_key_never_shows_by_itself() {
        let key = ClusterKey::generate().unwrap();
        let holder = KeyHolder::given(key.clone());
        for shown in [format!("{key:?}"), format!("{holder:?}"), key.id().to_string()] {
            assert!(!shown.contains(&key.to_text()[..32]), "{shown}");
        }
        for bad in ["", "12", &"g".repeat(64), &format!("{} 1", key.to_text())] {
            assert_eq!(ClusterKey::from_text(bad), Err(BadClusterKey), "{bad}");
        }
    }

    #[test]
    fn a_key_is_held_once_it_is_kept_and_a_given_one_for_ever() {
        let (one, two) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let given = KeyHolder::given(one.clone());
        given.hold(two.clone()).unwrap();
        assert_eq!(given.held(), Some(one.clone()));
        let full =
            KeyHolder::keeping(Some(one.clone()), |_| Err(io::ErrorKind::StorageFull.into()));
        full.hold(one.clone()).unwrap();
        full.hold(two.clone()).unwrap_err();
        assert_eq!(full.held(), Some(one));
        let own = KeyHolder::keeping(None, |_| Ok(()));
        own.hold(two.clone()).unwrap();
        assert_eq!(own.held(), Some(two));
    }
}
