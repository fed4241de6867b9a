//! From figures to rows: empty windows, order, limit, columns.

mod cell;
mod cells;
mod column;

use crate::{
    Error, QueryOptions, Result,
    answer::Stats,
    figures::{GroupKey, Settled},
    plan::Plan,
    question::Fill,
    relation::time_type,
    target::Out,
    watch::Watch,
    windows::Windows,
};
use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use cell::Cell;
use cells::{Groups, found, grid, order, with_values};
use column::Column;
use std::sync::Arc;

/// Rows that are made at once.
const ROWS_AT_ONCE: usize = 8_192;

/// The rows of an answer before they are written.
pub(crate) struct Finished<'a> {
    plan: &'a Plan,
    groups: Vec<GroupKey>,
    cells: Vec<Cell>,
    columns: Vec<Column>,
    /// Places of the cells in the order of the answer.
    rows: Vec<u32>,
    stats: Stats,
}

/// Windows of which all was read, from the end that the order wants.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The oldest.
    pub(crate) first: i64,
    /// The newest.
    pub(crate) last: i64,
    /// Groups that have a value in some window, here or elsewhere.
    pub(crate) groups: Vec<GroupKey>,
}

/// Turns the figures of a plan into its answer.
pub(crate) fn finish<'a>(
    plan: &'a Plan,
    figures: Settled,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Finished<'a>> {
    let all = finish_part(plan, figures, None, options, watch)?;
    all.ok_or_else(|| Error::Internal { detail: "all rows do not tell the answer".into() })
}

/// Turns the figures of a part into the answer of all; `None` where it does not tell that, as what
/// windows are filled from may lie elsewhere.
pub(crate) fn finish_part<'a>(
    plan: &'a Plan,
    mut figures: Settled,
    part: Option<Part>,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Option<Finished<'a>>> {
    let bounds = part.as_ref().map(|part| (part.first, part.last));
    let live = part.map_or_else(Vec::new, |part| figures.with_groups(part.groups));
    let groups = Groups::of(&figures);
    let mut cells = found(&figures, &groups);
    watch.grow(cells.len() * (size_of::<Cell>() + 24 * (1 + plan.items.len())))?;
    let columns = plan.items.iter().map(|item| Column::of(plan, item, &mut figures, &cells));
    let mut columns: Vec<Column> = columns.collect::<Result<_>>()?;
    cells = with_values(cells, &mut columns);
    let mut width = 0;
    if plan.fill != Fill::None {
        (cells, width) = grid(plan, &cells, &groups, (bounds, &live), options)?;
        watch.grow(cells.len() * (size_of::<Cell>() + 24 * (1 + plan.items.len())))?;
        let places: Vec<u32> = cells.iter().map(|cell| cell.place).collect();
        columns.iter_mut().for_each(|column| column.pick(&places));
    }
    if bounds.is_some() && !columns.iter().all(|column| column.is_told(plan, width)) {
        return Ok(None);
    }
    if width > 0 {
        columns.iter_mut().for_each(|column| column.fill(plan.fill, width, &cells));
    }
    let rows = order(plan, &cells);
    if rows.len() > options.answer_rows_max {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let stats = Stats {
        rows_scanned: Some(figures.rows),
        series: Some(figures.series),
        tablets: Some(figures.tablets),
        ..Stats::default()
    };
    Ok(Some(Finished { plan, groups: figures.groups, cells, columns, rows, stats }))
}

impl Finished<'_> {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// What the answer cost so far.
    pub(crate) fn stats(&self) -> Stats {
        self.stats
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
            _ => Some(self.cells[*at as usize].window.start),
        };
        let times: TimestampNanosecondArray = rows.iter().map(time).collect();
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
        for place in 0..self.plan.group.len() {
            let group = |at: &u32| self.cells[*at as usize].group as usize;
            let values = rows.iter().map(|at| self.groups[group(at)][place].as_deref());
            arrays.push(Arc::new(values.collect::<StringArray>()));
        }
        arrays.extend(self.columns.iter().map(|column| column.array(rows)));
        arrays
    }
}
