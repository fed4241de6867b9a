//! Building points column by column.

use super::{
    Points,
    cells::{Cells, FieldBuilder, FieldCells},
    series_index::SeriesIndex,
};
use crate::{ColumnType, Name, Value};
use hashbrown::HashMap;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Of a row: its time, series and origin.
const ROW_BYTES: usize = 16;
/// Of a cell, null or not: its value and whether it is there.
const CELL_BYTES: usize = 9;

/// The place of a field in a [`PointsBuilder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRef(usize);

/// Collects rows of one table, column by column.
///
/// A row is its fields, then [`PointsBuilder::end_row`] or
/// [`PointsBuilder::abandon_row`]. Text of one row's field is set at most once.
#[derive(Debug)]
pub struct PointsBuilder {
    db: Name,
    table: Name,
    series: SeriesIndex,
    row_series: Vec<u32>,
    times: Vec<i64>,
    origins: Vec<u32>,
    fields: Vec<FieldBuilder>,
    by_name: HashMap<Box<str>, usize, Xxh3DefaultBuilder>,
    bytes: usize,
}

impl PointsBuilder {
    /// An empty builder for one table.
    pub fn new(db: Name, table: Name) -> PointsBuilder {
        PointsBuilder {
            db,
            table,
            series: SeriesIndex::default(),
            row_series: Vec::new(),
            times: Vec::new(),
            origins: Vec::new(),
            fields: Vec::new(),
            by_name: HashMap::default(),
            bytes: 0,
        }
    }

    /// Number of finished rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Bytes that the rows hold, or will once they are finished, when every field has a cell in
    /// each of them: for bounds on a batch.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the series with these tags, which need not be sorted; each name stands once.
    /// Empty values count as absent.
    pub fn series<'t>(&mut self, tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> u32 {
        let held = self.series.bytes();
        let series = self.series.find_or_add(tags);
        self.bytes += self.series.bytes() - held;
        series
    }

    /// The number of the series with these tags, if some row had them before.
    pub fn find_series<'t>(
        &mut self,
        tags: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Option<u32> {
        self.series.find(tags)
    }

    /// Number of distinct tag names.
    pub fn tag_count(&self) -> usize {
        self.series.names().len()
    }

    /// Whether some series has a tag of this name.
    pub fn has_tag(&self, name: &str) -> bool {
        self.series.has_name(name)
    }

    /// The field of this name whose first cell has this type, made where it is new.
    pub fn field(&mut self, name: &str, column_type: ColumnType) -> FieldRef {
        if let Some(at) = self.by_name.get(name) {
            return FieldRef(*at);
        }
        let cells = match column_type {
            ColumnType::Int => FieldCells::Int(Cells::default()),
            ColumnType::Float => FieldCells::Float(Cells::default()),
            ColumnType::Bool => FieldCells::Bool(Cells::default()),
            ColumnType::Text => FieldCells::Text(Cells::default(), Vec::new()),
        };
        self.bytes += self.times.len() * CELL_BYTES + 2 * name.len() + size_of::<FieldBuilder>();
        self.by_name.insert(name.into(), self.fields.len());
        self.fields.push(FieldBuilder { name: name.to_owned(), cells, odd: Vec::new() });
        FieldRef(self.fields.len() - 1)
    }

    /// The name of a field.
    pub fn field_name(&self, field: FieldRef) -> &str {
        &self.fields[field.0].name
    }

    /// The field at this place in order of appearance, if there are so many.
    pub fn field_at(&self, at: usize) -> Option<FieldRef> {
        (at < self.fields.len()).then_some(FieldRef(at))
    }

    /// Sets an integer cell of the row under construction.
    pub fn set_int(&mut self, field: FieldRef, value: i64) {
        let row = self.times.len();
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Int(cells) => cells.set(row, value),
            _ => field.odd.push((row as u32, Value::Int(value))),
        }
    }

    /// Sets a float cell of the row under construction; `value` is finite.
    pub fn set_float(&mut self, field: FieldRef, value: f64) {
        debug_assert!(value.is_finite(), "decoders refuse NaN and infinity");
        let row = self.times.len();
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Float(cells) => cells.set(row, value),
            _ => field.odd.push((row as u32, Value::Float(value))),
        }
    }

    /// Sets a boolean cell of the row under construction.
    pub fn set_bool(&mut self, field: FieldRef, value: bool) {
        let row = self.times.len();
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Bool(cells) => cells.set(row, value),
            _ => field.odd.push((row as u32, Value::Bool(value))),
        }
    }

    /// Sets a text cell of the row under construction.
    pub fn set_text(&mut self, field: FieldRef, value: &str) {
        let row = self.times.len();
        self.bytes += value.len();
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Text(cells, bytes) => {
                bytes.extend_from_slice(value.as_bytes());
                cells.set(row, bytes.len() as u32);
            }
            _ => field.odd.push((row as u32, Value::Text(value.to_owned()))),
        }
    }

    /// Sets a cell of the row under construction.
    pub fn set(&mut self, field: FieldRef, value: &Value) {
        match value {
            Value::Int(value) => self.set_int(field, *value),
            Value::Float(value) => self.set_float(field, *value),
            Value::Bool(value) => self.set_bool(field, *value),
            Value::Text(value) => self.set_text(field, value),
        }
    }

    /// Finishes the row under construction.
    pub fn end_row(&mut self, series: u32, time: i64, origin: u32) {
        debug_assert!((series as usize) < self.series.len(), "a row's series was made before");
        self.bytes += ROW_BYTES + self.fields.len() * CELL_BYTES;
        self.row_series.push(series);
        self.times.push(time);
        self.origins.push(origin);
    }

    /// Forgets the cells set since the last finished row.
    pub fn abandon_row(&mut self) {
        (0..self.fields.len()).for_each(|at| self.forget_cell(FieldRef(at)));
    }

    /// Forgets what was set of a field since the last finished row.
    pub fn forget_cell(&mut self, field: FieldRef) {
        let rows = self.times.len();
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Int(cells) => cells.clear_last(rows),
            FieldCells::Float(cells) => cells.clear_last(rows),
            FieldCells::Bool(cells) => cells.clear_last(rows),
            FieldCells::Text(cells, bytes) => {
                cells.clear_last(rows);
                let kept = cells.values.iter().rev().copied().find(|end| *end != 0).unwrap_or(0);
                bytes.truncate(kept as usize);
            }
        }
        while field.odd.last().is_some_and(|(row, _)| *row as usize >= rows) {
            field.odd.pop();
        }
    }

    /// The rows. Fields without any cell are left out.
    pub fn finish(self) -> Points {
        let rows = self.times.len();
        let fields = self.fields.into_iter().map(|field| field.finish(rows));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> PointsBuilder {
        PointsBuilder::new(Name::new("default").unwrap(), Name::new("m").unwrap())
    }

    #[test]
    fn rows_with_gaps_odd_cells_and_abandoned_rows() {
        let mut b = builder();
        let north = b.series([("site", "north"), ("rack", "")]);
        let south = b.series([("rack", "7"), ("site", "south")]);
        assert_eq!(b.series([("site", "north")]), north);

        let v = b.field("v", ColumnType::Int);
        b.set_int(v, 1);
        b.end_row(north, 10, 1);

        let note = b.field("note", ColumnType::Text);
        b.set_text(note, "lost");
        b.set_int(v, 9);
        b.abandon_row();

        b.set_text(note, "ä");
        b.set_float(v, 2.5);
        b.end_row(south, 20, 3);
        b.set_int(v, 3);
        b.end_row(south, 30, 4);

        let points = b.finish();
        assert_eq!((points.rows(), points.series.len()), (3, 2));
        assert_eq!(points.origins, [1, 3, 4]);
        let values = &points.fields[0].values;
        assert_eq!(
            (0..3).map(|row| values.get(row)).collect::<Vec<_>>(),
            [Some(Value::Int(1)), None, Some(Value::Int(3))]
        );
        assert_eq!(points.fields[0].odd, [(1, Value::Float(2.5))]);
        assert_eq!(points.fields[1].values.get(1), Some(Value::Text("ä".into())));
        assert!(points.fields[1].values.is_null(0) && points.fields[1].values.is_null(2));
        let tags = |series| points.tags_of(series).collect::<Vec<_>>();
        assert_eq!(tags(0), [("site", "north")]);
        assert_eq!(tags(1), [("site", "south"), ("rack", "7")]);
    }

    /// Each line of a batch may bring a tag of its own; what is held then grows with the lines,
    /// not with lines times tags.
    #[test]
    fn tags_cost_what_is_written_of_them() {
        let held = |count: usize| {
            let mut b = builder();
            for at in 0..count {
                let series = b.series([(format!("tag{at}").as_str(), "x")]);
                b.end_row(series, at as i64, at as u32);
            }
            b.finish().bytes_held()
        };
        let (small, large) = (held(500), held(8_000));
        assert!(large < 20 * small, "{small} B for 500 tags, {large} B for 8,000");
    }
}
