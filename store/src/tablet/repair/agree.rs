//! Whether two segments give the same rows, whichever of them is the newer one.

use crate::{
    scan::{self, Rows, Source},
    segment::Segment,
};
use oribi_model::{
    Block, BlockIter, RowsWanted, ScanSpec, SeriesFilter, SeriesKey, TabletId, TimeRange,
};
use std::{collections::HashSet, sync::Arc};

/// A segment with its smallest and largest time.
type Timed<'a> = ((i64, i64), &'a Arc<Segment>);

/// Whether a scan of both gives the same in either order: no row of both has a column with two
/// values. Reads the rows of the series and times that they share.
///
/// # Errors
/// Why a segment cannot be read.
pub(super) fn agree(tablet: TabletId, one: Timed<'_>, other: Timed<'_>) -> Result<bool, String> {
    let (first, last) = (one.0.0.max(other.0.0), one.0.1.min(other.0.1));
    let keys = keys_of(one.1)?;
    let shared: HashSet<SeriesKey> = &keys & &keys_of(other.1)?;
    if first > last || shared.is_empty() {
        return Ok(true);
    }
    let source =
        |segment: &Arc<Segment>| Source { rows: Rows::Segment(segment.clone()), deletes: vec![] };
    let forth = [source(one.1), source(other.1)];
    let back = [source(other.1), source(one.1)];
    let wanted = ScanSpec {
        columns: scan::columns_of(&forth),
        time: TimeRange::new(first, last.saturating_add(1)),
        series: SeriesFilter::Where(Arc::new(move |key| shared.contains(key))),
        rows: RowsWanted::All,
    };
    let rows = |sources: &[Source]| -> Result<BlockIter, String> {
        let parts = scan::parts(tablet, sources, &wanted, 1, None);
        let parts = parts.map_err(|error| error.to_string())?;
        Ok(Box::new(parts.into_iter().flatten()))
    };
    same_cells(rows(&forth)?, rows(&back)?)
}

fn keys_of(segment: &Segment) -> Result<HashSet<SeriesKey>, String> {
    let mut keys = HashSet::new();
    let each = |key: &[u8], _, _| keys.extend(SeriesKey::from_bytes(key));
    segment.find_series(&SeriesFilter::All, None, each).map_err(|error| error.to_string())?;
    Ok(keys)
}

/// Whether two scans that give the same keys give the same cells, however they are cut into blocks.
fn same_cells(mut one: BlockIter, mut other: BlockIter) -> Result<bool, String> {
    let next = |blocks: &mut BlockIter| -> Result<Option<Block>, String> {
        let block = blocks.find(|block| block.as_ref().map_or(true, |block| block.rows() > 0));
        block.transpose().map_err(|error| error.to_string())
    };
    let (mut a, mut b) = (next(&mut one)?, next(&mut other)?);
    let (mut a_at, mut b_at) = (0, 0);
    while let (Some(left), Some(right)) = (&a, &b) {
        let rows = (left.rows() - a_at).min(right.rows() - b_at);
        let mut columns = left.columns.iter().zip(&right.columns);
        if !columns.all(|(left, right)| left.slice(a_at, rows) == right.slice(b_at, rows)) {
            return Ok(false);
        }
        (a_at, b_at) = (a_at + rows, b_at + rows);
        if a_at == left.rows() {
            (a, a_at) = (next(&mut one)?, 0);
        }
        if b_at == right.rows() {
            (b, b_at) = (next(&mut other)?, 0);
        }
    }
    Ok(a.is_none() && b.is_none())
}
