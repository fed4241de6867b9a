//! Where a partition goes on.

use oribi_decode::untimed::PLACES;
use std::collections::BTreeMap;

/// Among the places kept of a connector, the number by which tablets tell it from one of its name
/// that was deleted; it goes with the places.
pub(super) const MADE: &str = "made";

/// A partition as long as its offsets mean the same records. One that was shortened gives offsets
/// away again: from then on it is another source, or tablets would take new records for old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Life {
    partition: String,
    number: u64,
}

impl Life {
    /// The life that a partition is in, as the places kept of it say.
    pub(super) fn of(partition: String, kept: &BTreeMap<String, u64>) -> Life {
        let number = kept.get(&count_key(&partition)).copied().unwrap_or(0);
        Life { partition, number }
    }

    /// As the tablets' marks and the catalog know it.
    pub(super) fn source(&self) -> String {
        match self.number {
            0 => self.partition.clone(),
            number => format!("{}/{number}", self.partition),
        }
    }

    /// The life after this one.
    pub(super) fn following(&self) -> Life {
        Life { partition: self.partition.clone(), number: self.number + 1 }
    }

    /// How far the life has been read.
    pub(super) fn reached(&self, kept: &BTreeMap<String, u64>) -> Option<Reached> {
        let source = self.source();
        let epoch = kept.get(&epoch_key(&source)).and_then(|epoch| i32::try_from(*epoch).ok());
        let more_rows = kept.get(&rows_key(&source)).copied().unwrap_or(0);
        kept.get(&source).map(|offset| Reached { offset: *offset, epoch, more_rows })
    }

    /// What to keep of a life before any of its records is stored.
    pub(super) fn begun(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([(count_key(&self.partition), self.number)])
    }
}

/// A place to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) offset: u64,
    /// That of the leader which wrote the record before it, if it has one: a log that has another
    /// record there is no longer the same (KIP-320).
    pub(super) epoch: Option<i32>,
    /// Rows of the records before it, beyond one a record: with the offset they number rows that
    /// take their time from their record.
    pub(super) more_rows: u64,
}

impl Reached {
    /// The nanosecond within its millisecond at which the rows of the record at `offset` begin.
    pub(super) fn row_place(self, offset: u64) -> i64 {
        (offset.wrapping_add(self.more_rows) % PLACES as u64) as i64
    }

    /// What to keep of it.
    pub(super) fn places(self, source: &str) -> impl Iterator<Item = (String, u64)> {
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
pub(super) struct Known {
    /// The first place that was not done, if the connector has read the partition before.
    pub(super) cursor: Option<u64>,
    /// The first offset that the broker has.
    pub(super) low: u64,
    /// The offset after its last one.
    pub(super) high: u64,
}

/// Where to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
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
pub(super) fn start(known: Known) -> Start {
    let Known { cursor, low, high } = known;
    match cursor {
        None => Start { offset: low, gap: None },
        Some(cursor) if cursor < low => {
            Start { offset: low, gap: Some(Gap::Deleted(low - cursor)) }
        }
        Some(cursor) if cursor > high => {
            Start { offset: low, gap: Some(Gap::Shortened(cursor - high)) }
        }
        Some(cursor) => Start { offset: cursor, gap: None },
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
        let begin = |cursor, low, high| start(Known { cursor, low, high });
        assert_eq!(begin(None, 5, 9), Start { offset: 5, gap: None });
        assert_eq!(begin(Some(7), 5, 9), Start { offset: 7, gap: None });
        assert_eq!(begin(Some(9), 5, 9), Start { offset: 9, gap: None });
        assert_eq!(begin(Some(2), 5, 9), Start { offset: 5, gap: Some(Gap::Deleted(3)) });
        assert_eq!(begin(Some(12), 0, 9), Start { offset: 0, gap: Some(Gap::Shortened(3)) });
    }

    #[test]
    fn a_life_has_a_source_of_its_own() {
        let mut kept = BTreeMap::from([("p".to_owned(), 7)]);
        for source in ["p", "p/1", "p/2"] {
            let life = Life::of("p".into(), &kept);
            assert_eq!(life.source(), source);
            kept.extend(life.following().begun());
        }
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let life = Life::of("p".into(), &BTreeMap::new()).following();
        let mut kept = life.begun();
        assert_eq!(Life::of("p".into(), &kept).reached(&kept), None);
        for (epoch, more_rows) in [(None, 0), (Some(3), 0), (Some(3), 12)] {
            let reached = Reached { offset: 9, epoch, more_rows };
            kept.extend(reached.places(&life.source()));
            assert_eq!(Life::of("p".into(), &kept).reached(&kept), Some(reached));
        }
    }
}
