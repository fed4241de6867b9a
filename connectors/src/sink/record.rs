//! Rows as records.

use super::avro::Datum;
use crate::connector::RecordFormat;
use oribi_model::{ColumnKind, RowBatch, SeriesKey, Table, Value, name::TIME_COLUMN};
use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_128;

/// Writes the rows of one table.
pub(super) struct Encoder<'a> {
    table: &'a Table,
    form: &'a Form,
}

/// How records of a feed are written.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) format: RecordFormat,
    /// What stands before each record.
    pub(super) prefix: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(table: &'a Table, form: &'a Form) -> Encoder<'a> {
        Encoder { table, form }
    }

    /// Whether the table as known here has every column of the rows.
    pub(super) fn knows(&self, batch: &RowBatch) -> bool {
        let known = |id| self.table.schema.columns.iter().any(|column| column.id == id);
        batch.columns.iter().all(|(id, _)| known(*id))
            && (0..batch.series.len())
                .all(|at| batch.series.key(at).tags().all(|(id, _)| known(id)))
    }

    /// The tags of a series in readable form: `device=d1,site=north`, by name.
    pub(super) fn key(&self, series: &SeriesKey) -> String {
        readable_key(self.tags(series))
    }

    /// Writes a row; `false` where the format has no form for it.
    pub(super) fn row(
        &self,
        batch: &RowBatch,
        row: usize,
        series: &SeriesKey,
        out: &mut Vec<u8>,
    ) -> bool {
        out.extend_from_slice(&self.form.prefix);
        match self.form.format {
            RecordFormat::Json => {
                self.json(batch, row, series, out);
                true
            }
            RecordFormat::LineProtocol => self.line(batch, row, series, out),
            RecordFormat::Avro => {
                let time = batch.times[row];
                let fields: Vec<_> = self.fields(batch, row).collect();
                let (db, table) = (self.table.db.as_str(), self.table.name.as_str());
                let (id, tags) = (self.id(series, time), self.tags(series).into_iter());
                let fields = fields.into_iter();
                Datum { id, db, table, time, window: None, tags, fields }.write(out);
                true
            }
        }
    }

    fn tags<'s>(&'s self, series: &'s SeriesKey) -> Vec<(&'s str, &'s str)> {
        let columns = &self.table.schema.columns;
        let name = |id| columns.iter().find(|column| column.id == id).map(|column| &*column.name);
        let mut tags: Vec<_> =
            series.tags().filter_map(|(id, value)| Some((name(id)?, value))).collect();
        tags.sort_unstable();
        tags
    }

    fn fields<'b>(
        &'b self,
        batch: &'b RowBatch,
        row: usize,
    ) -> impl Iterator<Item = (&'b str, Value)> {
        let fields = self.table.schema.columns.iter();
        let fields = fields.filter(|column| column.kind == ColumnKind::Field);
        fields.filter_map(move |field| {
            let value = batch.column(field.id)?.get(row)?;
            Some((&*field.name, value))
        })
    }

    /// The same for a row however often it is sent.
    fn id(&self, series: &SeriesKey, time: i64) -> u128 {
        let mut bytes = self.table.id.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(series.as_bytes());
        bytes.extend_from_slice(&time.to_le_bytes());
        xxh3_128(&bytes)
    }

    fn json(&self, batch: &RowBatch, row: usize, series: &SeriesKey, out: &mut Vec<u8>) {
        let time = batch.times[row];
        out.extend_from_slice(
            format!("{{\"id\":\"{:032x}\",\"db\":", self.id(series, time)).as_bytes(),
        );
        text(out, &self.table.db);
        out.extend_from_slice(b",\"table\":");
        text(out, &self.table.name);
        out.extend_from_slice(b",\"time\":");
        text(out, &moment(time));
        out.extend_from_slice(b",\"tags\":{");
        for (at, (name, value)) in self.tags(series).into_iter().enumerate() {
            member(out, at, name);
            text(out, value);
        }
        out.extend_from_slice(b"},\"fields\":{");
        for (at, (name, value)) in self.fields(batch, row).enumerate() {
            member(out, at, name);
            json_value(out, &value);
        }
        out.extend_from_slice(b"}}");
    }

    fn line(&self, batch: &RowBatch, row: usize, series: &SeriesKey, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        line_head(out, &self.table.name, self.tags(series));
        let mut is_first = true;
        for (name, value) in self.fields(batch, row) {
            if name == TIME_COLUMN {
                continue;
            }
            out.push(if is_first { b' ' } else { b',' });
            is_first = false;
            line_field(out, name, &value);
        }
        if is_first {
            out.truncate(start);
            return false;
        }
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(batch.times[row]).as_bytes());
        true
    }
}

/// `device=d1,site=north`
pub(super) fn readable_key<'t>(tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> String {
    let mut key = String::new();
    for (name, value) in tags {
        let comma = if key.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(key, "{comma}{name}={value}");
    }
    key
}

/// Table and tags of a line.
pub(super) fn line_head<'t>(
    out: &mut Vec<u8>,
    table: &str,
    tags: impl IntoIterator<Item = (&'t str, &'t str)>,
) {
    escaped(out, table, b", ");
    for (name, value) in tags {
        out.push(b',');
        escaped(out, name, b",= ");
        out.push(b'=');
        escaped(out, value, b",= ");
    }
}

/// A field of a line.
pub(super) fn line_field(out: &mut Vec<u8>, name: &str, value: &Value) {
    escaped(out, name, b",= ");
    out.push(b'=');
    match value {
        Value::Text(value) => {
            out.push(b'"');
            escaped(out, value, b"\"\\");
            out.push(b'"');
        }
        value => {
            json_value(out, value);
            if let Value::Int(_) = value {
                out.push(b'i');
            }
        }
    }
}

pub(super) fn json_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
        Value::Float(value) => {
            out.extend_from_slice(ryu::Buffer::new().format_finite(*value).as_bytes());
        }
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Text(value) => text(out, value),
    }
}

pub(super) fn member(out: &mut Vec<u8>, at: usize, name: &str) {
    if at > 0 {
        out.push(b',');
    }
    text(out, name);
    out.push(b':');
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes every write");
}

fn escaped(out: &mut Vec<u8>, text: &str, special: &[u8]) {
    for byte in text.bytes() {
        if special.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// RFC 3339 in UTC, with as many decimals as needed.
pub(super) fn moment(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::{
        Column, ColumnId, ColumnType, ColumnValues, Ints, Name, Schema, SeriesKeys, TableId,
        TableOptions,
    };

    fn table() -> Table {
        let column = |id, name: &str, kind, column_type| Column {
            id: ColumnId(id),
            name: Name::new(name).unwrap(),
            kind,
            column_type,
            ints: Ints::Exact,
        };
        let columns = vec![
            column(1, "site", ColumnKind::Tag, ColumnType::Text),
            column(2, "device", ColumnKind::Tag, ColumnType::Text),
            column(3, "t", ColumnKind::Field, ColumnType::Float),
            column(4, "note", ColumnKind::Field, ColumnType::Text),
        ];
        Table {
            id: TableId(7),
            db: Name::new("default").unwrap(),
            name: Name::new("my sensors").unwrap(),
            schema: Schema { version: 1, columns },
            options: TableOptions::default(),
        }
    }

    fn batch() -> RowBatch {
        let mut series = SeriesKeys::default();
        let key = SeriesKey::from_tags([(ColumnId(1), "no rth"), (ColumnId(2), "d1")]);
        series.push_bytes(key.as_bytes());
        let t = [Some(21.5), None].into_iter().collect();
        let note = [Some("a \"b\""), None].into_iter().collect();
        RowBatch {
            table: TableId(7),
            schema_version: 1,
            series,
            row_series: vec![0, 0],
            times: vec![1_500_000_000, 2],
            columns: vec![
                (ColumnId(3), ColumnValues::Float(t)),
                (ColumnId(4), ColumnValues::Text(note)),
            ],
            cursor: None,
        }
    }

    #[test]
    fn a_row_is_written_in_each_format() {
        let (table, batch) = (table(), batch());
        let series = batch.series.key(0);
        let written = |format, row| {
            let mut out = Vec::new();
            let form = Form { format, prefix: Vec::new() };
            let is_written = Encoder::new(&table, &form).row(&batch, row, &series, &mut out);
            (is_written, String::from_utf8(out).unwrap())
        };
        let (_, json) = written(RecordFormat::Json, 0);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["id"].as_str().unwrap().len(), 32);
        assert_eq!(json["time"], "1970-01-01T00:00:01.5Z");
        assert_eq!(json["tags"], serde_json::json!({"device": "d1", "site": "no rth"}));
        assert_eq!(json["fields"], serde_json::json!({"t": 21.5, "note": "a \"b\""}));
        let line = "my\\ sensors,device=d1,site=no\\ rth t=21.5,note=\"a \\\"b\\\"\" 1500000000";
        assert_eq!(written(RecordFormat::LineProtocol, 0), (true, line.to_owned()));
        assert_eq!(written(RecordFormat::LineProtocol, 1), (false, String::new()));
        let form = Form { format: RecordFormat::Json, prefix: Vec::new() };
        let encoder = Encoder::new(&table, &form);
        assert_eq!(encoder.key(&series), "device=d1,site=no rth");
        assert!(encoder.knows(&batch));
        assert_ne!(encoder.id(&series, 1), encoder.id(&series, 2));
    }
}
