//! From figures to rows: empty windows, order, limit, columns.

mod cells;
mod column;
mod values;

use crate::{
    Error, QueryOptions, Result,
    answer::Stats,
    operator::Figures,
    plan::{Fill, Plan},
    relation::time_type,
    target::Out,
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

/// Rows that are made at once.
const ROWS_AT_ONCE: usize = 8_192;

/// The rows of an answer before they are written.
pub(crate) struct Finished<'a> {
    plan: &'a Plan,
    figures: Figures,
    cells: Vec<Cell>,
    starts: Vec<i64>,
    columns: Vec<Column>,
    /// Places of the cells in the order of the answer.
    rows: Vec<u32>,
    tablets: u64,
}

/// Turns the figures of a plan, from so many tablets, into its answer.
pub(crate) fn finish<'a>(
    plan: &'a Plan,
    mut figures: Figures,
    tablets: u64,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Finished<'a>> {
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
    if rows.len() > options.answer_rows_max {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    figures.forget_lanes();
    Ok(Finished { plan, figures, cells, starts, columns, rows, tablets })
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

impl Finished<'_> {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// What the answer cost so far.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            rows_scanned: Some(self.figures.rows),
            series: Some(self.figures.series),
            tablets: Some(self.tablets),
            ..Stats::default()
        }
    }

    /// Writes the rows, a few at a time.
    pub(crate) fn write(&self, out: &mut Out<'_>) -> Result<()> {
        let schema = Arc::new(Schema::new(self.fields()));
        out.begin(&schema)?;
        for rows in self.rows.chunks(ROWS_AT_ONCE) {
            let with_rows = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let arrays = self.arrays(rows);
            let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &with_rows)
                .map_err(|error| Error::Internal { detail: error.to_string() })?;
            out.rows(batch)?;
        }
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        let tags = self.plan.group.iter().map(|tag| (tag.name.as_str(), DataType::Utf8));
        let items = self.plan.items.iter().zip(&self.columns);
        let items = items.map(|(item, column)| (item.name.as_str(), column.data_type()));
        let all = [("time", time_type())].into_iter().chain(tags).chain(items);
        all.map(|(name, data_type)| Field::new(name, data_type, true)).collect()
    }

    fn arrays(&self, rows: &[u32]) -> Vec<ArrayRef> {
        let time = |at: &u32| match self.plan.windows {
            Windows::Whole => self.plan.start,
            _ => Some(self.starts[*at as usize]),
        };
        let times: TimestampNanosecondArray = rows.iter().map(time).collect();
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
        for place in 0..self.plan.group.len() {
            let group = |at: &u32| self.cells[*at as usize].group as usize;
            let values = rows.iter().map(|at| self.figures.groups[group(at)][place].as_deref());
            arrays.push(Arc::new(values.collect::<StringArray>()));
        }
        arrays.extend(self.columns.iter().map(|column| column.array(rows)));
        arrays
    }
}
