//! What a memtable costs, counted; what it answers is tested with the tablet.

use super::*;
use crate::{
    gather::Picks,
    testing::{Random, device, random_batch},
};
use arrow_array::{Float64Array, Int64Array};
use oribi_model::{ColumnRead, ColumnValues, SeriesKeys, TableId, TagPredicate, Value};

fn batch(rows: &[(u64, i64)], columns: Vec<(ColumnId, ColumnValues)>) -> Arc<RowBatch> {
    let (mut series, mut numbers) = (SeriesKeys::default(), std::collections::HashMap::new());
    let row_series = rows.iter().map(|(number, _)| {
        let push = || {
            series.push_bytes(device(*number).as_bytes());
            series.len() as u32 - 1
        };
        *numbers.entry(*number).or_insert_with(push)
    });
    let row_series = row_series.collect();
    let times = rows.iter().map(|(_, time)| *time).collect();
    let (table, schema_version, cursor) = (TableId(3), 1, None);
    Arc::new(RowBatch { table, schema_version, series, row_series, times, columns, cursor })
}

fn floats(ids: std::ops::Range<u32>, rows: usize) -> Vec<(ColumnId, ColumnValues)> {
    let column = |id| (ColumnId(id), ColumnValues::Float(vec![f64::from(id); rows].into()));
    ids.map(column).collect()
}

/// Gathers a column of each series, as a scan does, and gives all cells.
fn read(view: &MemoryView, id: u32, column_type: ColumnType) -> Vec<Option<Value>> {
    let mut found = Vec::new();
    for series in &view.series {
        let mut cells = Vec::new();
        view.walk(series, |block, row, _| {
            cells.push((block, row));
            true
        });
        let read = ColumnRead { id: ColumnId(id), column_type };
        let picks = Picks { cells, ends: None };
        let values = Gather::new(&view.blocks, &picks).column(read);
        found.extend((0..values.len()).map(|at| values.get(at)));
    }
    found
}

#[test]
fn small_batches_cost_their_rows_whatever_their_number() {
    const BATCHES: u64 = 6_000;
    let memtable = Memtable::default();
    for at in 0..BATCHES {
        let rows: Vec<_> = (0..10).map(|row| ((at * 10 + row) % 2_000, at as i64)).collect();
        memtable.apply(LogIndex(at + 1), batch(&rows, floats(10..13, 10)));
    }
    let view = memtable.view(TimeRange::ALL, &SeriesFilter::All).unwrap();
    let rows = BATCHES as usize * 10;
    assert!(view.blocks.len() <= rows / 4_096 + 1, "{} blocks", view.blocks.len());
    count::DONE.set((0, 0));
    for id in 10..13 {
        let values = read(&view, id, ColumnType::Float);
        assert!(values.iter().all(|value| *value == Some(Value::Float(f64::from(id)))));
    }
    assert_eq!(count::DONE.get().1, rows * 3, "each cell is looked at once");
}

#[test]
fn a_batch_of_one_row_is_held_and_counted_as_a_row() {
    let memtable = Memtable::default();
    for at in 0..20_000 {
        memtable.apply(LogIndex(at + 1), batch(&[(at % 50, at as i64)], floats(10..30, 1)));
    }
    let bytes_a_row = memtable.bytes() / 20_000;
    assert!((172..240).contains(&bytes_a_row), "{bytes_a_row} bytes for 172 of values");
}

#[test]
fn cells_that_are_not_there_cost_next_to_nothing() {
    const ROWS: usize = 8_000;
    for rows_a_batch in [1, 1_000] {
        let memtable = Memtable::default();
        let mut random = Random(5);
        for at in 0..ROWS / rows_a_batch {
            let mut cells = std::collections::BTreeMap::new();
            for row in 0..rows_a_batch {
                for _ in 0..5 {
                    let id = ColumnId(random.below(1_000) as u32);
                    cells.entry(id).or_insert_with(|| vec![None; rows_a_batch])[row] = Some(7);
                }
            }
            let int = |cells| ColumnValues::Int(Int64Array::from(cells));
            let columns = cells.into_iter().map(|(id, cells): (_, Vec<_>)| (id, int(cells)));
            let rows: Vec<_> = (0..rows_a_batch).map(|row| (row as u64 % 9, at as i64)).collect();
            memtable.apply(LogIndex(at as u64 + 1), batch(&rows, columns.collect()));
        }
        let bytes_a_value = memtable.bytes() / (ROWS * 5);
        assert!(bytes_a_value <= 24, "{bytes_a_value} bytes a value, {rows_a_batch} rows a batch");
    }
}

#[test]
fn one_series_among_many_is_found_without_a_look_at_the_others() {
    let memtable = Memtable::default();
    let rows: Vec<_> = (0..50_000).map(|number| (number, number as i64)).collect();
    memtable.apply(LogIndex(1), batch(&rows, floats(10..11, rows.len())));
    let equal = |tag, value: &str| TagPredicate::Equal(ColumnId(tag), value.to_owned());
    let whole = TagPredicate::And(vec![equal(1, "dev77"), equal(2, "x")]);
    for (tags, looks) in [(whole, 1), (equal(1, "dev77"), 50_000)] {
        count::DONE.set((0, 0));
        let view = memtable.view(TimeRange::ALL, &SeriesFilter::of(tags, None)).unwrap();
        assert_eq!((view.series.len(), view.rows()), (1, 1));
        assert_eq!(view.series[0].key, device(77));
        assert_eq!(count::DONE.get().0, looks);
    }
}

#[test]
fn a_view_stays_as_it_was() {
    let memtable = Memtable::default();
    let mut views = Vec::new();
    let mut model: Vec<(SeriesKey, i64, Vec<Option<Value>>)> = Vec::new();
    let mut random = Random(9);
    for at in 0..300 {
        let rows = if random.below(8) == 0 { 600 } else { 1 + random.below(40) as usize };
        let batch = Arc::new(random_batch(&mut random, rows));
        for row in 0..batch.rows() {
            let key = batch.series.key(batch.row_series[row] as usize);
            let cell = |id| batch.column(ColumnId(id)).and_then(|values| values.get(row));
            model.push((key, batch.times[row], (10..14).map(cell).collect()));
        }
        memtable.apply(LogIndex(at + 1), batch);
        if random.below(10) == 0 {
            let view = memtable.view(TimeRange::ALL, &SeriesFilter::All).unwrap();
            views.push((view, model.len()));
        }
    }
    for (view, known) in views {
        assert_eq!(view.rows(), known as u64);
        let mut model = model[..known].to_vec();
        model.reverse();
        // Stable: the newest row of each series first, as a walk gives them.
        model.sort_by(|a, b| a.0.cmp(&b.0));
        let mut walked = Vec::new();
        for series in &view.series {
            view.walk(series, |_, _, time| {
                walked.push((series.key.clone(), time));
                true
            });
        }
        assert!(model.iter().map(|(key, time, _)| (key.clone(), *time)).eq(walked));
        let types = [ColumnType::Int, ColumnType::Float, ColumnType::Bool, ColumnType::Text];
        for (at, column_type) in types.into_iter().enumerate() {
            let cells = read(&view, 10 + at as u32, column_type);
            assert!(model.iter().map(|(_, _, cells)| cells[at].clone()).eq(cells));
        }
    }
}

#[test]
fn integers_of_a_column_that_became_float_are_read_as_floats() {
    let memtable = Memtable::default();
    let int = |rows: usize| vec![(ColumnId(10), ColumnValues::Int(vec![2; rows].into()))];
    let float = |rows: usize| vec![(ColumnId(10), ColumnValues::Float(vec![0.5; rows].into()))];
    let rows: Vec<_> = (0..600).map(|time| (1, time)).collect();
    let columns = [int(600), int(3), float(3), int(3), float(600)];
    for (at, columns) in columns.into_iter().enumerate() {
        let count = columns[0].1.len();
        memtable.apply(LogIndex(at as u64 + 1), batch(&rows[..count], columns));
    }
    let view = memtable.view(TimeRange::ALL, &SeriesFilter::All).unwrap();
    assert_eq!(*view.columns, [(ColumnId(10), ColumnType::Float)]);
    let values = read(&view, 10, ColumnType::Float);
    let sum = values.iter().map(|value| match value {
        Some(Value::Float(value)) => *value,
        other => panic!("{other:?}"),
    });
    assert_eq!(sum.sum::<f64>(), 606.0 * 2.0 + 603.0 * 0.5);
}

#[test]
fn columns_that_begin_late_or_have_gaps_read_as_null_there() {
    let memtable = Memtable::default();
    let some = |cells: Vec<Option<f64>>| vec![(ColumnId(10), ColumnValues::Float(cells.into()))];
    let batches: [Vec<(ColumnId, ColumnValues)>; 6] = [
        Vec::new(),
        some(vec![Some(1.0), Some(2.0)]),
        some(vec![Some(3.0)]),
        Vec::new(),
        some(vec![None, Some(4.0)]),
        some(vec![None]),
    ];
    let counts = [2, 2, 1, 1, 2, 1];
    let mut time = 0;
    for (at, (columns, rows)) in batches.into_iter().zip(counts).enumerate() {
        let rows: Vec<_> = (0..rows).map(|row| (1, time + row)).collect();
        time += rows.len() as i64;
        memtable.apply(LogIndex(at as u64 + 1), batch(&rows, columns));
    }
    let view = memtable.view(TimeRange::ALL, &SeriesFilter::All).unwrap();
    let mut cells = read(&view, 10, ColumnType::Float);
    cells.reverse();
    let cells: Float64Array = cells
        .into_iter()
        .map(|cell| match cell {
            Some(Value::Float(value)) => Some(value),
            _ => None,
        })
        .collect();
    let none = None;
    let expected = [none, none, Some(1.0), Some(2.0), Some(3.0), none, none, Some(4.0), none];
    assert_eq!(cells, Float64Array::from(expected.to_vec()));
}

#[test]
fn series_that_come_in_the_order_of_before_are_not_sought() {
    const SERIES: u64 = 2_000;
    let memtable = Memtable::default();
    let orders: [(Vec<u64>, usize); 4] = [
        ((0..SERIES).collect(), SERIES as usize),
        ((0..SERIES).collect(), 0),
        // Two who take turns, each in its order.
        ((0..SERIES).map(|at| (at + SERIES / 2) % SERIES).collect(), 2),
        ((0..SERIES).rev().collect(), SERIES as usize),
    ];
    let mut times = 0..;
    for (order, sought_max) in &orders {
        let rows: Vec<_> = order.iter().copied().zip(&mut times).collect();
        let batch = batch(&rows, floats(10..11, rows.len()));
        count::DONE.set((0, 0));
        memtable.apply(LogIndex(rows[0].1 as u64 + 1), batch);
        let sought = count::DONE.get().0;
        assert!(sought <= *sought_max, "{sought} of {order:?}");
    }
    let view = memtable.view(TimeRange::ALL, &SeriesFilter::All).unwrap();
    assert_eq!(view.series.len(), SERIES as usize);
    assert!(view.series.iter().all(|series| series.rows == orders.len() as u32));
}
