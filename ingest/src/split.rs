//! A batch cut by tablet.

use oribi_cluster::Catalog;
use oribi_model::{RowBatch, TableId, TabletId, table::Bucket};
use std::collections::BTreeMap;

/// A batch by tablet.
#[derive(Debug)]
pub(crate) enum Split {
    /// Every row has a tablet.
    Whole(Vec<(TabletId, RowBatch)>),
    /// The batch as it was, the parts that have tablets, and the rows whose times no tablet holds,
    /// ascending.
    Partly(RowBatch, Vec<(TabletId, RowBatch)>, Vec<u32>),
}

/// Cuts a batch by the tablets of its table. Rows of one tablet keep their order.
pub(crate) fn split(batch: RowBatch, catalog: &Catalog) -> Split {
    if let Some(tablet) = only_tablet(&batch, catalog) {
        return Split::Whole(vec![(tablet, batch)]);
    }
    let hashes: Vec<u64> =
        (0..batch.series.len()).map(|at| batch.series.key(at).hash64()).collect();
    let mut uncovered = Vec::new();
    let mut by_tablet: BTreeMap<TabletId, Vec<u32>> = BTreeMap::new();
    for (row, time) in batch.times.iter().enumerate() {
        let hash = hashes[batch.row_series[row] as usize];
        match tablet_of(catalog, batch.table, *time, hash) {
            Some(tablet) => by_tablet.entry(tablet).or_default().push(row as u32),
            None => uncovered.push(row as u32),
        }
    }
    let parts = by_tablet.into_iter().map(|(tablet, rows)| (tablet, batch.take(rows)));
    let parts = parts.collect();
    if uncovered.is_empty() { Split::Whole(parts) } else { Split::Partly(batch, parts, uncovered) }
}

fn tablet_of(catalog: &Catalog, table: TableId, time: i64, hash: u64) -> Option<TabletId> {
    let tablets = catalog.tablets_at(table, time);
    let count = tablets.first()?.bucket.count;
    tablets.get(Bucket::of(hash, count) as usize).map(|tablet| tablet.id)
}

/// The tablet that holds every row, where that is plain to see.
fn only_tablet(batch: &RowBatch, catalog: &Catalog) -> Option<TabletId> {
    let range = batch.time_range()?;
    match catalog.tablets_at(batch.table, range.start) {
        [one] if one.range.covers(range) => Some(one.id),
        _ => None,
    }
}
