//! What was made of things seen before, within a bound.

use hashbrown::HashTable;

/// Bytes that an entry takes besides its own: its place in the list and in the table.
const ENTRY_BYTES: usize = 48;

/// Values that are looked for by a hash and by what they stand for. Past its bound each new value
/// takes the place of some others chosen at random: of a set too large for it that comes in turn,
/// most is then still known, where the oldest would always be the next one wanted.
#[derive(Debug)]
pub(crate) struct Memo<V> {
    entries: Vec<Entry<V>>,
    places: HashTable<u32>,
    bytes: usize,
    bytes_max: usize,
    /// State of the generator that picks what is forgotten.
    random: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    hash: u64,
    bytes: usize,
}

impl<V> Memo<V> {
    /// An empty one that holds about so many bytes at most.
    pub(crate) fn new(bytes_max: usize) -> Memo<V> {
        let (entries, places) = (Vec::new(), HashTable::new());
        Memo { entries, places, bytes: 0, bytes_max, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// The place of the value with this hash of which `is` holds. It is valid until the next
    /// [`Memo::insert`].
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(&V) -> bool) -> Option<usize> {
        let same = |place: &u32| {
            let entry = &self.entries[*place as usize];
            entry.hash == hash && is(&entry.value)
        };
        self.places.find(hash, same).map(|place| *place as usize)
    }

    /// The value at a place.
    #[inline]
    pub(crate) fn get(&mut self, place: usize) -> &mut V {
        &mut self.entries[place].value
    }

    /// Takes in a value that is not there yet and holds so many bytes; answers its place.
    pub(crate) fn insert(&mut self, hash: u64, value: V, bytes: usize) -> usize {
        let bytes = bytes + ENTRY_BYTES;
        while !self.entries.is_empty() && self.bytes + bytes > self.bytes_max {
            self.forget_one();
        }
        self.bytes += bytes;
        let place = self.entries.len();
        self.entries.push(Entry { value, hash, bytes });
        let entries = &self.entries;
        self.places.insert_unique(hash, place as u32, |place| entries[*place as usize].hash);
        place
    }

    /// Number of values.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn forget_one(&mut self) {
        let place = self.pick();
        let last = self.entries.len() - 1;
        if let Ok(found) =
            self.places.find_entry(self.entries[place].hash, |at| *at as usize == place)
        {
            found.remove();
        }
        if let Some(moved) =
            self.places.find_mut(self.entries[last].hash, |at| *at as usize == last)
        {
            *moved = place as u32;
        }
        let gone = self.entries.swap_remove(place);
        self.bytes -= gone.bytes;
    }

    /// A place at random (xorshift).
    fn pick(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % self.entries.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    fn recall(memo: &mut Memo<u64>, key: u64) -> bool {
        let hash = xxh3_64(&key.to_le_bytes());
        match memo.find(hash, |known| *known == key) {
            Some(place) => *memo.get(place) == key,
            None => {
                memo.insert(hash, key, 52);
                false
            }
        }
    }

    #[test]
    fn a_set_a_little_too_large_that_comes_in_turn_is_mostly_known() {
        const ROOM: u64 = 1_000;
        let mut memo = Memo::new(ROOM as usize * 100);
        let keys = ROOM + ROOM / 10;
        let mut known = 0;
        for round in 0..20 {
            let hits = (0..keys).filter(|key| recall(&mut memo, *key)).count();
            known += if round >= 10 { hits } else { 0 };
            assert!(memo.len() <= ROOM as usize && memo.bytes <= memo.bytes_max);
        }
        assert!(known * 2 > 10 * keys as usize, "{known} of {}", 10 * keys);
    }

    #[test]
    fn what_fits_is_never_forgotten_and_one_too_large_is_held_alone() {
        let mut memo = Memo::new(10_000);
        (0..100).for_each(|key| assert!(!recall(&mut memo, key)));
        (0..100).for_each(|key| assert!(recall(&mut memo, key)));
        memo.insert(7, 7, 20_000);
        assert_eq!((memo.len(), memo.find(7, |key| *key == 7)), (1, Some(0)));
    }
}
