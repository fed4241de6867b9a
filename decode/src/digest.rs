//! Texts that were seen before, told by digests.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The XXH3-128 of a text. The seed is drawn once a process, so that nobody can choose two texts
/// that are taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(u128);

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0u8));

impl Digest {
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Digest {
        Digest(xxh3_128_with_seed(text, *SEED))
    }

    /// A hash of the text.
    #[inline]
    pub(crate) fn hash64(self) -> u64 {
        self.0 as u64
    }
}
