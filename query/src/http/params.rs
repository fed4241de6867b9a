//! Parameters of a request: URL, form or JSON members of the same names.

use crate::{Error, Result};
use axum::http::{HeaderMap, header::CONTENT_TYPE};
use oribi_model::params::pairs;

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
    pairs(text).map_err(|wrong| Error::parameter("url", wrong.to_string()))
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
