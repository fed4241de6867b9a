//! Rows of one table under construction, column by column, with the checks every decoder needs:
//! names, duplicate fields, sizes. Which field comes next is predicted from the row before.

mod budget;
mod columns;
mod fields;
mod known;
mod series_index;
mod tags;

pub(crate) use budget::CellBudget;
pub(crate) use known::{KnownSeries, TagNames};
pub(crate) use tags::too_many_tags;

use crate::{CELL_BYTES_MAX, Fault, excerpt};
use budget::CellShare;
use columns::Column;
use hashbrown::HashMap;
use oribi_model::{Name, Points, RejectReason, name::TIME_COLUMN};
use series_index::SeriesIndex;
use std::ops::Range;
use tags::TagCells;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Of a row: its time, series and origin.
const ROW_BYTES: usize = 16;
/// Of a cell, null or not: its value and whether it is there.
const CELL_BYTES: usize = 9;

/// The place of a field in a [`PointsBuilder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRef(usize);

/// What to do with the second of two values for one field of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// The later one stands.
    Replace,
    /// The row is refused.
    Refuse,
}

/// Collects rows of one table.
///
/// A row is its fields, then [`PointsBuilder::end_row`] or [`PointsBuilder::abandon_row`].
#[derive(Debug)]
pub struct PointsBuilder {
    db: Name,
    table: Name,
    series: SeriesIndex,
    row_series: Vec<u32>,
    times: Vec<i64>,
    origins: Vec<u32>,
    columns: Vec<Column>,
    by_name: HashMap<Box<str>, usize, Xxh3DefaultBuilder>,
    /// Where the next field is expected.
    next: usize,
    /// Where the fields begin that were taken up to there, one after the other, for the present row.
    run_start: usize,
    /// The places of those that were taken before.
    runs: Vec<Range<usize>>,
    /// Number of the present row among all that were begun, from 1.
    stamp: u32,
    /// Cells of the present row that wait for its end, since a text is set only once.
    texts: Vec<(usize, String)>,
    tags: TagCells,
    cells: CellShare,
    bytes: usize,
}

impl PointsBuilder {
    /// An empty builder of a batch of its own.
    pub fn new(db: Name, table: Name) -> PointsBuilder {
        PointsBuilder::within(&CellBudget::default(), db, table)
    }

    /// An empty builder of a batch.
    pub(crate) fn within(budget: &CellBudget, db: Name, table: Name) -> PointsBuilder {
        PointsBuilder {
            db,
            table,
            series: SeriesIndex::default(),
            row_series: Vec::new(),
            times: Vec::new(),
            origins: Vec::new(),
            columns: Vec::new(),
            by_name: HashMap::default(),
            next: 0,
            run_start: 0,
            runs: Vec::new(),
            stamp: 1,
            texts: Vec::new(),
            tags: TagCells::default(),
            cells: budget.share(),
            bytes: 0,
        }
    }

    /// Number of finished rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Bytes that the rows hold, or will once they are finished, when every field has a cell in
    /// each of them: for bounds on a batch.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The database and the table.
    pub fn names(&self) -> (&Name, &Name) {
        (&self.db, &self.table)
    }

    /// The origin of the row that was finished last.
    #[inline]
    pub fn last_origin(&self) -> Option<u32> {
        self.origins.last().copied()
    }

    /// Whether another row of this table keeps the batch within the bound on cells.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.cells.covers((self.times.len() + 1).saturating_mul(self.columns.len().max(1)))
    }

    /// Finishes the row under construction; `time` is ns since the Unix epoch.
    #[inline]
    pub fn end_row(&mut self, series: u32, time: i64, origin: u32) {
        debug_assert!((series as usize) < self.series.len(), "a row's series was made before");
        if !self.texts.is_empty() {
            for (at, value) in std::mem::take(&mut self.texts) {
                self.set_text(FieldRef(at), &value);
            }
        }
        self.bytes += ROW_BYTES + self.columns.len() * CELL_BYTES;
        self.row_series.push(series);
        self.times.push(time);
        self.origins.push(origin);
        self.begin_row();
    }

    /// Forgets the fields that were taken for the row under construction, by name or as expected.
    pub fn abandon_row(&mut self) {
        self.texts.clear();
        let rows = self.times.len();
        // The others may be a thousand, and such rows a million.
        self.jump(0);
        for run in std::mem::take(&mut self.runs) {
            self.columns[run].iter_mut().for_each(|column| column.forget(rows));
        }
        self.begin_row();
    }

    /// Has the field at this place taken next.
    #[inline]
    fn jump(&mut self, at: usize) {
        if at != self.next {
            self.runs.push(self.run_start..self.next);
            (self.next, self.run_start) = (at, at);
        }
    }

    fn begin_row(&mut self) {
        self.tags.clear();
        self.runs.clear();
        (self.next, self.run_start) = (0, 0);
        self.stamp += 1;
    }

    /// The rows. Fields without any cell are left out.
    pub fn finish(self) -> Points {
        let rows = self.times.len();
        let fields = self.columns.into_iter().map(|column| column.finish(rows));
        let (tags, series) = self.series.finish();
        Points {
            db: self.db,
            table: self.table,
            tags,
            series,
            row_series: self.row_series,
            times: self.times,
            origins: self.origins,
            fields: fields
                .filter(|field| !field.odd.is_empty() || field.values.null_count() < rows)
                .collect(),
            cursor: None,
        }
    }
}

/// The fault of a row for which the batch has no room.
pub(crate) fn no_room() -> Fault {
    let detail = "too many rows times fields in one batch; send smaller ones";
    Fault::new(RejectReason::Limit, detail)
}

fn check_cell(value: &str) -> Result<(), Fault> {
    if value.len() > CELL_BYTES_MAX {
        let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", value.len());
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}

fn check_name(name: &str, kind: &str) -> Result<(), Fault> {
    if name == TIME_COLUMN {
        let detail = format!("a {kind} cannot be named `time`");
        return Err(Fault::new(RejectReason::Name, detail));
    }
    Name::check(name).map_err(|wrong| Fault::new(RejectReason::Name, wrong.to_string()))
}

fn check_tag(name: &str, value: &str) -> Result<(), Fault> {
    check_name(name, "tag")?;
    if let Some(control) = value.chars().find(|c| c.is_control()) {
        let name = excerpt(name, 64);
        let detail = format!("the value of tag {name:?} holds the control character {control:?}");
        return Err(Fault::syntax(detail));
    }
    check_cell(value)
}

#[cfg(test)]
mod tests;
