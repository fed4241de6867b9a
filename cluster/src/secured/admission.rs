//! How somebody whose key nobody knows yet proves that it belongs here: by a secret that all nodes of a
//! cluster are started with.
//!
//! What is said is sealed with the secret, together with bytes that only the two ends of this one TLS
//! connection know. So a seal that is seen says nothing about the secret, none can be used again, and
//! somebody in the middle, who has two connections, can pass none on.

use super::{
    Peer,
    pass::{JoinPass, PassName},
};
use parking_lot::Mutex;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr};
use tokio::time::{Duration, Instant};

/// Bytes of a seal.
pub(crate) const SEAL_BYTES: usize = 32;
/// What is said without one.
pub(super) const UNSEALED: [u8; SEAL_BYTES] = [0; SEAL_BYTES];
/// A secret must take as long to guess as one of so many random bits.
const SECRET_BITS_MIN: u32 = 128;
const SECRET_BYTES_MAX: usize = 4_096;
/// Wrong seals of one address within [`FAILURES_TIME`]; what comes beyond is not looked at.
const FAILURES_MAX: u32 = 5;
const FAILURES_TIME: Duration = Duration::from_secs(60);
/// Addresses whose wrong seals are counted.
const FAILING_MAX: usize = 1_024;

/// The secret that all nodes of a cluster are started with, or one that ends by itself ([`JoinPass`]).
#[derive(Clone)]
pub struct JoinSecret {
    key: Key,
    /// Which one it is, where it ends by itself.
    pass: Option<PassName>,
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(…)")
    }
}

/// A secret that could be guessed, or is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Too short for what it is made of.
    #[error(
        "it has {chars} characters, expected at least {expected}; openssl rand -hex 32 makes a good one"
    )]
    Short {
        /// What it has.
        chars: usize,
        /// What it would need.
        expected: usize,
    },
    /// It goes on and on.
    #[error("it has more than {SECRET_BYTES_MAX} bytes")]
    Long,
    /// It is not what `oribi cluster join-secret` has printed.
    #[error("it is not the whole of what oribi cluster join-secret has printed")]
    Cut,
}

impl JoinSecret {
    /// The secret that a text is, without white space around it.
    ///
    /// # Errors
    /// It could be guessed, or is not whole.
    pub fn new(text: &str) -> Result<JoinSecret, BadSecret> {
        let text = text.trim();
        if text.len() > SECRET_BYTES_MAX {
            return Err(BadSecret::Long);
        }
        if let Some(pass) = JoinPass::read(text).map_err(|_| BadSecret::Cut)? {
            return Ok(JoinSecret { key: pass.key(), pass: Some(pass.name()) });
        }
        let is_all = |is: fn(&char) -> bool| text.chars().all(|char| is(&char));
        let of: u32 = match () {
            () if is_all(char::is_ascii_digit) => 10,
            () if is_all(char::is_ascii_hexdigit) => 16,
            () => 64,
        };
        let (chars, bits) = (text.chars().count(), f64::from(SECRET_BITS_MIN));
        let expected = (bits / f64::from(of).log2()).ceil() as usize;
        match chars < expected {
            true => Err(BadSecret::Short { chars, expected }),
            false => Ok(JoinSecret { key: Key::new(HMAC_SHA256, text.as_bytes()), pass: None }),
        }
    }
}

/// What is asked of somebody whose key is not known.
#[derive(Debug, Clone)]
pub enum Admission {
    /// That it has the secret.
    Secret(JoinSecret),
    /// That it is on this machine.
    Loopback,
    /// Nothing.
    Anybody,
    /// Nothing would do: there is no secret.
    Nobody,
}

pub(super) const WRONG_SECRET: Standing =
    Standing::Unproven(Cow::Borrowed("the secret to join is not the same as there"));

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Who called.
    Asked,
    /// Who was called.
    Answered,
}

/// What has become of the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may join, by what is asked of it.
    Proven,
    /// It may not, and why.
    Unproven(Cow<'static, str>),
    /// That cannot be told yet, and why.
    Undecided(&'static str),
}

impl Standing {
    pub(super) fn unproven(why: &'static str) -> Standing {
        Standing::Unproven(Cow::Borrowed(why))
    }
}

impl Admission {
    /// Which of the secrets that end is the one of this node, if it is one.
    pub(super) fn pass(&self) -> Option<PassName> {
        match self {
            Admission::Secret(secret) => secret.pass,
            Admission::Loopback | Admission::Anybody | Admission::Nobody => None,
        }
    }

    /// What goes before something that is said over a connection.
    pub(crate) fn seal(&self, peer: &Peer, direction: Direction, said: &[u8]) -> [u8; SEAL_BYTES] {
        let Admission::Secret(secret) = self else { return UNSEALED };
        seal(&secret.key, peer, direction, said)
    }

    /// What is to be made of the seal of something that was said.
    pub(super) fn judge(
        &self,
        peer: &Peer,
        direction: Direction,
        seal: &[u8; SEAL_BYTES],
        said: &[u8],
    ) -> Standing {
        let is_unsealed = *seal == UNSEALED;
        match self {
            Admission::Secret(_) if is_unsealed && direction == Direction::Answered => {
                Standing::unproven("the node there was not started with the same secret")
            }
            Admission::Secret(_) if is_unsealed => Standing::unproven(
                "a secret is asked for; start the node with --join-secret-file, the same as others",
            ),
            Admission::Secret(JoinSecret { pass: Some(_), .. })
                if direction == Direction::Asked =>
            {
                Standing::unproven(
                    "the node there was let in by a secret of its own and does not know that of the \
                     others; ask one of them, or take a secret from oribi cluster join-secret",
                )
            }
            Admission::Secret(secret) => proven(&secret.key, peer, direction, seal, said),
            // It would not believe what it is answered.
            _ if !is_unsealed && direction == Direction::Asked => Standing::unproven(
                "a secret was given, and the other side has none; start it with --join-secret-file",
            ),
            Admission::Anybody => Standing::Proven,
            Admission::Loopback if peer.is_of_this_machine() => Standing::Proven,
            Admission::Loopback | Admission::Nobody => Standing::unproven(
                "joining needs a secret; start all nodes with the same --join-secret-file, or the new one \
                 with what oribi cluster join-secret prints",
            ),
        }
    }
}

/// The seal that a key makes.
pub(super) fn seal(key: &Key, peer: &Peer, direction: Direction, said: &[u8]) -> [u8; SEAL_BYTES] {
    let mut seal = UNSEALED;
    seal.copy_from_slice(sign(key, &sealed(peer, direction, said)).as_ref());
    seal
}

/// Whether a seal is that of a key.
pub(super) fn proven(
    key: &Key,
    peer: &Peer,
    direction: Direction,
    seal: &[u8; SEAL_BYTES],
    said: &[u8],
) -> Standing {
    match verify(key, &sealed(peer, direction, said), seal) {
        Ok(()) => Standing::Proven,
        Err(_) => WRONG_SECRET,
    }
}

fn sealed(peer: &Peer, direction: Direction, said: &[u8]) -> Vec<u8> {
    let direction: &[u8] = match direction {
        Direction::Asked => b"oribi join",
        Direction::Answered => b"oribi admit",
    };
    [direction, peer.exported(), said].concat()
}

/// Who has shown wrong seals lately.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<BTreeMap<IpAddr, (u32, Instant)>>);

impl Failures {
    /// Whether an address has shown so many that it has to wait.
    pub(super) fn must_wait(&self, from: IpAddr) -> bool {
        let failures = self.0.lock();
        let recent = failures.get(&from).filter(|(_, since)| since.elapsed() < FAILURES_TIME);
        recent.is_some_and(|(count, _)| *count >= FAILURES_MAX)
    }

    pub(super) fn note(&self, from: IpAddr) {
        let mut failures = self.0.lock();
        failures.retain(|_, (_, since)| since.elapsed() < FAILURES_TIME);
        if failures.len() < FAILING_MAX || failures.contains_key(&from) {
            failures.entry(from).or_insert((0, Instant::now())).0 += 1;
        }
    }
}
