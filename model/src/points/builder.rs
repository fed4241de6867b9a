//! Building points column by column.

use super::{
    Points, TagColumn,
    cells::{Cells, FieldBuilder, FieldCells},
    series_index::SeriesIndex,
};
use crate::{ColumnType, Name, Value};

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
    tags: Vec<TagColumn>,
    series: SeriesIndex,
    row_series: Vec<u32>,
    times: Vec<i64>,
    origins: Vec<u32>,
    fields: Vec<FieldBuilder>,
    bytes: usize,
}

impl PointsBuilder {
    /// An empty builder for one table.
    pub fn new(db: Name, table: Name) -> PointsBuilder {
        PointsBuilder {
            db,
            table,
            tags: Vec::new(),
            series: SeriesIndex::default(),
            row_series: Vec::new(),
            times: Vec::new(),
            origins: Vec::new(),
            fields: Vec::new(),
            bytes: 0,
        }
    }

    /// Number of finished rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Bytes of cells and tags held, roughly: for bounds on a batch.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the series with these tags, which need not be sorted; each name stands once.
    /// Empty values count as absent.
    pub fn series(&mut self, tags: &[(&str, &str)]) -> u32 {
        if let Some(known) = self.find_series(tags.iter().copied()) {
            return known;
        }
        let next = self.series.add_sought();
        self.bytes += self.series.sought_bytes();
        let mut present: Vec<_> = tags.iter().filter(|(_, value)| !value.is_empty()).collect();
        present.sort_unstable();
        for (name, value) in present {
            self.tag_column(name).set(next as usize, value);
        }
        next
    }

    /// The number of the series with these tags, if some row had them before.
    pub fn find_series<'t>(
        &mut self,
        tags: impl Iterator<Item = (&'t str, &'t str)> + Clone,
    ) -> Option<u32> {
        self.series.find(tags)
    }

    fn tag_column(&mut self, name: &str) -> &mut TagColumn {
        let at = match self.tags.iter().position(|tag| tag.name == *name) {
            Some(at) => at,
            None => {
                self.tags.push(TagColumn {
                    name: name.to_owned(),
                    bytes: Vec::new(),
                    ends: Vec::new(),
                });
                self.tags.len() - 1
            }
        };
        &mut self.tags[at]
    }

    /// The field of this name whose first cell has this type, made where it is new.
    pub fn field(&mut self, name: &str, column_type: ColumnType) -> FieldRef {
        if let Some(at) = self.fields.iter().position(|field| field.name == name) {
            return FieldRef(at);
        }
        let cells = match column_type {
            ColumnType::Int => FieldCells::Int(Cells::default()),
            ColumnType::Float => FieldCells::Float(Cells::default()),
            ColumnType::Bool => FieldCells::Bool(Cells::default()),
            ColumnType::Text => FieldCells::Text(Cells::default(), Vec::new()),
        };
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
        self.bytes += size_of::<i64>();
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
        self.bytes += size_of::<f64>();
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Float(cells) => cells.set(row, value),
            _ => field.odd.push((row as u32, Value::Float(value))),
        }
    }

    /// Sets a boolean cell of the row under construction.
    pub fn set_bool(&mut self, field: FieldRef, value: bool) {
        let row = self.times.len();
        self.bytes += 1;
        let field = &mut self.fields[field.0];
        match &mut field.cells {
            FieldCells::Bool(cells) => cells.set(row, value),
            _ => field.odd.push((row as u32, Value::Bool(value))),
        }
    }

    /// Sets a text cell of the row under construction.
    pub fn set_text(&mut self, field: FieldRef, value: &str) {
        let row = self.times.len();
        self.bytes += value.len() + size_of::<u32>();
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
        self.bytes += 16;
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
        Points {
            db: self.db,
            table: self.table,
            tags: self.tags,
            series_count: self.series.len(),
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
        let north = b.series(&[("site", "north"), ("rack", "")]);
        let south = b.series(&[("rack", "7"), ("site", "south")]);
        assert_eq!(b.series(&[("site", "north")]), north);

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
        assert_eq!((points.rows(), points.series_count), (3, 2));
        assert_eq!(points.origins, [1, 3, 4]);
        let values = &points.fields[0].values;
        assert_eq!(
            (0..3).map(|row| values.get(row)).collect::<Vec<_>>(),
            [Some(Value::Int(1)), None, Some(Value::Int(3))]
        );
        assert_eq!(points.fields[0].odd, [(1, Value::Float(2.5))]);
        assert_eq!(points.fields[1].values.get(1), Some(Value::Text("ä".into())));
        assert!(points.fields[1].values.is_null(0) && points.fields[1].values.is_null(2));
        let site = points.tags.iter().find(|tag| tag.name == "site").unwrap();
        let rack = points.tags.iter().find(|tag| tag.name == "rack").unwrap();
        assert_eq!((site.value(0), site.value(1)), (&b"north"[..], &b"south"[..]));
        assert_eq!((rack.value(0), rack.value(1)), (&b""[..], &b"7"[..]));
    }
}
