//! The parsing canonical form of a schema and its fingerprint ("Schema Fingerprints").

use super::schema::full_name;
use serde_json::Value;

const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

/// CRC-64-AVRO of the canonical form.
pub(super) fn fingerprint(schema: &Value) -> u64 {
    let mut text = String::new();
    put(schema, "", &mut text);
    text.bytes()
        .fold(EMPTY, |crc, byte| crc >> 8 ^ TABLE[((crc ^ u64::from(byte)) & 0xff) as usize])
}

const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { EMPTY } else { 0 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

const PRIMITIVES: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// Members that count, in the order in which they stand.
const MEMBERS: [&str; 7] = ["name", "type", "fields", "symbols", "items", "values", "size"];

fn put(schema: &Value, space: &str, text: &mut String) {
    match schema {
        Value::String(name) if PRIMITIVES.contains(&&**name) => quote(name, text),
        Value::String(name) => quote(&full_name(name, space), text),
        Value::Array(branches) => list(branches, text, |branch, text| put(branch, space, text)),
        Value::Object(members) => {
            let kind = schema["type"].as_str().unwrap_or_default();
            match kind {
                "" => put(&schema["type"], space, text),
                kind if PRIMITIVES.contains(&kind) => quote(kind, text),
                _ if !members.contains_key("name") && !matches!(kind, "array" | "map") => {
                    put(&schema["type"], space, text);
                }
                _ => put_object(schema, space, text),
            }
        }
        _ => {}
    }
}

fn put_object(schema: &Value, space: &str, text: &mut String) {
    let space = schema["namespace"].as_str().unwrap_or(space);
    let full = schema["name"].as_str().map(|name| full_name(name, space));
    let inner =
        full.as_deref().and_then(|full| full.rsplit_once('.')).map_or("", |(space, _)| space);
    let inner = if full.is_some() { inner } else { space };
    text.push('{');
    let mut is_first = true;
    for name in MEMBERS {
        let value = &schema[name];
        if value.is_null() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            text.push(',');
        }
        quote(name, text);
        text.push(':');
        match (name, value) {
            ("name", _) => quote(full.as_deref().unwrap_or_default(), text),
            ("type", Value::String(kind)) => quote(kind, text),
            ("fields", Value::Array(fields)) => list(fields, text, |field, text| {
                text.push_str("{\"name\":");
                quote(field["name"].as_str().unwrap_or_default(), text);
                text.push_str(",\"type\":");
                put(&field["type"], inner, text);
                text.push('}');
            }),
            ("symbols", Value::Array(symbols)) => list(symbols, text, |symbol, text| {
                quote(symbol.as_str().unwrap_or_default(), text);
            }),
            ("size", size) => text.push_str(&size.to_string()),
            (_, other) => put(other, inner, text),
        }
    }
    text.push('}');
}

fn list(values: &[Value], text: &mut String, mut put: impl FnMut(&Value, &mut String)) {
    text.push('[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        put(value, text);
    }
    text.push(']');
}

fn quote(name: &str, text: &mut String) {
    text.push('"');
    text.push_str(name);
    text.push('"');
}
