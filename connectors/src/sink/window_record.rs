//! Windows as records.

use super::{
    avro::Datum,
    record::{Form, json_value, line_field, line_head, member, moment, readable_key, text},
};
use crate::connector::RecordFormat;
use oribi_model::{Table, WindowQuestion, WindowRow};
use xxhash_rust::xxh3::xxh3_128;

/// The group in readable form.
pub(super) fn key(row: &WindowRow) -> String {
    readable_key(tags(row))
}

/// Writes a window.
pub(super) fn write(
    table: &Table,
    form: &Form,
    question: &WindowQuestion,
    row: &WindowRow,
    revision: u64,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&form.prefix);
    match form.format {
        RecordFormat::Json => json(table, question, row, revision, out),
        RecordFormat::LineProtocol => line(table, row, out),
        RecordFormat::Avro => Datum {
            id: id(table, question, row),
            db: &question.db,
            table: &question.table,
            time: row.start,
            window: Some((&question.window, revision)),
            tags: row.tags.iter().map(|(name, value)| (&**name, &**value)),
            fields: row.fields.iter().map(|(name, value)| (&**name, value)),
        }
        .write(out),
    }
}

fn tags(row: &WindowRow) -> impl Iterator<Item = (&str, &str)> {
    row.tags.iter().map(|(name, value)| (&**name, &**value))
}

/// The same for a window and group of one question however often it is sent.
fn id(table: &Table, question: &WindowQuestion, row: &WindowRow) -> u128 {
    let mut bytes = table.id.0.to_le_bytes().to_vec();
    let timezone = question.timezone.as_deref().unwrap_or_default();
    for text in [&*question.window, timezone, &*question.select] {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0xff);
    }
    bytes.extend_from_slice(&row.start.to_le_bytes());
    for (name, value) in tags(row) {
        for part in [name, value] {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0xff);
        }
    }
    xxh3_128(&bytes)
}

fn json(
    table: &Table,
    question: &WindowQuestion,
    row: &WindowRow,
    revision: u64,
    out: &mut Vec<u8>,
) {
    let id = id(table, question, row);
    out.extend_from_slice(format!("{{\"id\":\"{id:032x}\"").as_bytes());
    let texts = [("db", &*question.db), ("table", &*question.table), ("window", &question.window)];
    for (name, value) in texts.into_iter().chain([("time", &*moment(row.start))]) {
        member(out, 1, name);
        text(out, value);
    }
    out.extend_from_slice(format!(",\"revision\":{revision},\"tags\":{{").as_bytes());
    for (at, (name, value)) in tags(row).enumerate() {
        member(out, at, name);
        text(out, value);
    }
    out.extend_from_slice(b"},\"fields\":{");
    for (at, (name, value)) in row.fields.iter().enumerate() {
        member(out, at, name);
        json_value(out, value);
    }
    out.extend_from_slice(b"}}");
}

fn line(table: &Table, row: &WindowRow, out: &mut Vec<u8>) {
    line_head(out, &table.name, tags(row));
    for (at, (name, value)) in row.fields.iter().enumerate() {
        out.push(if at == 0 { b' ' } else { b',' });
        line_field(out, name, value);
    }
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(row.start).as_bytes());
}
