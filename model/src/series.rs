//! Series keys: one combination of tag values as order-preserving-enough, self-delimiting bytes.
//!
//! A key is the tags that are present and not empty, by ascending column id, each as
//! `id: u32 big-endian | length: u32 big-endian | UTF-8 bytes`. A tag that a table gains later
//! therefore changes no key that lacks it. Keys compare as bytes; that order is the order of rows
//! in memtables and segments, not an order for people.

use crate::ColumnId;
use std::{fmt, sync::Arc};
use xxhash_rust::xxh3::xxh3_64;

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

fn tags(mut bytes: &[u8]) -> impl Iterator<Item = (ColumnId, &str)> {
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

/// A list of series keys in one buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesKeys {
    bytes: Vec<u8>,
    /// End of each key in `bytes`.
    ends: Vec<u32>,
}

impl SeriesKeys {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of key `at`.
    pub fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.bytes[start..self.ends[at] as usize]
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
    fn bytes_that_are_no_key_are_refused() {
        let key = SeriesKey::from_tags([(ColumnId(1), "a"), (ColumnId(2), "b")]);
        let bytes = key.as_bytes();
        assert!(SeriesKey::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        let swapped = [&bytes[9..], &bytes[..9]].concat();
        assert!(SeriesKey::from_bytes(&swapped).is_none());
    }
}
