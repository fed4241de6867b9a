//! Where a partition goes on.

use oribi_decode::untimed::PLACES;
use std::collections::BTreeMap;

/// Among the cursors kept of a connector, the number by which tablets tell it from one of its name
/// that was deleted; it goes with the cursors.
pub(super) const MADE: &str = "made";

/// A partition as long as its offsets mean the same records. One that was shortened gives offsets
/// away again: from then on it is another source, or tablets would take new records for old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incarnation {
    partition: String,
    number: u64,
}

impl Incarnation {
    /// The incarnation that a partition is in, as the cursors kept of it say.
    pub(super) fn of(partition: String, kept: &BTreeMap<String, u64>) -> Incarnation {
        let number = kept.get(&count_key(&partition)).copied().unwrap_or(0);
        Incarnation { partition, number }
    }

    /// As the tablets' marks and the catalog know it.
    pub(super) fn source(&self) -> String {
        match self.number {
            0 => self.partition.clone(),
            number => format!("{}/{number}", self.partition),
        }
    }

    /// The incarnation after this one.
    pub(super) fn following(&self) -> Incarnation {
        Incarnation { partition: self.partition.clone(), number: self.number + 1 }
    }

    /// How far the incarnation has been read.
    pub(super) fn position(&self, kept: &BTreeMap<String, u64>) -> Option<Position> {
        let source = self.source();
        let epoch = kept.get(&epoch_key(&source)).and_then(|epoch| i32::try_from(*epoch).ok());
        let more_rows = kept.get(&rows_key(&source)).copied().unwrap_or(0);
        kept.get(&source).map(|offset| Position { offset: *offset, epoch, more_rows })
    }

    /// What to keep of an incarnation before any of its records is stored.
    pub(super) fn begun(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([(count_key(&self.partition), self.number)])
    }
}

/// Where to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// That of the leader which wrote the record before it, if it has one: a log that has another
    /// record there is no longer the same (KIP-320).
    pub(super) epoch: Option<i32>,
    /// Rows of the records before it, beyond one a record: with the offset they number rows that
    /// take their time from their record.
    pub(super) more_rows: u64,
}

impl Position {
    /// The nanosecond within its millisecond at which the rows of the record at `offset` begin.
    pub(super) fn row_slot(self, offset: u64) -> i64 {
        (offset.wrapping_add(self.more_rows) % PLACES as u64) as i64
    }

    /// What to keep of it.
    pub(super) fn cursors(self, source: &str) -> impl Iterator<Item = (String, u64)> {
        let epoch = self.epoch.and_then(|epoch| u64::try_from(epoch).ok());
        let epoch = epoch.map(|epoch| (epoch_key(source), epoch));
        let more_rows = (self.more_rows > 0).then(|| (rows_key(source), self.more_rows));
        std::iter::once((source.to_owned(), self.offset)).chain(epoch).chain(more_rows)
    }
}

fn count_key(partition: &str) -> String {
    format!("{partition}/lives")
}

fn epoch_key(source: &str) -> String {
    format!("{source}/epoch")
}

fn rows_key(source: &str) -> String {
    format!("{source}/more-rows")
}

/// What is known of a partition when it is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first offset that was not done, if the connector has read the partition before.
    pub(super) cursor: Option<u64>,
    /// The first offset that the broker has.
    pub(super) low: u64,
    /// The offset after its last one.
    pub(super) high: u64,
}

/// Where to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resumption {
    pub(super) offset: u64,
    /// What is missing before it.
    pub(super) gap: Option<Gap>,
}

/// Records that cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// So many were deleted before they were read.
    Deleted(u64),
    /// The partition ends so many records before what was read already.
    Shortened(u64),
}

/// A partition begins with its first record, and goes on where it was. What is gone is told. From
/// where on a shortened one has other records nobody knows, so it begins anew: rows that are there
/// already come to lie on themselves.
pub(super) fn resume(extent: Extent) -> Resumption {
    let Extent { cursor, low, high } = extent;
    match cursor {
        None => Resumption { offset: low, gap: None },
        Some(cursor) if cursor < low => {
            Resumption { offset: low, gap: Some(Gap::Deleted(low - cursor)) }
        }
        Some(cursor) if cursor > high => {
            Resumption { offset: low, gap: Some(Gap::Shortened(cursor - high)) }
        }
        Some(cursor) => Resumption { offset: cursor, gap: None },
    }
}

impl Gap {
    pub(super) fn records(self) -> u64 {
        match self {
            Gap::Deleted(records) | Gap::Shortened(records) => records,
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gap::Deleted(records) => {
                write!(f, "{records} records were deleted before they were read")
            }
            Gap::Shortened(records) => {
                write!(
                    f,
                    "the partition ends {records} records before what was read already; it is read anew"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told() {
        let begin = |cursor, low, high| resume(Extent { cursor, low, high });
        assert_eq!(begin(None, 5, 9), Resumption { offset: 5, gap: None });
        assert_eq!(begin(Some(7), 5, 9), Resumption { offset: 7, gap: None });
        assert_eq!(begin(Some(9), 5, 9), Resumption { offset: 9, gap: None });
        assert_eq!(begin(Some(2), 5, 9), Resumption { offset: 5, gap: Some(Gap::Deleted(3)) });
        assert_eq!(begin(Some(12), 0, 9), Resumption { offset: 0, gap: Some(Gap::Shortened(3)) });
    }

    #[test]
    fn a_life_has_a_source_of_its_own() {
        let mut kept = BTreeMap::from([("p".to_owned(), 7)]);
        for source in ["p", "p/1", "p/2"] {
            let incarnation = Incarnation::of("p".into(), &kept);
            assert_eq!(incarnation.source(), source);
            kept.extend(incarnation.following().begun());
        }
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let incarnation = Incarnation::of("p".into(), &BTreeMap::new()).following();
        let mut kept = incarnation.begun();
        assert_eq!(Incarnation::of("p".into(), &kept).position(&kept), None);
        for (epoch, more_rows) in [(None, 0), (Some(3), 0), (Some(3), 12)] {
            let position = Position { offset: 9, epoch, more_rows };
            kept.extend(position.cursors(&incarnation.source()));
            assert_eq!(Incarnation::of("p".into(), &kept).position(&kept), Some(position));
        }
    }
}
