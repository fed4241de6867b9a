//! Which series a scan yields, and where their rows lie in each source.

use super::{Rows, Source};
use crate::{Result, page_cache::PageCache};
use oribi_model::{ScanSpec, SeriesKey};
use std::ops::Range;

/// One series and its place in each source that has it, the oldest source first.
pub(crate) struct PlanSeries {
    pub(super) key: SeriesKey,
    pub(super) places: Vec<Place>,
    pub(super) rows: u64,
}

/// Where the rows of a series lie in a source.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(super) source: u32,
    /// The number of the series there.
    pub(super) series: usize,
    /// In a segment the first row.
    pub(super) at: u64,
    pub(super) rows: u64,
}

/// Keys found, as ranges of one buffer, since most of them are needed for a comparison only.
#[derive(Default)]
struct Found {
    bytes: Vec<u8>,
    series: Vec<(Range<usize>, Place)>,
}

impl Found {
    fn push(&mut self, key: &[u8], place: Place) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.series.push((start..self.bytes.len(), place));
    }
}

/// The wanted series in ascending order.
pub(super) fn plan(
    sources: &[Source],
    spec: &ScanSpec,
    cache: Option<&PageCache>,
) -> Result<Vec<PlanSeries>> {
    let mut found = Found::default();
    for (source, at) in sources.iter().zip(0..) {
        match &source.rows {
            Rows::Segment(segment) if segment.has_none_of(&spec.series, cache)? => {}
            Rows::Segment(segment) => {
                segment.find_series(&spec.series, cache, |key, series, rows| {
                    let (from, rows) = (rows.start, rows.end - rows.start);
                    let place = Place { source: at, series, at: from, rows };
                    found.push(key, place);
                })?
            }
            Rows::Memory(view) => {
                for (number, series) in view.series.iter().enumerate() {
                    let rows = series.rows() as u64;
                    let place = Place { source: at, series: number, at: 0, rows };
                    found.push(series.key.as_bytes(), place);
                }
            }
        }
    }
    let Found { bytes, mut series } = found;
    if sources.len() > 1 {
        // Each source is sorted already, which the stable sort takes advantage of.
        series.sort_by(|a, b| bytes[a.0.clone()].cmp(&bytes[b.0.clone()]));
    }
    let mut plan = Vec::new();
    for same in series.chunk_by(|a, b| bytes[a.0.clone()] == bytes[b.0.clone()]) {
        let key = key_of(sources, &bytes[same[0].0.clone()], &same[0].1)?;
        if spec.series.still_wants(&key) {
            let places = same.iter().map(|(_, place)| *place).collect();
            let rows = same.iter().map(|(_, place)| place.rows).sum();
            plan.push(PlanSeries { key, places, rows });
        }
    }
    Ok(plan)
}

fn key_of(sources: &[Source], bytes: &[u8], place: &Place) -> Result<SeriesKey> {
    match &sources[place.source as usize].rows {
        Rows::Segment(segment) => {
            SeriesKey::from_bytes(bytes).ok_or_else(|| segment.wrong_key(place.at))
        }
        Rows::Memory(view) => Ok(view.series[place.series].key.clone()),
    }
}
