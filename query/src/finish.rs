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
use cells::{Cell, Groups, found, grid, order, with_values};
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
    let groups = Groups::of(&figures);
    let mut cells = found(plan, &figures, &groups);
    watch.grow(cells.len() * (size_of::<Cell>() + 24 * (1 + plan.items.len())))?;
    let columns = plan.items.iter().map(|item| item_column(plan, item, &mut figures, &cells));
    let mut columns: Vec<Column> = columns.collect::<Result<_>>()?;
    cells = with_values(cells, &mut columns);
    let mut width = 0;
    if plan.fill != Fill::None {
        (cells, width) = grid(plan, &cells, &groups, options)?;
        watch.grow(cells.len() * (size_of::<Cell>() + 24 * (1 + plan.items.len())))?;
        let places: Vec<u32> = cells.iter().map(|cell| cell.place).collect();
        columns.iter_mut().for_each(|column| column.pick(&places));
    }
    let starts = starts(plan, &cells);
    if width > 0 {
        columns.iter_mut().for_each(|column| column.fill(plan.fill, width, &starts));
    }
    let rows = order(plan, &cells);
    answer(plan, &figures, &cells, &starts, columns, &rows, options)
}

/// When the window of each cell starts; cells of one window stand together.
fn starts(plan: &Plan, cells: &[Cell]) -> Vec<i64> {
    let mut known = None;
    let start = |cell: &Cell| match known {
        Some((window, start)) if window == cell.window => start,
        _ => {
            let start = plan.windows.start(cell.window);
            known = Some((cell.window, start));
            start
        }
    };
    cells.iter().map(start).collect()
}

fn answer(
    plan: &Plan,
    figures: &Figures,
    cells: &[Cell],
    starts: &[i64],
    columns: Vec<Column>,
    rows: &[u32],
    options: &QueryOptions,
) -> Result<Answer> {
    if rows.len() > options.answer_rows_max {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let time = |at: &u32| match plan.windows {
        Windows::Whole => plan.start,
        _ => Some(starts[*at as usize]),
    };
    let times: TimestampNanosecondArray = rows.iter().map(time).collect();
    let mut fields = vec![Field::new("time", time_type(), true)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    for (place, tag) in plan.group.iter().enumerate() {
        fields.push(Field::new(tag.name.as_str(), DataType::Utf8, true));
        let values = rows
            .iter()
            .map(|at| figures.groups[cells[*at as usize].group as usize][place].as_deref());
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
    let stats = Stats {
        rows_scanned: Some(figures.rows),
        series: Some(figures.series),
        ..Stats::default()
    };
    Ok(Answer { schema, batches: vec![batch], stats })
}
