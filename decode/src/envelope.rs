//! Envelopes around rows: the JSON converter of Kafka Connect with `schema` and `payload` ("Kafka
//! Connect", "JsonConverter"), and change events of Debezium ("Data change events").

use super::{Fault, document::Document, json, logical, row::TIME_MEMBERS, time::Precision};
use base64::{Engine, engine::general_purpose::STANDARD};
use oribi_model::name::TIME_COLUMN;
use std::collections::HashMap;

/// The members that Debezium's own flattening adds too.
const OPERATION: &str = "__op";
const TABLE: &str = "__table";

/// What becomes of the moment of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeTime {
    /// It is the row's `time`, unless the row has a time of its own.
    Added,
    /// The row's time is known to stand elsewhere.
    Left,
}

/// Takes a message out of its envelopes; one without comes back as it is. A change of a row gives
/// the row as it is after it, or before it where it was deleted, with `__op` (`c`, `u`, `d`, `r`),
/// `__table`, and as `time` the moment of the change as `change_time` says. `None`:
/// the message holds no row, such as a tombstone.
///
/// # Errors
/// A payload that does not fit its schema.
pub fn open(document: Document, change_time: ChangeTime) -> Result<Option<Document>, Fault> {
    let payload = match document {
        Document::Map(members) if is_envelope(&members) => {
            let (mut schema, mut payload) = (Document::Null, Document::Null);
            for (name, value) in members {
                match &*name {
                    "schema" => schema = value,
                    _ => payload = value,
                }
            }
            Type::of(schema)?.read(payload)?
        }
        other => other,
    };
    match payload {
        Document::Null => Ok(None),
        Document::Map(members) if is_change(&members) => change(members, change_time),
        plain => Ok(Some(plain)),
    }
}

fn is_envelope(members: &[(String, Document)]) -> bool {
    let [(first, a), (second, b)] = members else { return false };
    let schema = match (&**first, &**second) {
        ("schema", "payload") => a,
        ("payload", "schema") => b,
        _ => return false,
    };
    matches!(schema, Document::Null) || matches!(schema.get("type"), Some(Document::Text(_)))
}

fn is_change(members: &[(String, Document)]) -> bool {
    let has = |name: &str, is: fn(&Document) -> bool| {
        members.iter().any(|(known, value)| known == name && is(value))
    };
    has("op", |value| matches!(value, Document::Text(_)))
        && has("source", |value| matches!(value, Document::Map(_)))
}

fn change(
    members: Vec<(String, Document)>,
    change_time: ChangeTime,
) -> Result<Option<Document>, Fault> {
    let (mut before, mut after) = (Document::Null, Document::Null);
    let (mut source, mut operation) = (Document::Null, Document::Null);
    for (name, value) in members {
        match &*name {
            "before" => before = value,
            "after" => after = value,
            "source" => source = value,
            "op" => operation = value,
            _ => {}
        }
    }
    let is = |known: &str| matches!(&operation, Document::Text(text) if text == known);
    if is("t") || is("m") {
        return Ok(None);
    }
    let mut row = match if is("d") { before } else { after } {
        // MongoDB's rows are texts.
        Document::Text(text) => match json::read_document(&text)? {
            Document::Map(row) => row,
            _ => return Err(Fault::syntax("the changed row is no object")),
        },
        Document::Map(row) => row,
        Document::Null if is("d") => return Ok(None),
        _ => return Err(Fault::syntax("the change has no row")),
    };
    let has_time = row.iter().any(|(name, _)| TIME_MEMBERS.contains(&&**name));
    if change_time == ChangeTime::Added && !has_time {
        let time = changed_at(&source)?;
        row.extend(time.map(|time| (TIME_COLUMN.to_owned(), time)));
    }
    row.push((OPERATION.to_owned(), operation));
    let table = ["table", "collection"].iter().find_map(|name| source.get(name));
    row.extend(table.map(|table| (TABLE.to_owned(), table.clone())));
    Document::map(row).map(Some)
}

/// When the source made the change, in the finest unit that it tells.
fn changed_at(source: &Document) -> Result<Option<Document>, Fault> {
    let units = [("ts_ns", Precision::Ns), ("ts_us", Precision::Us), ("ts_ms", Precision::Ms)];
    for (name, unit) in units {
        if let Some(Document::Int(count)) = source.get(name) {
            return logical::moment(*count, unit).map(Some);
        }
    }
    Ok(None)
}

/// What a schema says of a value.
enum Type {
    /// That it is what JSON shows.
    Plain,
    Float,
    Bytes,
    /// With so many decimals.
    Decimal(i32),
    Date,
    Moment(Precision),
    TextTime,
    Struct(HashMap<String, Type>),
    List(Box<Type>),
    Map(Box<Type>),
}

impl Type {
    fn of(schema: Document) -> Result<Type, Fault> {
        let word = |name: &str| match schema.get(name) {
            Some(Document::Text(text)) => &**text,
            _ => "",
        };
        Ok(match (word("type"), word("name")) {
            ("struct", _) => Type::Struct(fields(schema)?),
            ("array", _) => Type::List(Box::new(Type::of(member(schema, "items"))?)),
            ("map", _) => Type::Map(Box::new(Type::of(member(schema, "values"))?)),
            ("float" | "double", _) => Type::Float,
            ("bytes", "org.apache.kafka.connect.data.Decimal") => {
                let scale = schema.get("parameters").and_then(|known| known.get("scale"));
                let scale = scale.and_then(Document::text).and_then(|text| text.parse().ok());
                let none = || Fault::syntax("the schema of a decimal has no scale");
                Type::Decimal(scale.ok_or_else(none)?)
            }
            ("bytes", _) => Type::Bytes,
            (_, "org.apache.kafka.connect.data.Timestamp" | "io.debezium.time.Timestamp") => {
                Type::Moment(Precision::Ms)
            }
            (_, "io.debezium.time.MicroTimestamp") => Type::Moment(Precision::Us),
            (_, "io.debezium.time.NanoTimestamp") => Type::Moment(Precision::Ns),
            (_, "io.debezium.time.ZonedTimestamp") => Type::TextTime,
            (_, "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date") => Type::Date,
            _ => Type::Plain,
        })
    }

    /// The value with this type; one of another form stays as it is.
    fn read(&self, value: Document) -> Result<Document, Fault> {
        Ok(match (self, value) {
            (Type::Struct(fields), Document::Map(members)) => {
                let typed = |(name, value): (String, Document)| {
                    let value = match fields.get(&name) {
                        Some(field) => field.read(value)?,
                        None => value,
                    };
                    Ok((name, value))
                };
                Document::Map(members.into_iter().map(typed).collect::<Result<_, Fault>>()?)
            }
            (Type::Map(values), Document::Map(members)) => {
                let typed = |(name, value)| Ok((name, values.read(value)?));
                Document::Map(members.into_iter().map(typed).collect::<Result<_, Fault>>()?)
            }
            (Type::List(items), Document::List(values)) => {
                let values = values.into_iter().map(|value| items.read(value));
                Document::List(values.collect::<Result<_, _>>()?)
            }
            (Type::Float, Document::Int(value)) => Document::Float(value as f64),
            (Type::Bytes, Document::Text(text)) => Document::Bytes(bytes(&text)?),
            (Type::Decimal(scale), Document::Text(text)) => {
                logical::decimal(&bytes(&text)?, *scale)?
            }
            (Type::Date, Document::Int(days)) => logical::date(days)?,
            (Type::Moment(unit), Document::Int(count)) => logical::moment(count, *unit)?,
            (Type::TextTime, Document::Text(text)) => {
                Document::Time(super::time::parse_text(&text)?)
            }
            (_, value) => value,
        })
    }
}

fn fields(schema: Document) -> Result<HashMap<String, Type>, Fault> {
    let Document::List(fields) = member(schema, "fields") else { return Ok(HashMap::new()) };
    let named = fields.into_iter().filter_map(|field| match field.get("field") {
        Some(Document::Text(name)) => Some((name.clone(), field)),
        _ => None,
    });
    named.map(|(name, field)| Ok((name, Type::of(field)?))).collect()
}

fn member(schema: Document, name: &str) -> Document {
    let Document::Map(members) = schema else { return Document::Null };
    let found = members.into_iter().find(|(known, _)| known == name);
    found.map_or(Document::Null, |(_, value)| value)
}

fn bytes(text: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(text).map_err(|_| Fault::syntax("bytes are not in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rows, sample};
    use proptest::prelude::*;

    fn opened(text: &str) -> Result<Option<Document>, Fault> {
        open(json::read_document(text).unwrap(), ChangeTime::Added)
    }

    fn show(document: &Document) -> String {
        let Document::Map(members) = document else { return format!("{document:?}\n") };
        members.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect()
    }

    #[test]
    fn change_events_give_their_rows() {
        for name in ["create-with-schema", "update-payload-only", "delete-payload-only"] {
            let path = format!("debezium/{name}.json");
            let text = String::from_utf8(sample(&path)).unwrap();
            assert_rows(&path, &show(&opened(&text).unwrap().unwrap()));
        }
    }

    #[test]
    fn the_schema_gives_types() {
        let text = r#"{"schema":{"type":"struct","fields":[
            {"field":"at","type":"int64","name":"org.apache.kafka.connect.data.Timestamp"},
            {"field":"us","type":"int64","name":"io.debezium.time.MicroTimestamp"},
            {"field":"z","type":"string","name":"io.debezium.time.ZonedTimestamp"},
            {"field":"day","type":"int32","name":"io.debezium.time.Date"},
            {"field":"f","type":"double"},{"field":"raw","type":"bytes"},
            {"field":"price","type":"bytes","name":"org.apache.kafka.connect.data.Decimal",
             "parameters":{"scale":"2"}},
            {"field":"list","type":"array","items":{"type":"float"}},
            {"field":"map","type":"map","values":{"type":"double"}}]},
            "payload":{"at":1000,"us":1,"z":"1970-01-01T00:00:01Z","f":3,"day":1,"raw":"AQI=",
            "price":"BNI=","list":[1,2.5],"map":{"a":1},"new":7}}"#;
        assert_eq!(
            show(&opened(text).unwrap().unwrap()),
            "at=Time(1000000000)\nus=Time(1000)\nz=Time(1000000000)\nf=Float(3.0)\n\
             day=Time(86400000000000)\nraw=Bytes([1, 2])\nprice=Float(12.34)\n\
             list=List([Float(1.0), Float(2.5)])\nmap=Map([(\"a\", Float(1.0))])\nnew=Int(7)\n"
        );
    }

    #[test]
    fn what_is_no_envelope_stays() {
        for text in [
            r#"{"schema":"v2","payload":{"a":1}}"#,
            r#"{"schema":{"type":"struct"},"payload":{"a":1},"more":1}"#,
            r#"{"op":"c","after":{"a":1}}"#,
            r#"[{"a":1}]"#,
        ] {
            let document = json::read_document(text).unwrap();
            assert_eq!(
                open(document.clone(), ChangeTime::Added).unwrap(),
                Some(document),
                "{text}"
            );
        }
    }

    #[test]
    fn messages_without_a_row_are_told_apart() {
        for text in [
            "null",
            r#"{"schema":null,"payload":null}"#,
            r#"{"op":"t","source":{"table":"x"}}"#,
            r#"{"op":"m","source":{},"message":{}}"#,
            r#"{"op":"d","source":{},"before":null,"after":null}"#,
        ] {
            assert_eq!(opened(text).unwrap(), None, "{text}");
        }
        assert!(opened(r#"{"op":"c","source":{},"after":null}"#).is_err());
        let plain = opened(r#"{"schema":null,"payload":{"a":1}}"#).unwrap().unwrap();
        assert_eq!(show(&plain), "a=Int(1)\n");
        let mongo = opened(r#"{"op":"u","source":{"collection":"c"},"after":"{\"a\":1}"}"#);
        assert_eq!(
            show(&mongo.unwrap().unwrap()),
            "a=Int(1)\n__op=Text(\"u\")\n__table=Text(\"c\")\n"
        );
    }

    #[test]
    fn a_row_keeps_its_own_time() {
        let text = r#"{"op":"c","source":{"ts_ms":5},"after":{"ts":7}}"#;
        assert_eq!(show(&opened(text).unwrap().unwrap()), "ts=Int(7)\n__op=Text(\"c\")\n");
        let clash = r#"{"op":"c","source":{},"after":{"__op":"x"}}"#;
        assert!(opened(clash).is_err());
    }

    proptest! {
        #[test]
        fn any_members_are_survived(
            kind in "struct|array|map|bytes|int64|double",
            name in "io\\.debezium\\.time\\.(Date|Timestamp|ZonedTimestamp)|org\\.apache\\.kafka\\.connect\\.data\\.(Decimal|Date)",
            value in "[0-9]{1,19}|\"[A-Za-z0-9=]{0,8}\"|\\[1,2\\]|null",
        ) {
            let text = format!(
                r#"{{"schema":{{"type":"{kind}","name":"{name}","fields":[1]}},"payload":{value}}}"#
            );
            if let Ok(document) = json::read_document(&text) {
                drop(open(document, ChangeTime::Added));
            }
        }
    }
}
