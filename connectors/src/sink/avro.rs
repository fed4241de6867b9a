//! Records in Avro. All tables have one schema; a reader finds tags and fields by name.

use super::broken;
use crate::{Error, Result, connector::Common};
use oribi_decode::avro::AvroSchema;
use oribi_model::Value;
use tokio::runtime::Handle;

/// `window` and `revision` are null for rows.
const SCHEMA: &str = r#"{"type":"record","name":"Row","namespace":"oribi","fields":[{"name":"id","type":"string"},{"name":"db","type":"string"},{"name":"table","type":"string"},{"name":"time","type":{"type":"long","logicalType":"timestamp-nanos"}},{"name":"window","type":["null","string"],"default":null},{"name":"revision","type":["null","long"],"default":null},{"name":"tags","type":{"type":"map","values":"string"}},{"name":"fields","type":{"type":"map","values":["long","double","boolean","string"]}}]}"#;

/// What stands before each datum of a topic.
///
/// # Errors
/// [`Error::Broker`]: a registry that is away or refuses.
pub(super) fn prefix(common: &Common, topic: &str, runtime: &Handle) -> Result<Vec<u8>> {
    match &common.registry {
        Some(registry) => {
            let registry = registry.open("connector.registry")?;
            let id = runtime.block_on(registry.register(&format!("{topic}-value"), SCHEMA));
            let id = id.map_err(|wrong| broken(&common.url, wrong))?;
            Ok([&[0][..], &id.to_be_bytes()].concat())
        }
        None => {
            let schema = AvroSchema::parse(SCHEMA);
            let schema = schema
                .map_err(|fault| Error::config("connector.feeds", fault.detail.to_string()))?;
            Ok([&[0xc3, 0x01][..], &schema.fingerprint().to_le_bytes()].concat())
        }
    }
}

/// One record.
pub(super) struct Datum<'a, T, F> {
    pub(super) id: u128,
    pub(super) db: &'a str,
    pub(super) table: &'a str,
    pub(super) time: i64,
    /// The length of the window as configured, and the revision.
    pub(super) window: Option<(&'a str, u64)>,
    pub(super) tags: T,
    pub(super) fields: F,
}

impl<'a, T, F, V> Datum<'a, T, F>
where
    T: ExactSizeIterator<Item = (&'a str, &'a str)>,
    F: ExactSizeIterator<Item = (&'a str, V)>,
    V: std::borrow::Borrow<Value>,
{
    /// Writes it ("Apache Avro Specification", "Binary Encoding").
    pub(super) fn write(self, out: &mut Vec<u8>) {
        text(out, &format!("{:032x}", self.id));
        text(out, self.db);
        text(out, self.table);
        long(out, self.time);
        match self.window {
            None => [0, 0].into_iter().for_each(|branch| long(out, branch)),
            Some((window, revision)) => {
                long(out, 1);
                text(out, window);
                long(out, 1);
                long(out, i64::try_from(revision).unwrap_or(i64::MAX));
            }
        }
        items(out, self.tags, text);
        items(out, self.fields, |out, value| field(out, value.borrow()));
    }
}

/// A map: one block, which an empty map has not, and the end.
fn items<'n, V>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = (&'n str, V)>,
    mut put: impl FnMut(&mut Vec<u8>, V),
) {
    if items.len() > 0 {
        long(out, items.len() as i64);
        for (name, value) in items {
            text(out, name);
            put(out, value);
        }
    }
    long(out, 0);
}

fn field(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(value) => {
            long(out, 0);
            long(out, *value);
        }
        Value::Float(value) => {
            long(out, 1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Bool(value) => {
            long(out, 2);
            out.push(u8::from(*value));
        }
        Value::Text(value) => {
            long(out, 3);
            text(out, value);
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

/// The sign goes into the last bit, then 7 bits a byte.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_decode::document::Document;

    #[test]
    fn what_is_written_is_read_by_the_schema() {
        let fields = [
            ("i", Value::Int(-3)),
            ("f", Value::Float(0.5)),
            ("b", Value::Bool(true)),
            ("s", Value::Text("x".into())),
        ];
        let schema = AvroSchema::parse(SCHEMA).unwrap();
        for (window, tags) in [(None, vec![("device", "d1")]), (Some(("1m", 7)), vec![])] {
            let datum = Datum {
                id: 1,
                db: "default",
                table: "t",
                time: i64::MIN,
                window,
                tags: tags.into_iter(),
                fields: fields.iter().map(|(name, value)| (*name, value)),
            };
            let mut out = Vec::new();
            datum.write(&mut out);
            let read = schema.decode(&out).unwrap();
            assert_eq!(read.get("time"), Some(&Document::Time(i64::MIN)));
            let shown = read.get("window").and_then(Document::text);
            assert_eq!(shown.as_deref(), window.map(|(window, _)| window));
            let fields = read.get("fields").unwrap();
            assert_eq!(fields.get("i"), Some(&Document::Int(-3)));
            assert_eq!(fields.get("s"), Some(&Document::Text("x".into())));
        }
    }
}
