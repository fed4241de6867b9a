//! Series keys: one combination of tag values as order-preserving-enough, self-delimiting bytes.
//!
//! A key is the tags that are present and not empty, by ascending column id, each as
//! `id: u32 big-endian | length: u32 big-endian | UTF-8 bytes`. A tag that a table gains later
//! therefore changes no key that lacks it. Keys compare as bytes; that order is the order of rows
//! in memtables and segments, not an order for people.

use crate::ColumnId;
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock},
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

const HEAD_BYTES: usize = 8;

/// One series key. Clones share memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(Arc<[u8]>);

impl SeriesKey {
    /// The key with these tags, which must come by strictly ascending id; empty values are left
    /// out.
    pub fn from_tags<'a>(tags: impl IntoIterator<Item = (ColumnId, &'a str)>) -> SeriesKey {
        let mut bytes = Vec::new();
        for (id, value) in tags {
            push_tag(&mut bytes, id, value.as_bytes());
        }
        SeriesKey(bytes.into())
    }

    /// A key from stored bytes, or `None` where they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<SeriesKey> {
        is_key(bytes).then(|| SeriesKey(bytes.into()))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The tags of the key by ascending id.
    pub fn tags(&self) -> impl Iterator<Item = (ColumnId, &str)> {
        tags(&self.0)
    }

    /// The value of a tag; `None` where the series does not have it.
    pub fn tag(&self, id: ColumnId) -> Option<&str> {
        self.tags().find(|(tag, _)| *tag == id).map(|(_, value)| value)
    }

    /// The hash that decides the bucket: XXH3-64 with seed 0.
    pub fn hash64(&self) -> u64 {
        xxh3_64(&self.0)
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.tags().map(|(id, value)| (id.0, value))).finish()
    }
}

/// Appends one tag to the bytes of a key under construction; an empty value is left out.
#[inline]
pub fn push_tag(key: &mut Vec<u8>, id: ColumnId, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    key.extend_from_slice(&id.0.to_be_bytes());
    key.extend_from_slice(&(value.len() as u32).to_be_bytes());
    key.extend_from_slice(value);
}

/// The first tag of a key's bytes with its value, and the bytes behind it.
pub(crate) fn split_tag(bytes: &[u8]) -> Option<(ColumnId, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let id = u32::from_be_bytes(head[..4].try_into().ok()?);
    let length = u32::from_be_bytes(head[4..].try_into().ok()?);
    let (value, rest) = rest.split_at_checked(length as usize)?;
    Some((ColumnId(id), value, rest))
}

/// The tags of a key's bytes, in the order in which they stand.
pub fn tags(mut bytes: &[u8]) -> impl Iterator<Item = (ColumnId, &str)> + Clone {
    std::iter::from_fn(move || {
        let (id, value, rest) = split_tag(bytes)?;
        bytes = rest;
        Some((id, std::str::from_utf8(value).unwrap_or_default()))
    })
}

fn is_key(mut bytes: &[u8]) -> bool {
    let mut last = None;
    while !bytes.is_empty() {
        match split_tag(bytes) {
            Some((id, value, rest))
                if last < Some(id) && !value.is_empty() && std::str::from_utf8(value).is_ok() =>
            {
                last = Some(id);
                bytes = rest;
            }
            _ => return false,
        }
    }
    true
}

/// A set of series, each told by the XXH3-128 of its key. The seed is drawn once a process, so that
/// nobody can choose two keys that are taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesDigests(Arc<[u128]>);

static DIGEST_SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0u8));

impl SeriesDigests {
    /// The set of the series with these keys.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> SeriesDigests {
        let mut digests: Vec<u128> = keys.into_iter().map(digest).collect();
        digests.sort_unstable();
        digests.dedup();
        SeriesDigests(digests.into())
    }

    /// How many series.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the series with this key is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.0.binary_search(&digest(key)).is_ok()
    }

    /// Whether `others` has all of them.
    pub fn are_within(&self, others: &SeriesDigests) -> bool {
        let mut rest = others.0.iter();
        self.0.iter().all(|one| rest.find(|other| *other >= one) == Some(one))
    }
}

fn digest(key: &[u8]) -> u128 {
    xxh3_128_with_seed(key, *DIGEST_SEED)
}

/// A list of series keys in one buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesKeys {
    bytes: Vec<u8>,
    /// End of each key in `bytes`.
    ends: Vec<u32>,
}

impl SeriesKeys {
    /// Number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of key `at`.
    #[inline]
    pub fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes[start..self.ends[at] as usize]
    }

    /// The tags of key `at` by ascending id.
    pub fn tags(&self, at: usize) -> impl Iterator<Item = (ColumnId, &str)> {
        tags(self.get(at))
    }

    /// The hash of key `at`, as [`SeriesKey::hash64`].
    pub fn hash64(&self, at: usize) -> u64 {
        xxh3_64(self.get(at))
    }

    /// The same keys with other ids: `ids` has one for each id here. Tags whose id is `None` are
    /// left out.
    pub fn renumbered(&self, ids: &[Option<ColumnId>]) -> SeriesKeys {
        let is_ascending = ids.iter().all(Option::is_some) && ids.is_sorted();
        let mut keys = SeriesKeys {
            bytes: Vec::with_capacity(self.bytes.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        if is_ascending {
            keys.bytes.extend_from_slice(&self.bytes);
            keys.ends.extend_from_slice(&self.ends);
            let mut at = 0;
            while let Some((id, value, _)) = split_tag(&keys.bytes[at..]) {
                let next = at + HEAD_BYTES + value.len();
                let id = ids[id.0 as usize].unwrap_or_default();
                keys.bytes[at..at + size_of::<u32>()].copy_from_slice(&id.0.to_be_bytes());
                at = next;
            }
            return keys;
        }
        let mut sorted: Vec<(ColumnId, &str)> = Vec::new();
        for at in 0..self.len() {
            sorted.clear();
            sorted
                .extend(self.tags(at).filter_map(|(id, value)| Some((ids[id.0 as usize]?, value))));
            sorted.sort_unstable_by_key(|(id, _)| *id);
            keys.push_with(|key| {
                sorted.iter().for_each(|(id, value)| push_tag(key, *id, value.as_bytes()));
            });
        }
        keys
    }

    /// Key `at` on its own.
    pub fn key(&self, at: usize) -> SeriesKey {
        SeriesKey(self.get(at).into())
    }

    /// Appends a key whose bytes `fill` pushes with [`push_tag`], and returns its place.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> usize {
        fill(&mut self.bytes);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a batch's keys fit into 4 GiB"));
        self.ends.len() - 1
    }

    /// Appends the bytes of a key; `false`, and nothing appended, where they are not a key.
    pub fn push_bytes(&mut self, key: &[u8]) -> bool {
        let valid = is_key(key);
        if valid {
            self.push_with(|bytes| bytes.extend_from_slice(key));
        }
        valid
    }

    /// The keys' bytes in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Bytes of memory held.
    pub fn bytes_held(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_series_is_told_by_digests() {
        let keys: Vec<SeriesKey> = (0..50)
            .map(|device| SeriesKey::from_tags([(ColumnId(1), format!("d{device}").as_str())]))
            .collect();
        let set = |places: std::ops::Range<usize>| {
            SeriesDigests::of(keys[places].iter().map(SeriesKey::as_bytes))
        };
        assert_eq!((set(3..9).len(), set(3..3).is_empty()), (6, true));
        for (inner, outer, within) in
            [(0..50, 0..50, true), (3..9, 0..50, true), (0..50, 1..50, false), (0..0, 0..0, true)]
        {
            assert_eq!(set(inner).are_within(&set(outer)), within);
        }
        let some = set(10..20);
        let held: Vec<usize> = (0..50).filter(|at| some.contains(keys[*at].as_bytes())).collect();
        assert_eq!(held, (10..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_gives_back_its_tags_and_leaves_out_empty_ones() {
        let key = SeriesKey::from_tags([
            (ColumnId(1), "north"),
            (ColumnId(2), ""),
            (ColumnId(7), "dev=7,ü"),
        ]);
        let tags: Vec<_> = key.tags().collect();
        assert_eq!(tags, [(ColumnId(1), "north"), (ColumnId(7), "dev=7,ü")]);
        assert_eq!(key.tag(ColumnId(2)), None);
        assert_eq!(SeriesKey::from_bytes(key.as_bytes()), Some(key));
    }

    #[test]
    fn renumbered_keys_stand_by_their_new_ids() {
        let mut keys = SeriesKeys::default();
        for tags in [[(0, "a"), (1, "b"), (2, "c")], [(0, "x"), (1, ""), (2, "z")]] {
            keys.push_with(|key| {
                tags.iter().for_each(|(id, value)| push_tag(key, ColumnId(*id), value.as_bytes()));
            });
        }
        let shown = |ids: &[Option<u32>]| {
            let ids: Vec<_> = ids.iter().map(|id| id.map(ColumnId)).collect();
            let keys = keys.renumbered(&ids);
            let of = |at| keys.tags(at).map(|(id, v)| format!("{}{v}", id.0)).collect::<String>();
            let all_are_keys = keys.iter().all(|key| SeriesKey::from_bytes(key).is_some());
            (of(0), of(1), all_are_keys)
        };
        assert_eq!(shown(&[Some(1), Some(5), Some(9)]), ("1a5b9c".into(), "1x9z".into(), true));
        assert_eq!(shown(&[Some(7), None, Some(3)]), ("3c7a".into(), "3z7x".into(), true));
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        let key = SeriesKey::from_tags([(ColumnId(1), "a"), (ColumnId(2), "b")]);
        let bytes = key.as_bytes();
        assert!(SeriesKey::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        let swapped = [&bytes[9..], &bytes[..9]].concat();
        assert!(SeriesKey::from_bytes(&swapped).is_none());
    }
}
