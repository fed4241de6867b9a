//! The seam between those who ask for rows and the tablets that hold them.

use crate::{
    Block, ColumnId, ColumnType, Consistency, Place, Reading, Result, SeriesKey, Table, TableId,
    TabletId, TagPredicate, TagValues, TimeRange,
    series::{SeriesDigests, push_tag, split_tag},
};
use std::{fmt, sync::Arc};

/// A condition on series, asked once for each series that a scan meets.
#[derive(Clone, Default)]
pub enum SeriesFilter {
    /// Every series.
    #[default]
    All,
    /// The series that have certain tags, which can be found without a look at all of them.
    Tags(NamedSeries),
    /// The series for which the function says yes.
    Where(SeriesTest),
    /// Every series but these.
    Except(SeriesDigests),
}

/// Whether a series is wanted.
pub type SeriesTest = Arc<dyn Fn(&SeriesKey) -> bool + Send + Sync>;

/// Series by the values of some of their tags.
#[derive(Clone)]
pub struct NamedSeries {
    /// By ascending id, the tags that a series must have, each with the values that will do.
    values: Arc<[(ColumnId, TagValues)]>,
    /// What else must hold.
    test: Option<SeriesTest>,
}

impl SeriesFilter {
    /// The series for which `tags` is true, and `test` too where there is one.
    pub fn of(tags: TagPredicate, test: Option<SeriesTest>) -> SeriesFilter {
        let (values, exact) = tags.required();
        let test: Option<SeriesTest> = match (exact, test) {
            (true, test) => test,
            (false, None) => Some(Arc::new(move |series| tags.matches(series))),
            (false, Some(test)) => {
                Some(Arc::new(move |series| tags.matches(series) && test(series)))
            }
        };
        match (values.is_empty(), test) {
            (true, None) => SeriesFilter::All,
            (true, Some(test)) => SeriesFilter::Where(test),
            (false, test) => {
                let values = values.into_iter().collect();
                SeriesFilter::Tags(NamedSeries { values, test })
            }
        }
    }

    /// What it asks of tags, as data: every series that is wanted does so, and others may.
    pub fn tags(&self) -> TagPredicate {
        let SeriesFilter::Tags(named) = self else { return TagPredicate::Always };
        let one = |(tag, values): &(ColumnId, TagValues)| TagPredicate::In(*tag, values.clone());
        TagPredicate::And(named.values.iter().map(one).collect())
    }

    /// Whether rows of `series` are wanted.
    pub fn wants(&self, series: &SeriesKey) -> bool {
        self.may_want(series.as_bytes()) && self.still_wants(series)
    }

    /// Whether the series with these bytes may be wanted, as far as can be told without a key.
    pub fn may_want(&self, key: &[u8]) -> bool {
        match self {
            SeriesFilter::Tags(named) => named.names(key),
            SeriesFilter::Except(others) => !others.contains(key),
            SeriesFilter::All | SeriesFilter::Where(_) => true,
        }
    }

    /// Whether rows of a series that [may be wanted](SeriesFilter::may_want) are wanted.
    pub fn still_wants(&self, series: &SeriesKey) -> bool {
        let test = match self {
            SeriesFilter::All | SeriesFilter::Except(_) => None,
            SeriesFilter::Tags(named) => named.test.as_ref(),
            SeriesFilter::Where(test) => Some(test),
        };
        test.is_none_or(|test| test(series))
    }

    /// All keys that may be wanted among series with no other tags than `tags`, which ascend.
    /// `None` where they cannot be told, or are more than `keys_max`.
    pub fn keys(&self, tags: &[ColumnId], keys_max: usize) -> Option<Vec<SeriesKey>> {
        let SeriesFilter::Tags(named) = self else { return None };
        let (keys, told) = named.beginnings(tags, keys_max)?;
        let whole = told == tags.len();
        whole.then(|| keys.iter().filter_map(|key| SeriesKey::from_bytes(key)).collect())
    }

    /// With what the keys of all wanted series begin among series with no other tags than `tags`,
    /// which ascend, as do the beginnings. `None` where that cannot be told, or they are more than
    /// `prefixes_max`.
    pub fn prefixes(&self, tags: &[ColumnId], prefixes_max: usize) -> Option<Vec<Vec<u8>>> {
        let SeriesFilter::Tags(named) = self else { return None };
        let (prefixes, told) = named.beginnings(tags, prefixes_max)?;
        (told > 0 || prefixes.is_empty()).then_some(prefixes)
    }
}

impl NamedSeries {
    fn names(&self, key: &[u8]) -> bool {
        let mut rest = key;
        self.values.iter().all(|(wanted, values)| {
            while let Some((tag, value, behind)) = split_tag(rest) {
                if tag > *wanted {
                    return false;
                }
                rest = behind;
                if tag == *wanted {
                    return values.contains_bytes(value);
                }
            }
            false
        })
    }

    /// The beginnings of wanted keys, and how many of `tags` they decide: the first ones, as long
    /// as each is named and there are no more than `count_max` beginnings.
    fn beginnings(&self, tags: &[ColumnId], count_max: usize) -> Option<(Vec<Vec<u8>>, usize)> {
        if self.values.iter().any(|(tag, _)| tags.binary_search(tag).is_err()) {
            return Some((Vec::new(), tags.len()));
        }
        let (mut all, mut told) = (vec![Vec::new()], 0);
        for (tag, (named, values)) in tags.iter().zip(self.values.iter()) {
            if tag != named || all.len().checked_mul(values.len())? > count_max {
                break;
            }
            let tails = tails(*tag, values);
            let longer =
                |key: &Vec<u8>| tails.iter().map(|tail| [&key[..], tail].concat()).collect();
            all = all.iter().flat_map::<Vec<_>, _>(longer).collect();
            told += 1;
        }
        Some((all, told))
    }
}

/// A tag with each of these values, as it stands in a key; ascending.
fn tails(tag: ColumnId, values: &TagValues) -> Vec<Vec<u8>> {
    let tail = |value: &str| {
        let mut tail = Vec::new();
        push_tag(&mut tail, tag, value.as_bytes());
        tail
    };
    let mut tails: Vec<_> = values.iter().filter(|value| !value.is_empty()).map(tail).collect();
    tails.sort_unstable();
    tails.dedup();
    tails
}

impl fmt::Debug for SeriesFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeriesFilter::All => f.write_str("All"),
            SeriesFilter::Tags(named) => write!(f, "Tags({:?})", named.values),
            SeriesFilter::Where(_) => f.write_str("Where(..)"),
            SeriesFilter::Except(others) => write!(f, "Except({} series)", others.len()),
        }
    }
}

/// A field to read, as the reader's schema knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnRead {
    /// Which field.
    pub id: ColumnId,
    /// Its type now; older rows may hold integers where it is float by now.
    pub column_type: ColumnType,
}

/// Which rows of each series a scan yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowsWanted {
    /// All.
    #[default]
    All,
    /// The last one within the range, whole. Of earlier ones any may be missing, or lack cells.
    Last,
}

/// Which rows and columns a scan yields.
#[derive(Debug, Clone)]
pub struct ScanSpec {
    /// Fields in the order wanted; none asks for times alone.
    pub columns: Vec<ColumnRead>,
    /// Event times wanted.
    pub time: TimeRange,
    /// Series wanted.
    pub series: SeriesFilter,
    /// Rows wanted of each.
    pub rows: RowsWanted,
}

/// Blocks of one part of one tablet: series in ascending order of key, rows of a series in
/// ascending order of time. It ends at the first error.
pub type BlockIter = Box<dyn Iterator<Item = Result<Block>> + Send>;

/// The rows of one tablet, cut into parts that may be read in parallel.
pub struct TabletScan {
    /// Which tablet.
    pub tablet: TabletId,
    /// The tablet's own bounds in time; tablets of one table and bucket never overlap.
    pub range: TimeRange,
    /// Parts with disjoint series, in ascending order of series.
    pub parts: Vec<BlockIter>,
}

/// How much a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Rows stored; a key written several times may count several times until compaction.
    pub rows: u64,
    /// Bytes of its segments on disk.
    pub bytes: u64,
    /// Range of event times stored; `None` without rows.
    pub time: Option<TimeRange>,
}

/// What the read path needs of the node it runs on.
pub trait ReadPath: Send + Sync + 'static {
    /// The table of this name as of now.
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>>;

    /// All tables, by database and name.
    fn tables(&self) -> Vec<Arc<Table>>;

    /// Whether who reads may not know of a table of this name, be there one or not.
    fn is_refused(&self, _db: &str, _table: &str) -> bool {
        false
    }

    /// The tablets of a table that may hold rows of `time` and that only other nodes have, by the
    /// node that is to be asked. A scan reads them, too.
    fn places(&self, _table: TableId, _time: TimeRange) -> Vec<Place> {
        Vec::new()
    }

    /// The same without the tablets of any place; `None` where there never is one.
    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        None
    }

    /// Has the [`Answerer`](crate::Answerer) of another node answer about tablets of it, which are
    /// current there. Blocks.
    ///
    /// # Errors
    /// [`crate::Error::Unreadable`] with the reason.
    fn ask(&self, place: &Place, _question: &[u8]) -> Result<Vec<u8>> {
        let tablet = place.tablets.first().copied().unwrap_or_default();
        let reason = "there is no way to other nodes".to_owned();
        Err(crate::Error::Unreadable { tablet, reason })
    }

    /// How much a table holds. Blocks.
    fn stats(&self, table: TableId) -> TableStats;

    /// Begins a question: the tables are all those that were acked before this call, at whichever
    /// node, and so are the rows of all that is read by way of what it gives, as far as `consistency`
    /// does not let them be older. `None`: this is so of every read anyway. Blocks.
    ///
    /// # Errors
    /// [`crate::Error::Behind`] where that cannot be told, [`crate::Error::TooStale`].
    fn begin(&self, _consistency: Consistency) -> Result<Option<Arc<dyn ReadPath>>> {
        Ok(None)
    }

    /// What was read so far by way of a question that was begun; `None` where nobody counts it.
    fn reading(&self) -> Option<Reading> {
        None
    }

    /// Opens a scan of a table as it stands now. Blocks. Every row acked before the call is in it, and
    /// later writes, flushes and compactions do not change it. Tablets come by ascending start;
    /// each is cut into at most `parts_max` parts.
    ///
    /// # Errors
    /// [`crate::Error::Unreadable`] where a tablet cannot be opened.
    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tags: &[(u32, &str)]) -> SeriesKey {
        SeriesKey::from_tags(tags.iter().map(|(id, value)| (ColumnId(*id), *value)))
    }

    fn equal(id: u32, value: &str) -> TagPredicate {
        TagPredicate::Equal(ColumnId(id), value.into())
    }

    fn keys() -> Vec<SeriesKey> {
        let mut keys = vec![key(&[]), key(&[(1, "s0")]), key(&[(2, "d7")]), key(&[(3, "x")])];
        for site in ["s0", "s1", "s22"] {
            for device in 0..200 {
                let device = format!("d{device}");
                keys.push(key(&[(1, site), (2, &device)]));
                keys.push(key(&[(1, site), (2, &device), (3, "x")]));
            }
        }
        keys.sort();
        keys
    }

    #[test]
    fn wanted_series_begin_as_told() {
        let keys = keys();
        let of = |tag, values: &[&str]| {
            TagPredicate::In(ColumnId(tag), values.iter().map(|one| one.to_string()).collect())
        };
        let cases = [
            (equal(1, "s1"), Some(1)),
            (equal(2, "d7"), None),
            (TagPredicate::And(vec![equal(2, "d7"), equal(1, "s1")]), Some(1)),
            (TagPredicate::And(vec![of(2, &["d7", "d9", "no"]), of(1, &["s1", "s0"])]), Some(6)),
            (TagPredicate::And(vec![equal(1, "s1"), equal(3, "x")]), Some(1)),
            (TagPredicate::And(vec![equal(1, "s1"), of(1, &["s0", "s1"])]), Some(1)),
            (TagPredicate::And(vec![equal(1, "s1"), equal(1, "s0")]), Some(0)),
            (
                TagPredicate::And(vec![of(1, &["s1", "s22"]), TagPredicate::IsNull(ColumnId(3))]),
                Some(2),
            ),
            (equal(1, ""), Some(0)),
            (equal(9, "s1"), Some(0)),
            (of(1, &["a", "b", "c", "d", "e", "f", "g", "h"]), None),
            (TagPredicate::Or(vec![equal(1, "s1"), equal(2, "d7")]), None),
            (TagPredicate::Always, None),
        ];
        let tags = [ColumnId(1), ColumnId(2), ColumnId(3)];
        for (predicate, count) in cases {
            let filter = SeriesFilter::of(predicate.clone(), None);
            let prefixes = filter.prefixes(&tags, 7);
            assert_eq!(prefixes.as_ref().map(Vec::len), count, "{predicate:?}");
            let begins = |key: &&SeriesKey| match &prefixes {
                Some(all) => all.iter().any(|one| key.as_bytes().starts_with(one)),
                None => true,
            };
            let named: Vec<_> =
                keys.iter().filter(begins).filter(|key| filter.wants(key)).collect();
            let expected: Vec<_> = keys.iter().filter(|key| predicate.matches(key)).collect();
            assert_eq!(named, expected, "{predicate:?}");
            assert!(prefixes.is_none_or(|all| all.is_sorted()));
        }
    }

    #[test]
    fn whole_keys_are_told_where_every_tag_is_named() {
        let both = TagPredicate::And(vec![equal(2, "d7"), equal(1, "s1")]);
        let filter = SeriesFilter::of(both, None);
        let known = [key(&[(1, "s1"), (2, "d7")])];
        assert_eq!(filter.keys(&[ColumnId(1), ColumnId(2)], 9).unwrap(), known);
        assert_eq!(filter.keys(&[ColumnId(1)], 9).unwrap(), [], "nobody has the other tag");
        assert_eq!(filter.keys(&[ColumnId(1), ColumnId(2), ColumnId(3)], 9), None);
        assert_eq!(filter.keys(&[ColumnId(1), ColumnId(2)], 0), None);
        assert_eq!(SeriesFilter::All.keys(&[], 9), None);
    }
}
