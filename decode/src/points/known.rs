//! Series that come in one batch after another.

use oribi_model::{
    ColumnId,
    series::{push_tag, tags},
};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The names of a series' tags in the order of its key, shared by the many series that have the same.
pub(crate) type TagNames = Arc<[Box<str>]>;

/// A series whose tags were checked, and its key as a batch has it that begins with these names.
#[derive(Debug)]
pub(crate) struct KnownSeries {
    names: TagNames,
    key: Box<[u8]>,
    /// Of the key.
    hash: u64,
}

impl KnownSeries {
    /// The series with these tags; empty values count as absent. Its names are `others` where they are the same.
    pub(crate) fn new(tags: &[(&str, &str)], others: Option<&TagNames>) -> KnownSeries {
        let tags = tags.iter().filter(|(_, value)| !value.is_empty());
        let mut key = Vec::new();
        for (place, (_, value)) in (0..).zip(tags.clone()) {
            push_tag(&mut key, ColumnId(place), value.as_bytes());
        }
        let names = tags.map(|(name, _)| *name);
        let shared = others.filter(|others| names.clone().eq(others.iter().map(|name| &**name)));
        let names = shared.cloned().unwrap_or_else(|| names.map(Box::from).collect());
        KnownSeries { names, hash: xxh3_64(&key), key: key.into() }
    }

    pub(crate) fn names(&self) -> &TagNames {
        &self.names
    }

    pub(super) fn key(&self) -> (u64, &[u8]) {
        (self.hash, &self.key)
    }

    /// Names and values, in the order in which they were given.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.names.iter().zip(tags(&self.key)).map(|(name, (_, value))| (&**name, value))
    }

    /// Bytes held, those of the names only where they are not `others`.
    pub(crate) fn bytes(&self, others: Option<&TagNames>) -> usize {
        let is_shared = others.is_some_and(|others| Arc::ptr_eq(others, &self.names));
        let names = self.names.iter().map(|name| size_of_val(name) + name.len());
        self.key.len() + if is_shared { 0 } else { names.sum() }
    }
}
