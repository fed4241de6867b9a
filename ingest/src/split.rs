//! A batch cut by tablet.

use oribi_cluster::Catalog;
use oribi_model::{RowBatch, TableId, TabletId, table::Bucket};
use std::collections::BTreeMap;

/// A batch by tablet.
#[derive(Debug)]
pub(crate) enum Split {
    /// Every row lies in this tablet.
    One(TabletId, RowBatch),
    /// Some lie in others, or in none.
    Several(Several),
}

/// A batch over several tablets.
#[derive(Debug)]
pub(crate) struct Several {
    /// The batch as it was.
    pub(crate) whole: RowBatch,
    pub(crate) parts: Vec<(TabletId, RowBatch)>,
    /// For each part, which rows of the whole it has; ascending.
    pub(crate) rows: Vec<Vec<u32>>,
    /// The rows whose times no tablet holds, ascending.
    pub(crate) uncovered: Vec<u32>,
}

/// Cuts a batch by the tablets of its table. Rows of one tablet keep their order.
pub(crate) fn split(whole: RowBatch, catalog: &Catalog) -> Split {
    if let Some(tablet) = only_tablet(&whole, catalog) {
        return Split::One(tablet, whole);
    }
    let hashes: Vec<u64> =
        (0..whole.series.len()).map(|at| whole.series.key(at).hash64()).collect();
    let mut uncovered = Vec::new();
    let mut by_tablet: BTreeMap<TabletId, Vec<u32>> = BTreeMap::new();
    for (row, time) in whole.times.iter().enumerate() {
        let hash = hashes[whole.row_series[row] as usize];
        match tablet_of(catalog, whole.table, *time, hash) {
            Some(tablet) => by_tablet.entry(tablet).or_default().push(row as u32),
            None => uncovered.push(row as u32),
        }
    }
    let parts = by_tablet.iter().map(|(tablet, rows)| (*tablet, whole.take(rows.clone())));
    let (parts, rows) = (parts.collect(), by_tablet.into_values().collect());
    Split::Several(Several { whole, parts, rows, uncovered })
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
