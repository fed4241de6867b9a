//! Which series can have the newest rows of a table: told by the last row of each, which segments keep
//! at hand.

use super::plain::Plain;
use crate::{Result, watch::Watch};
use hashbrown::HashSet;
use oribi_model::{
    ReadPath, RowsWanted, ScanSpec, SeriesFilter, SeriesKey, TagPredicate, TimeRange,
};
use std::sync::Arc;

/// More series than so many are not looked up one by one.
const LIMIT_MAX: usize = 1_000;
/// The last rows of the newest one part in so many of the time are looked at.
const SHARE: i64 = 8;

/// Where the `limit` newest rows lie: since when, and in which series at most. `None`: last rows do not
/// tell. `stored` is when the rows lie that may be wanted.
///
/// # Errors
/// As a scan.
pub(super) fn of(
    plain: &Plain,
    limit: usize,
    stored: TimeRange,
    read: &dyn ReadPath,
    watch: &Arc<Watch>,
) -> Result<Option<(TimeRange, SeriesFilter)>> {
    let everyone = matches!(plain.filter.series(watch), SeriesFilter::All);
    if !everyone || !plain.filter.is_of_series() || limit > LIMIT_MAX {
        return Ok(None);
    }
    let cut = stored.end - stored.end.saturating_sub(stored.start) / SHARE;
    // Rows may have come since the statistics were taken, so the end stays open.
    let time = TimeRange::new(cut, plain.filter.time.end);
    let (columns, series, rows) = (Vec::new(), SeriesFilter::All, RowsWanted::Last);
    let spec = ScanSpec { columns, time, series, rows };
    let mut last: Vec<(i64, SeriesKey)> = Vec::new();
    for part in read.scan(plain.table.id, &spec, 1)?.into_iter().flat_map(|tablet| tablet.parts) {
        for block in part {
            watch.check()?;
            let block = block?;
            watch.grow(block.runs.len() * size_of::<(i64, SeriesKey)>())?;
            let runs = block.runs().filter(|(_, rows)| !rows.is_empty());
            last.extend(runs.map(|(series, rows)| (block.times[rows.end - 1], series.clone())));
        }
    }
    let Some(at) = limit.checked_sub(1).filter(|at| *at < last.len()) else { return Ok(None) };
    // These are rows of the table. One that comes before them all in this order is the last of its
    // series and tablet, and so one of them, or such a last row comes before it.
    last.select_nth_unstable_by(at, |a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    last.truncate(limit);
    let since = TimeRange::new(last[at].0, time.end);
    Ok(Some((since, only(last.into_iter().map(|(_, series)| series).collect()))))
}

/// These series alone, found by the values of a tag that all of them have.
fn only(series: HashSet<SeriesKey>) -> SeriesFilter {
    let tags = series.iter().next().into_iter().flat_map(SeriesKey::tags).map(|(tag, _)| tag);
    let named = tags.map(|tag| (tag, series.iter().map(|one| one.tag(tag)).collect()));
    let named = named.filter_map(|(tag, values): (_, Option<Vec<&str>>)| Some((tag, values?)));
    let named = named.max_by_key(|(_, values)| values.iter().collect::<HashSet<_>>().len());
    let tags = named.map_or(TagPredicate::Always, |(tag, values)| {
        TagPredicate::In(tag, values.into_iter().map(str::to_owned).collect())
    });
    SeriesFilter::of(tags, Some(Arc::new(move |one: &SeriesKey| series.contains(one))))
}
