//! Series of a batch by their tags.

use super::known::{KnownSeries, TagNames};
use hashbrown::{HashMap, HashTable};
use oribi_model::{
    ColumnId, SeriesKeys,
    series::{push_tag, tags},
};
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64};

/// The distinct series of a batch, numbered as they appeared. Their keys are written with the
/// places of the tags' names, so that a name is held once however many series have it.
#[derive(Debug, Default)]
pub(super) struct SeriesIndex {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32, Xxh3DefaultBuilder>,
    name_bytes: usize,
    keys: SeriesKeys,
    /// Hash and number of each key.
    numbers: HashTable<(u64, u32)>,
    /// The names of the tags looked for last, in their order, which the next ones often share.
    expected: Vec<u32>,
    /// The key looked for last.
    sought: Vec<u8>,
    /// Names with which the names of all tags begin.
    lead: Option<TagNames>,
}

impl SeriesIndex {
    /// The number of the series with these tags, which need not be sorted; empty values count as
    /// absent.
    pub(super) fn find<'t>(
        &mut self,
        tags: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Option<u32> {
        self.seek(tags, |index, name| index.by_name.get(name).copied())?;
        self.number_of(xxh3_64(&self.sought), &self.sought)
    }

    /// As [`SeriesIndex::find`]; a series that is new gets the next number.
    pub(super) fn find_or_add<'t>(
        &mut self,
        tags: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> u32 {
        let sought = self.seek(tags, |index, name| Some(index.name(name)));
        debug_assert!(sought.is_some(), "new names are added");
        let key = std::mem::take(&mut self.sought);
        let number = self.number_or_new(xxh3_64(&key), &key);
        self.sought = key;
        number
    }

    /// As [`SeriesIndex::find_or_add`].
    pub(super) fn find_or_add_known(&mut self, known: &KnownSeries) -> u32 {
        match self.begins_with(known.names()) {
            true => {
                let (hash, key) = known.key();
                self.number_or_new(hash, key)
            }
            false => self.find_or_add(known.pairs()),
        }
    }

    /// Whether these names have the first places, which they get where there are no others.
    fn begins_with(&mut self, names: &TagNames) -> bool {
        if self.lead.as_ref().is_some_and(|lead| Arc::ptr_eq(lead, names)) {
            return true;
        }
        let begins = (0..).zip(names.iter()).all(|(place, name)| self.name(name) == place);
        if begins {
            self.lead = Some(names.clone());
        }
        begins
    }

    /// Writes the key of these tags to `sought`; `None` where `name` knows a name of them not.
    fn seek<'t>(
        &mut self,
        tags: impl IntoIterator<Item = (&'t str, &'t str)>,
        mut name_place: impl FnMut(&mut SeriesIndex, &str) -> Option<u32>,
    ) -> Option<()> {
        let mut key = std::mem::take(&mut self.sought);
        key.clear();
        let (mut at, mut last, mut is_ascending) = (0, None, true);
        for (name, value) in tags.into_iter().filter(|(_, value)| !value.is_empty()) {
            let place = match self.expected.get(at) {
                Some(place) if *self.names[*place as usize] == *name => *place,
                _ => {
                    let Some(place) = name_place(self, name) else {
                        self.sought = key;
                        return None;
                    };
                    self.expected.truncate(at);
                    self.expected.push(place);
                    place
                }
            };
            at += 1;
            is_ascending &= last < Some(place);
            last = Some(place);
            push_tag(&mut key, ColumnId(place), value.as_bytes());
        }
        self.sought = if is_ascending { key } else { sorted(&key) };
        Some(())
    }

    fn number_of(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same =
            |(of, number): &(u64, u32)| *of == hash && self.keys.get(*number as usize) == key;
        self.numbers.find(hash, same).map(|(_, number)| *number)
    }

    fn number_or_new(&mut self, hash: u64, key: &[u8]) -> u32 {
        if let Some(number) = self.number_of(hash, key) {
            return number;
        }
        let number = self.keys.push_with(|bytes| bytes.extend_from_slice(key)) as u32;
        self.numbers.insert_unique(hash, (hash, number), |(hash, _)| *hash);
        number
    }

    /// The place of a name, made where it is new.
    fn name(&mut self, name: &str) -> u32 {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let (name, place): (Arc<str>, _) = (name.into(), self.names.len() as u32);
        self.name_bytes += name.len();
        self.names.push(name.clone());
        self.by_name.insert(name, place);
        place
    }

    /// The names of all tags.
    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether some series has a tag of this name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self) -> usize {
        /// Of a name: its place in the list and in the table, and its counts.
        const NAME_BYTES: usize = 64;
        self.keys.bytes_held()
            + self.numbers.capacity() * size_of::<(u64, u32)>()
            + self.name_bytes
            + self.names.len() * NAME_BYTES
    }

    /// The names, and the keys by their places.
    pub(super) fn finish(self) -> (Vec<String>, SeriesKeys) {
        (self.names.iter().map(|name| name.to_string()).collect(), self.keys)
    }
}

/// A key whose tags do not ascend, put in order.
fn sorted(key: &[u8]) -> Vec<u8> {
    let mut tags: Vec<_> = tags(key).collect();
    tags.sort_unstable_by_key(|(id, _)| *id);
    let mut key = Vec::with_capacity(key.len());
    tags.iter().for_each(|(id, value)| push_tag(&mut key, *id, value.as_bytes()));
    key
}
