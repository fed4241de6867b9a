//! Parameters of administrative requests: the URL's, or the same names as members of a JSON body.

use super::problem::{ApiError, Result};
use crate::length;
use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::StatusCode,
};
use oribi_model::{Name, name::DEFAULT_DB, params::pairs};
use serde_json::{Map, Value};

/// Largest body of an administrative request, bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// Where parameters may stand in a request.
pub(super) struct Given {
    query: Option<String>,
    body: Bytes,
}

impl Given {
    /// The parameters, all of which are in `known`.
    ///
    /// # Errors
    /// As [`Params::read`].
    pub(super) fn params(&self, known: &[&str]) -> Result<Params> {
        Params::read(self.query.as_deref(), &self.body, known)
    }
}

impl<S: Send + Sync> FromRequest<S> for Given {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, state: &S) -> Result<Given, BytesRejection> {
        let query = request.uri().query().map(str::to_owned);
        Ok(Given { query, body: Bytes::from_request(request, state).await? })
    }
}

/// Named values; every one is known to the path that reads them.
#[derive(Debug, PartialEq)]
pub(super) struct Params(Map<String, Value>);

impl Params {
    /// Reads URL and body.
    ///
    /// # Errors
    /// A parameter that is none of `known` or stands twice, or a body that is no JSON object.
    fn read(query: Option<&str>, body: &[u8], known: &[&str]) -> Result<Params> {
        let mut params = Params(Map::new());
        let given = pairs(query.unwrap_or_default().as_bytes())
            .map_err(|wrong| ApiError::parameter("url", wrong.to_string()))?;
        for (name, value) in given {
            params.add(name, Value::String(value), known)?;
        }
        if !body.iter().all(u8::is_ascii_whitespace) {
            let members: Map<String, Value> = serde_json::from_slice(body).map_err(|wrong| {
                let detail = format!("the body is no JSON object: {wrong}");
                ApiError::new(StatusCode::BAD_REQUEST, "invalid-json", detail)
            })?;
            for (name, value) in members {
                params.add(name, value, known)?;
            }
        }
        Ok(params)
    }

    /// The parameters that a body alone gives.
    #[cfg(test)]
    pub(super) fn of_body(body: &Value, known: &[&str]) -> Result<Params> {
        Params::read(None, body.to_string().as_bytes(), known)
    }

    fn add(&mut self, name: String, value: Value, known: &[&str]) -> Result<()> {
        if !known.contains(&name.as_str()) {
            let detail = match known {
                [] => format!("{name:?} is no parameter here; there are none"),
                known => {
                    let known = known.join(", ");
                    format!("{name:?} is no parameter here; expected one of: {known}")
                }
            };
            return Err(ApiError::parameter(&name, detail));
        }
        if self.0.contains_key(&name) {
            return Err(ApiError::parameter(&name, format!("{name:?} is given twice")));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// A value, if it was given; it may be null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text that was given and is not null.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                let detail = format!("{name:?} is {other}; expected text");
                Err(ApiError::parameter(name, detail))
            }
        }
    }

    /// The database; `default` when absent.
    pub(super) fn db(&self) -> Result<Name> {
        let db = self.text("db")?.unwrap_or(DEFAULT_DB);
        Name::new(db).map_err(|wrong| ApiError::parameter("db", wrong.to_string()))
    }

    /// A length of time in ns. `None`: not given; `Some(None)`: null, which takes it back.
    pub(super) fn length_ns(&self, name: &str) -> Result<Option<Option<i64>>> {
        let text = match self.get(name) {
            None => return Ok(None),
            Some(Value::Null) => return Ok(Some(None)),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let ns = length::parse(&text)
            .map_err(|wrong| ApiError::parameter(name, format!("{name}: {wrong}, or null")))?;
        Ok(Some(Some(ns)))
    }

    /// A number. `None`: not given; `Some(None)`: null, which takes it back.
    pub(super) fn number(&self, name: &str) -> Result<Option<Option<u64>>> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Null) => return Ok(Some(None)),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        let expected = || ApiError::parameter(name, format!("{name} is no whole number"));
        number.map(|number| Some(Some(number))).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn url_and_body_are_read_alike() {
        let known = &["db", "retention", "buckets"];
        let read = |query, body: &str| Params::read(query, body.as_bytes(), known);
        let params = read(Some("db=km%2Fh&retention=30d"), "{\"buckets\":4}").unwrap();
        assert_eq!(params.db().unwrap().as_str(), "km/h");
        assert_eq!(params.length_ns("retention").unwrap(), Some(Some(30 * 86_400_000_000_000)));
        assert_eq!(params.number("buckets").unwrap(), Some(Some(4)));
        let unset = read(None, &json!({"retention": null}).to_string()).unwrap();
        assert_eq!(unset.length_ns("retention").unwrap(), Some(None));
        assert_eq!(unset.number("buckets").unwrap(), None);
        for (query, body) in [
            (Some("x=1"), ""),
            (Some("db=a&db=b"), ""),
            (Some("db=%ff"), ""),
            (None, "[]"),
            (None, "{"),
            (Some("db=a"), "{\"db\":\"b\"}"),
        ] {
            assert!(read(query, body).is_err(), "{query:?} {body:?}");
        }
        assert!(read(Some("db="), "").unwrap().db().is_err());
        assert!(read(Some("retention=30"), "").unwrap().length_ns("retention").is_err());
    }
}
