//! Conditions over the tags of a series, in a form that can be stored in a log entry.

use crate::{ColumnId, SeriesKey};
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// A condition with SQL's three values: a tag that a series lacks is null, and a comparison with
/// null is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagPredicate {
    /// Every series.
    Always,
    /// The tag has this value.
    Equal(ColumnId, String),
    /// The tag has one of these values.
    In(ColumnId, TagValues),
    /// The series lacks the tag.
    IsNull(ColumnId),
    /// All hold.
    And(Vec<TagPredicate>),
    /// At least one holds.
    Or(Vec<TagPredicate>),
    /// Does not hold.
    Not(Box<TagPredicate>),
}

/// Values of a tag, in ascending order and each once. One among many is found in one step.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct TagValues {
    sorted: Vec<String>,
    /// The place of each.
    places: HashTable<u32>,
}

/// Values come from those who ask, so that nobody may know which of them share a hash.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl TagValues {
    /// Whether a value is among them.
    pub fn contains(&self, value: &str) -> bool {
        self.contains_bytes(value.as_bytes())
    }

    /// Whether the value with these bytes is among them.
    pub fn contains_bytes(&self, value: &[u8]) -> bool {
        let is_it = |place: &u32| self.sorted[*place as usize].as_bytes() == value;
        self.places.find(HASHES.hash_one(value), is_it).is_some()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(String::as_str)
    }

    /// Those that are also among `others`.
    fn shared_with(&self, others: &TagValues) -> TagValues {
        self.sorted.iter().filter(|value| others.contains(value)).cloned().collect()
    }
}

impl PartialEq for TagValues {
    fn eq(&self, other: &TagValues) -> bool {
        self.sorted == other.sorted
    }
}

impl Eq for TagValues {}

impl fmt::Debug for TagValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sorted.fmt(f)
    }
}

impl From<Vec<String>> for TagValues {
    fn from(mut values: Vec<String>) -> TagValues {
        values.sort_unstable();
        values.dedup();
        let mut places = HashTable::with_capacity(values.len());
        let hash_of = |place: &u32| HASHES.hash_one(values[*place as usize].as_bytes());
        for place in (0u32..).take(values.len()) {
            places.insert_unique(hash_of(&place), place, hash_of);
        }
        TagValues { sorted: values, places }
    }
}

impl From<TagValues> for Vec<String> {
    fn from(values: TagValues) -> Vec<String> {
        values.sorted
    }
}

impl FromIterator<String> for TagValues {
    fn from_iter<I: IntoIterator<Item = String>>(values: I) -> TagValues {
        values.into_iter().collect::<Vec<_>>().into()
    }
}

impl TagPredicate {
    /// Whether the condition is true (not false, not unknown) for `series`.
    pub fn matches(&self, series: &SeriesKey) -> bool {
        self.evaluate(series) == Some(true)
    }

    /// The tags that a series must have for the condition to hold, each with the values that will
    /// do, and whether nothing else is asked for.
    pub(crate) fn required(&self) -> (BTreeMap<ColumnId, TagValues>, bool) {
        match self {
            TagPredicate::Always => (BTreeMap::new(), true),
            TagPredicate::Equal(tag, value) => {
                (BTreeMap::from([(*tag, vec![value.clone()].into())]), true)
            }
            TagPredicate::In(tag, values) => (BTreeMap::from([(*tag, values.clone())]), true),
            TagPredicate::And(parts) => {
                let mut all: BTreeMap<ColumnId, TagValues> = BTreeMap::new();
                let mut exact = true;
                for (values, alone) in parts.iter().map(TagPredicate::required) {
                    exact &= alone;
                    for (tag, values) in values {
                        match all.entry(tag) {
                            Entry::Vacant(place) => drop(place.insert(values)),
                            Entry::Occupied(mut known) => {
                                *known.get_mut() = known.get().shared_with(&values);
                            }
                        }
                    }
                }
                (all, exact)
            }
            TagPredicate::IsNull(_) | TagPredicate::Or(_) | TagPredicate::Not(_) => {
                (BTreeMap::new(), false)
            }
        }
    }

    fn evaluate(&self, series: &SeriesKey) -> Option<bool> {
        match self {
            TagPredicate::Always => Some(true),
            TagPredicate::Equal(tag, wanted) => series.tag(*tag).map(|value| value == wanted),
            TagPredicate::In(tag, wanted) => series.tag(*tag).map(|value| wanted.contains(value)),
            TagPredicate::IsNull(tag) => Some(series.tag(*tag).is_none()),
            TagPredicate::And(parts) => fold(parts.iter().map(|part| part.evaluate(series)), false),
            TagPredicate::Or(parts) => fold(parts.iter().map(|part| part.evaluate(series)), true),
            TagPredicate::Not(part) => part.evaluate(series).map(|held| !held),
        }
    }
}

/// AND (`decisive` = false) or OR (`decisive` = true) of three-valued parts.
fn fold(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut answer = Some(!decisive);
    for part in parts {
        match part {
            Some(held) if held == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it stands in the entries of logs.
    #[test]
    fn values_are_read_in_any_order() {
        let text = r#"{"in":[1,["b","a","b"]]}"#;
        let predicate: TagPredicate = serde_json::from_str(text).unwrap();
        let series = |value| SeriesKey::from_tags([(ColumnId(1), value)]);
        assert_eq!(
            ["a", "b", "c"].map(|value| predicate.matches(&series(value))),
            [true, true, false]
        );
        assert_eq!(serde_json::to_string(&predicate).unwrap(), r#"{"in":[1,["a","b"]]}"#);
    }

    #[test]
    fn a_missing_tag_is_neither_equal_nor_unequal() {
        let series = SeriesKey::from_tags([(ColumnId(1), "a")]);
        let equal = TagPredicate::Equal(ColumnId(2), "x".into());
        assert!(!equal.matches(&series));
        assert!(!TagPredicate::Not(Box::new(equal.clone())).matches(&series));
        assert!(TagPredicate::Or(vec![equal, TagPredicate::IsNull(ColumnId(2))]).matches(&series));
    }
}
