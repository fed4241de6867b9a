//! What can be read of a damaged manifest. Nothing of it is believed that the segments do not
//! confirm, except for the order in which it names them.

use crate::manifest::{Delete, Manifest, SegmentEntry};
use oribi_model::TabletId;

/// What a damaged manifest says.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Salvaged {
    /// Segments in the order in which it names them: by ascending log index.
    pub(super) entries: Vec<SegmentEntry>,
    /// Whether `entries` are all that it names.
    pub(super) is_whole: bool,
    /// Deletes that were not carried out everywhere; `None` where that cannot be read.
    pub(super) deletes: Option<Vec<Delete>>,
}

/// Reads what it can of the file `bytes`.
pub(super) fn salvage(bytes: &[u8], tablet: TabletId) -> Salvaged {
    let body = memchr::memchr(b'{', bytes).map_or(&[][..], |start| &bytes[start..]);
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(body)
        && manifest.tablet == tablet
    {
        let (entries, deletes) = (manifest.segments, Some(manifest.deletes));
        return Salvaged { entries, is_whole: true, deletes };
    }
    let entries = starts(body, b"{\"number\":").filter_map(|at| first_value(&body[at..])).collect();
    const DELETES: &[u8] = b"\"deletes\":";
    let deletes = starts(body, DELETES).last();
    let deletes = deletes.and_then(|at| first_value(&body[at + DELETES.len()..]));
    Salvaged { entries, is_whole: false, deletes }
}

fn starts<'a>(bytes: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(bytes, pattern)
}

/// The value that `bytes` begin with, whatever follows it.
fn first_value<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(bytes).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::{LogIndex, TagPredicate, TimeRange};

    #[test]
    fn a_byte_that_flips_costs_one_segment_at_most() {
        let entry = |number: u64| SegmentEntry {
            number,
            first: LogIndex(number * 10),
            last: LogIndex(number * 10 + 9),
            cleaned: LogIndex(0),
            rows: 100 + number,
            bytes: 5_000,
            time: (-7, 7),
            series: 3,
        };
        let (time, tags) = (TimeRange::new(3, 9), TagPredicate::Always);
        let manifest = Manifest {
            tablet: TabletId(5),
            flushed: None,
            segments: [4, 2, 9].map(entry).to_vec(),
            deletes: vec![Delete { index: LogIndex(99), time, tags }],
        };
        let mut bytes = vec![b'x'; 20];
        bytes.extend(serde_json::to_vec(&manifest).unwrap());
        let whole = salvage(&bytes, TabletId(5));
        assert!(whole.is_whole && whole.entries == manifest.segments);
        assert_eq!(whole.deletes.as_ref(), Some(&manifest.deletes));
        assert!(!salvage(&bytes, TabletId(6)).is_whole);
        for at in 20..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x80;
            let found = salvage(&bad, TabletId(5));
            let known = found.entries.iter().filter(|entry| manifest.segments.contains(entry));
            assert!(known.count() >= 2, "byte {at}");
        }
        assert_eq!(salvage(b"", TabletId(5)), Salvaged::default());
        assert!(salvage(&bytes[..bytes.len() - 60], TabletId(5)).deletes.is_none());
    }
}
