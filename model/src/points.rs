//! Rows as a decoder saw them: tables, tags and fields by name, types as written.
//!
//! A decoder fills a [`PointsBuilder`]; the write path checks the [`Points`] against the schema
//! and turns them into [`crate::RowBatch`]es.

use crate::{ColumnType, ColumnValues, Cursor, Name, Value};
use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Why a row was not stored, in a form that programs can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The text is not what its format allows.
    Syntax,
    /// A field has another type than the column.
    TypeConflict,
    /// A field is named like a tag, or a tag like a field.
    KindConflict,
    /// A name that the rules refuse.
    Name,
    /// A time that is no time, lies too far ahead, or beyond the table's retention.
    Time,
    /// A number that cannot be kept exactly or at all.
    Number,
    /// A limit of size or count.
    Limit,
    /// A payload that contradicts its topic.
    TopicConflict,
}

impl RejectReason {
    /// The reason as a stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::Syntax => "syntax",
            RejectReason::TypeConflict => "type_conflict",
            RejectReason::KindConflict => "kind_conflict",
            RejectReason::Name => "name",
            RejectReason::Time => "time",
            RejectReason::Number => "number",
            RejectReason::Limit => "limit",
            RejectReason::TopicConflict => "topic_conflict",
        }
    }
}

/// One row that was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which row: the number its decoder gave it (line, array element or message).
    pub origin: u32,
    /// The kind of reason.
    pub reason: RejectReason,
    /// What was wrong and what was expected, for a person.
    pub detail: String,
}

/// The values of one tag over the distinct series of a batch; empty means absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagColumn {
    /// The tag's name.
    pub name: String,
    bytes: Vec<u8>,
    /// End of each series' value in `bytes`.
    ends: Vec<u32>,
}

impl TagColumn {
    /// The value for series `at`; empty where the series lacks the tag.
    pub fn value(&self, at: usize) -> &[u8] {
        let Some(end) = self.ends.get(at) else { return &[] };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    fn set(&mut self, series: usize, value: &str) {
        self.ends.resize(series, self.bytes.len() as u32);
        self.bytes.extend_from_slice(value.as_bytes());
        self.ends.push(u32::try_from(self.bytes.len()).expect("a batch's tags fit into 4 GiB"));
    }
}

/// The values of one field over the rows of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldColumn {
    /// The field's name.
    pub name: String,
    /// The cells that have the type of the first one seen; the others are null here.
    pub values: ColumnValues,
    /// Cells of other types as (row, value), by ascending row: the write path, which knows the
    /// column's type, decides which of them stand.
    pub odd: Vec<(u32, Value)>,
}

/// Rows of one table as decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// The database.
    pub db: Name,
    /// The table.
    pub table: Name,
    /// Tag values of the distinct series.
    pub tags: Vec<TagColumn>,
    /// Number of distinct series.
    pub series_count: usize,
    /// For each row its series, below `series_count`.
    pub row_series: Vec<u32>,
    /// For each row its event time, ns since the Unix epoch.
    pub times: Vec<i64>,
    /// For each row the number its decoder gave it.
    pub origins: Vec<u32>,
    /// Fields in the order in which they appeared.
    pub fields: Vec<FieldColumn>,
    /// Where the rows came from, if the source can be read again.
    pub cursor: Option<Cursor>,
}

impl Points {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }
}

/// Cells of one type under construction. Rows between two cells are null.
#[derive(Debug, Default)]
struct Cells<T> {
    values: Vec<T>,
    /// One bit a row; built only once a null shows up.
    present: Option<Vec<bool>>,
}

impl<T: Default + Clone> Cells<T> {
    /// Puts `value` at `row`, after nulls for the rows since the last cell. A second value for
    /// one row replaces the first.
    fn set(&mut self, row: usize, value: T) {
        if row < self.values.len() {
            self.values[row] = value;
            if let Some(present) = &mut self.present {
                present[row] = true;
            }
            return;
        }
        self.pad(row);
        self.values.push(value);
        if let Some(present) = &mut self.present {
            present.push(true);
        }
    }

    fn pad(&mut self, rows: usize) {
        if self.values.len() >= rows {
            return;
        }
        let filled = self.values.len();
        self.present.get_or_insert_with(|| vec![true; filled]).resize(rows, false);
        self.values.resize(rows, T::default());
    }

    fn clear_last(&mut self, rows: usize) {
        self.values.truncate(rows);
        if let Some(present) = &mut self.present {
            present.truncate(rows);
        }
    }

    fn finish(mut self, rows: usize) -> (Vec<T>, Option<NullBuffer>) {
        self.pad(rows);
        (self.values, self.present.map(NullBuffer::from))
    }
}

#[derive(Debug)]
enum FieldCells {
    Int(Cells<i64>),
    Float(Cells<f64>),
    Bool(Cells<bool>),
    /// Ends of the texts in the shared buffer.
    Text(Cells<u32>, Vec<u8>),
}

#[derive(Debug)]
struct FieldBuilder {
    name: String,
    cells: FieldCells,
    odd: Vec<(u32, Value)>,
}

impl FieldBuilder {
    fn finish(self, rows: usize) -> FieldColumn {
        let values = match self.cells {
            FieldCells::Int(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Int(Int64Array::new(values.into(), nulls))
            }
            FieldCells::Float(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Float(Float64Array::new(values.into(), nulls))
            }
            FieldCells::Bool(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Bool(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            FieldCells::Text(cells, bytes) => finish_text(cells, bytes, rows),
        };
        FieldColumn { name: self.name, values, odd: self.odd }
    }
}

fn finish_text(cells: Cells<u32>, bytes: Vec<u8>, rows: usize) -> ColumnValues {
    let (ends, nulls) = cells.finish(rows);
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0i32);
    let mut last = 0i32;
    for (row, end) in ends.iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            last = i32::try_from(*end).expect("a batch's texts fit into 2 GiB");
        }
        offsets.push(last);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ColumnValues::Text(StringArray::new(offsets, Buffer::from_vec(bytes), nulls))
}

/// The place of a field in a [`PointsBuilder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRef(usize);

/// The distinct series of a batch, numbered as they appeared.
#[derive(Debug, Default)]
struct SeriesIndex {
    places: HashTable<u32>,
    keys: Vec<Box<[u8]>>,
    /// The key that was looked for last.
    sought: Vec<u8>,
}

impl SeriesIndex {
    fn find<'t>(&mut self, tags: impl Iterator<Item = (&'t str, &'t str)> + Clone) -> Option<u32> {
        let key = &mut self.sought;
        key.clear();
        let mut put = |(name, value): (&str, &str)| {
            for part in [name, value] {
                key.extend_from_slice(&(part.len() as u32).to_le_bytes());
                key.extend_from_slice(part.as_bytes());
            }
        };
        let present = tags.filter(|(_, value)| !value.is_empty());
        if present.clone().is_sorted() {
            present.for_each(&mut put);
        } else {
            let mut sorted: Vec<_> = present.collect();
            sorted.sort_unstable();
            sorted.into_iter().for_each(&mut put);
        }
        let keys = &self.keys;
        let same = |place: &u32| *keys[*place as usize] == **key;
        self.places.find(xxh3_64(key), same).copied()
    }

    /// Numbers the key that was looked for last and not found.
    fn add_sought(&mut self) -> u32 {
        let next = self.keys.len() as u32;
        self.keys.push(self.sought.as_slice().into());
        let keys = &self.keys;
        let hash = |place: &u32| xxh3_64(&keys[*place as usize]);
        self.places.insert_unique(xxh3_64(&self.sought), next, hash);
        next
    }
}

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
        self.bytes += self.series.sought.len();
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
        debug_assert!((series as usize) < self.series.keys.len(), "a row's series was made before");
        self.bytes += 16;
        self.row_series.push(series);
        self.times.push(time);
        self.origins.push(origin);
    }

    /// Forgets the cells set since the last finished row.
    pub fn abandon_row(&mut self) {
        let rows = self.times.len();
        for field in &mut self.fields {
            match &mut field.cells {
                FieldCells::Int(cells) => cells.clear_last(rows),
                FieldCells::Float(cells) => cells.clear_last(rows),
                FieldCells::Bool(cells) => cells.clear_last(rows),
                FieldCells::Text(cells, bytes) => {
                    cells.clear_last(rows);
                    let kept =
                        cells.values.iter().rev().copied().find(|end| *end != 0).unwrap_or(0);
                    bytes.truncate(kept as usize);
                }
            }
            while field.odd.last().is_some_and(|(row, _)| *row as usize >= rows) {
                field.odd.pop();
            }
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
            series_count: self.series.keys.len(),
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
