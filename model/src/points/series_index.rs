//! Series of a batch by their tags.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// The distinct series of a batch, numbered as they appeared.
#[derive(Debug, Default)]
pub(super) struct SeriesIndex {
    places: HashTable<u32>,
    keys: Vec<Box<[u8]>>,
    /// The key that was looked for last.
    sought: Vec<u8>,
}

impl SeriesIndex {
    /// The number of the series with these tags, which need not be sorted; empty values count as
    /// absent.
    pub(super) fn find<'t>(
        &mut self,
        tags: impl Iterator<Item = (&'t str, &'t str)> + Clone,
    ) -> Option<u32> {
        let key = &mut self.sought;
        key.clear();
        let mut put = |(name, value): (&str, &str)| {
            for part in [name, value] {
                key.extend_from_slice(&(part.len() as u32).to_le_bytes());
                key.extend_from_slice(part.as_bytes());
            }
        };
        let present = tags.filter(|(_, value)| !value.is_empty());
        if present.clone().is_sorted() {
            present.for_each(&mut put);
        } else {
            let mut sorted: Vec<_> = present.collect();
            sorted.sort_unstable();
            sorted.into_iter().for_each(&mut put);
        }
        let keys = &self.keys;
        let same = |place: &u32| *keys[*place as usize] == **key;
        self.places.find(xxh3_64(key), same).copied()
    }

    /// Numbers the key that was looked for last and not found.
    pub(super) fn add_sought(&mut self) -> u32 {
        let next = self.keys.len() as u32;
        self.keys.push(self.sought.as_slice().into());
        let keys = &self.keys;
        let hash = |place: &u32| xxh3_64(&keys[*place as usize]);
        self.places.insert_unique(xxh3_64(&self.sought), next, hash);
        next
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of the key that was looked for last.
    pub(super) fn sought_bytes(&self) -> usize {
        self.sought.len()
    }
}
