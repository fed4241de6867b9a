//! Parameters of a request: URL, form or JSON members of the same names.

use crate::{Error, Result};
use axum::http::{HeaderMap, header::CONTENT_TYPE};

/// Named parameters in the order given.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads URL and body; every name must be in `known` and occur once.
    pub(super) fn read(
        query: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
        known: &[&str],
    ) -> Result<Params> {
        let mut pairs = decode(query.unwrap_or_default().as_bytes())?;
        if !body.iter().all(u8::is_ascii_whitespace) {
            let content_type =
                headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if content_type.starts_with("application/x-www-form-urlencoded")
                && !body.trim_ascii_start().starts_with(b"{")
            {
                pairs.extend(decode(body)?);
            } else {
                pairs.extend(members(body)?);
            }
        }
        for (at, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let detail =
                    format!("{name:?} is no parameter here; expected one of: {}", known.join(", "));
                return Err(Error::parameter(name, detail));
            }
            if pairs[..at].iter().any(|(other, _)| other == name) {
                return Err(Error::parameter(name, format!("{name:?} is given twice")));
            }
        }
        Ok(Params(pairs))
    }

    /// Takes a parameter out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

fn decode(text: &[u8]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = percent(halves.next().unwrap_or_default())?;
        pairs.push((name, percent(halves.next().unwrap_or_default())?));
    }
    Ok(pairs)
}

fn percent(text: &[u8]) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'+', ..) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (byte, ..) => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::parameter("url", "a parameter is not UTF-8; expected UTF-8"))
}

fn members(body: &[u8]) -> Result<Vec<(String, String)>> {
    use serde_json::Value;
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is no JSON: {error}; expected an object or a form");
        Error::parameter("body", detail)
    })?;
    let Value::Object(members) = value else {
        return Err(Error::parameter("body", "the body is no JSON object"));
    };
    let mut pairs = Vec::new();
    for (name, value) in members {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => {
                let detail = format!("{name:?} is neither text nor a number");
                return Err(Error::parameter(&name, detail));
            }
        };
        pairs.push((name, text));
    }
    Ok(pairs)
}
