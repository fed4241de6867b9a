//! A batch cut by tablet.

use arrow_array::{
    UInt32Array,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_select::take::take;
use oribi_cluster::Catalog;
use oribi_model::{ColumnValues, RowBatch, SeriesKeys, TableId, TabletId, table::Bucket};
use std::collections::BTreeMap;

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Split {
    /// Every row has a tablet.
    Whole(Vec<(TabletId, RowBatch)>),
    /// Event times that no tablet holds.
    Uncovered(RowBatch, Vec<i64>),
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
            None => uncovered.push(*time),
        }
    }
    if !uncovered.is_empty() {
        return Split::Uncovered(batch, uncovered);
    }
    let parts = by_tablet.into_iter().map(|(tablet, rows)| (tablet, gather(&batch, rows)));
    Split::Whole(parts.collect())
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

/// The rows at these places, in this order, with the series and columns that they have.
pub(crate) fn gather(batch: &RowBatch, rows: Vec<u32>) -> RowBatch {
    let at = |row: &u32| *row as usize;
    let mut numbers = vec![u32::MAX; batch.series.len()];
    let mut series = SeriesKeys::default();
    let row_series = rows.iter().map(|row| {
        let old = batch.row_series[at(row)] as usize;
        if numbers[old] == u32::MAX {
            let key = batch.series.get(old);
            numbers[old] = series.push_with(|bytes| bytes.extend_from_slice(key)) as u32;
        }
        numbers[old]
    });
    let row_series = row_series.collect();
    let times = rows.iter().map(|row| batch.times[at(row)]).collect();
    let rows = UInt32Array::from(rows);
    let columns = batch.columns.iter().filter_map(|(id, values)| {
        let taken = take(values.as_array(), &rows, None).expect("rows are those of the batch");
        let values = like(values, &*taken);
        (values.null_count() < values.len()).then_some((*id, values))
    });
    RowBatch {
        table: batch.table,
        schema_version: batch.schema_version,
        series,
        row_series,
        times,
        columns: columns.collect(),
    }
}

fn like(values: &ColumnValues, array: &dyn arrow_array::Array) -> ColumnValues {
    match values {
        ColumnValues::Int(_) => ColumnValues::Int(array.as_primitive::<Int64Type>().clone()),
        ColumnValues::Float(_) => ColumnValues::Float(array.as_primitive::<Float64Type>().clone()),
        ColumnValues::Bool(_) => ColumnValues::Bool(array.as_boolean().clone()),
        ColumnValues::Text(_) => ColumnValues::Text(array.as_string::<i32>().clone()),
    }
}
