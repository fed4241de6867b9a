//! Where rows came from in a source that can be read again.

use std::{collections::BTreeMap, sync::Arc};

/// For each row of a batch its place in the source.
///
/// A source numbers its records, the numbers ascend, and the records of one source reach a tablet
/// in their order. A tablet keeps a [`Marks`] of what it has, so that records that come again are
/// left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The source, such as one partition of a topic as one connector reads it.
    pub source: Arc<str>,
    /// For each row the number of its record, ascending; a record may have several rows.
    pub offsets: Vec<u64>,
}

/// Which rows of a batch are new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fresh {
    /// All.
    All,
    /// Those from this one on.
    From(usize),
    /// None.
    None,
}

/// For each source, the number of the first record that has not been seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Marks(BTreeMap<Arc<str>, u64>);

impl Marks {
    /// The first record of a source that has not been seen.
    pub fn next(&self, source: &str) -> u64 {
        self.0.get(source).copied().unwrap_or(0)
    }

    /// Whether no source has been seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells which rows have not been seen, and remembers all.
    pub fn see(&mut self, cursor: &Cursor) -> Fresh {
        let Some(last) = cursor.offsets.last() else { return Fresh::All };
        let next = self.next(&cursor.source);
        let seen = cursor.offsets.partition_point(|offset| *offset < next);
        if seen == cursor.offsets.len() {
            return Fresh::None;
        }
        self.0.insert(cursor.source.clone(), last.saturating_add(1));
        if seen == 0 { Fresh::All } else { Fresh::From(seen) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(source: &str, offsets: &[u64]) -> Cursor {
        Cursor { source: source.into(), offsets: offsets.to_vec() }
    }

    #[test]
    fn what_comes_again_is_told_apart() {
        let mut marks = Marks::default();
        assert_eq!(marks.see(&cursor("a/0", &[3, 3, 4, 9])), Fresh::All);
        assert_eq!(marks.next("a/0"), 10);
        assert_eq!(marks.see(&cursor("a/0", &[3, 4, 9])), Fresh::None);
        assert_eq!(marks.see(&cursor("a/0", &[4, 9, 9, 11, 11])), Fresh::From(3));
        assert_eq!(marks.see(&cursor("a/1", &[0])), Fresh::All);
        assert_eq!((marks.next("a/0"), marks.next("a/1"), marks.next("b")), (12, 1, 0));
        assert_eq!(marks.see(&cursor("a/0", &[])), Fresh::All);
    }
}
