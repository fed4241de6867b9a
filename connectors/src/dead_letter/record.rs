//! What a Kafka record has around its payload, as a dead letter keeps it.

use super::PAYLOAD_BYTES_MAX;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// Key and headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Around {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Around {
    /// As JSON: `key` and `headers`, whose bytes are text or, where they are no UTF-8, an object with
    /// `base64`; `{"cut":true}` where they are too long to be kept. `None`: there are none.
    pub(super) fn to_json(&self) -> Option<String> {
        if self.key.is_none() && self.headers.is_empty() {
            return None;
        }
        let mut record = Map::new();
        if let Some(key) = &self.key {
            record.insert("key".into(), shown(key));
        }
        if !self.headers.is_empty() {
            let headers = self.headers.iter().map(|(name, value)| json!([name, shown(value)]));
            record.insert("headers".into(), headers.collect());
        }
        let text = Value::Object(record).to_string();
        Some(if text.len() > PAYLOAD_BYTES_MAX { r#"{"cut":true}"#.to_owned() } else { text })
    }

    /// What [`Around::to_json`] has written; `None` where it was cut.
    pub fn from_json(text: &str) -> Option<Around> {
        let record: Value = serde_json::from_str(text).ok()?;
        if record.get("cut").is_some() {
            return None;
        }
        let key = record.get("key").map(|key| bytes(key).ok_or(())).transpose().ok()?;
        let none = Vec::new();
        let headers = record.get("headers").and_then(Value::as_array).unwrap_or(&none);
        let header =
            |header: &Value| Some((header.get(0)?.as_str()?.to_owned(), bytes(header.get(1)?)?));
        Some(Around { key, headers: headers.iter().map(header).collect::<Option<_>>()? })
    }
}

fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value.as_str() {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => STANDARD.decode(value.get("base64")?.as_str()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        for around in [
            Around { key: Some(b"k".to_vec()), headers: Vec::new() },
            Around {
                key: Some(b"\xff".to_vec()),
                headers: vec![header("a", b"\xfe"), header("a", b"")],
            },
        ] {
            let text = around.to_json().unwrap();
            assert_eq!(Around::from_json(&text), Some(around), "{text}");
        }
        assert_eq!(Around::default().to_json(), None);
        let long = Around { key: Some(vec![b'x'; PAYLOAD_BYTES_MAX]), headers: Vec::new() };
        assert_eq!(Around::from_json(&long.to_json().unwrap()), None);
    }
}
