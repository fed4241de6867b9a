//! From figures to rows: empty windows, order, limit, columns.

mod cells;
mod column;
mod values;

use crate::{
    Error, QueryOptions, Result,
    answer::{Answer, Stats},
    operator::Figures,
    plan::{Fill, Plan},
    relation::time_type,
    watch::Watch,
    windows::Windows,
};
use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use cells::{Cell, cells, order};
use column::Column;
use std::sync::Arc;
use values::item_column;

/// Turns the figures of a plan into its answer.
pub(crate) fn finish(
    plan: &Plan,
    mut figures: Figures,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Answer> {
    let cells = cells(plan, &figures, options)?;
    watch.grow(cells.len() * (size_of::<Cell>() + 24 * (1 + plan.items.len())))?;
    let width = match plan.fill {
        Fill::None => 0,
        _ => cells.windows(2).take_while(|two| two[0].window == two[1].window).count() + 1,
    };
    let starts: Vec<i64> = cells.iter().map(|cell| plan.windows.start(cell.window)).collect();
    let mut columns = Vec::with_capacity(plan.items.len());
    for item in &plan.items {
        let mut column = item_column(plan, item, &mut figures, &cells)?;
        if width > 0 {
            column.fill(plan.fill, width, &starts);
        }
        columns.push(column);
    }
    let rows = order(plan, &cells);
    answer(plan, &figures, &cells, &starts, columns, &rows, options)
}

fn answer(
    plan: &Plan,
    figures: &Figures,
    cells: &[Cell],
    starts: &[i64],
    columns: Vec<Column>,
    rows: &[usize],
    options: &QueryOptions,
) -> Result<Answer> {
    if rows.len() > options.answer_rows_max {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let time = |at: &usize| match plan.windows {
        Windows::Whole => plan.start,
        _ => Some(starts[*at]),
    };
    let times: TimestampNanosecondArray = rows.iter().map(time).collect();
    let mut fields = vec![Field::new("time", time_type(), true)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    for (place, tag) in plan.group.iter().enumerate() {
        fields.push(Field::new(tag.name.as_str(), DataType::Utf8, true));
        let values =
            rows.iter().map(|at| figures.groups[cells[*at].group as usize][place].as_deref());
        arrays.push(Arc::new(values.collect::<StringArray>()));
    }
    for (item, column) in plan.items.iter().zip(columns) {
        let array = column.array(rows);
        fields.push(Field::new(item.name.as_str(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let with_rows = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &with_rows)
        .map_err(|error| Error::Internal { detail: error.to_string() })?;
    if batch.get_array_memory_size() > options.answer_bytes_max {
        let limit = options.answer_bytes_max as u64;
        return Err(Error::AnswerLimit { name: "answer_bytes_max", limit });
    }
    let stats = Stats {
        rows_scanned: Some(figures.rows),
        series: Some(figures.series),
        ..Stats::default()
    };
    Ok(Answer { schema, batches: vec![batch], stats })
}
