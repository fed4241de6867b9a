//! What is asked about tokens.

use crate::{
    api::problem::{ApiError, Result},
    length,
};
use axum::http::StatusCode;
use jiff::Timestamp;
use oribi_access::{Digest, Glob, Grant, May, NOTE_BYTES_MAX, Rights, Token, check_name};
use oribi_cluster::TOKENS_AT_ONCE_MAX;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Tokens that are to be made.
pub(super) enum New {
    One(Box<NewToken>),
    List(Vec<NewToken>),
}

/// A token that is to be made.
#[derive(Debug, Deserialize)]
pub(super) struct NewToken {
    name: String,
    #[serde(flatten)]
    members: Members,
}

/// What may be set of a token.
#[derive(Debug, Default, Deserialize)]
struct Members {
    grants: Option<Vec<GrantRequest>>,
    ops: Option<bool>,
    all: Option<bool>,
    topics: Option<Vec<String>>,
    clients: Option<Vec<Glob>>,
    /// Null takes it back.
    #[serde(default, deserialize_with = "given")]
    certificate: Option<Option<Glob>>,
    /// A length from now, or a moment; null takes the end back.
    #[serde(default, deserialize_with = "given")]
    expires: Option<Option<String>>,
    note: Option<String>,
}

/// Rights on tables as they are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRequest {
    may: Mays,
    db: Glob,
    table: Glob,
}

/// One right, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected \"read\", \"write\" or \"admin\", or a list of them")]
enum Mays {
    One(May),
    List(Vec<May>),
}

impl GrantRequest {
    fn grants(&self) -> impl Iterator<Item = Grant> {
        let mays = match &self.may {
            Mays::One(may) => std::slice::from_ref(may),
            Mays::List(mays) => mays,
        };
        let grant = |may: &May| Grant { may: *may, db: self.db.clone(), table: self.table.clone() };
        mays.iter().map(grant)
    }
}

/// Keeps null apart from nothing.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A change of a token.
#[derive(Debug, Deserialize)]
pub(super) struct Patch {
    #[serde(flatten)]
    members: Members,
}

/// A change of a token's secret.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rotation {
    keep_old: Option<String>,
}

const MEMBERS: [&str; 9] =
    ["name", "grants", "ops", "all", "topics", "clients", "certificate", "expires", "note"];

impl New {
    /// Reads one token or a list of them.
    ///
    /// # Errors
    /// What is wrong, with the member where one is.
    pub(super) fn read(body: &[u8]) -> Result<New> {
        if body.trim_ascii_start().first() != Some(&b'[') {
            return object(body, &MEMBERS).map(|one| New::One(Box::new(one)));
        }
        let list: Vec<serde_json::Value> =
            serde_json::from_slice(body).map_err(|wrong| no_json(&wrong))?;
        if !(1..=TOKENS_AT_ONCE_MAX).contains(&list.len()) {
            let detail = format!("expected 1 to {TOKENS_AT_ONCE_MAX} tokens, found {}", list.len());
            return Err(ApiError::parameter("body", detail));
        }
        let read = list.into_iter().map(|one| object_of(one, &MEMBERS));
        read.collect::<Result<_>>().map(New::List)
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, New::List(_))
    }

    pub(super) fn all(&self) -> &[NewToken] {
        match self {
            New::One(one) => std::slice::from_ref(one),
            New::List(list) => list,
        }
    }
}

impl NewToken {
    /// The token, made now by the token called `by`.
    ///
    /// # Errors
    /// The member that is wrong.
    pub(super) fn token(&self, by: &str, now_ns: i64, digest: Digest) -> Result<Token> {
        check_name(&self.name).map_err(|wrong| ApiError::parameter("name", wrong))?;
        let blank = Token {
            id: 0,
            version: 0,
            name: self.name.clone(),
            digest: Some(digest),
            previous: None,
            rights: Rights::default(),
            expires_ns: None,
            created_ns: now_ns,
            created_by: by.to_owned(),
            note: String::new(),
        };
        self.members.applied(blank, now_ns)
    }
}

impl Patch {
    /// Reads a change.
    ///
    /// # Errors
    /// The member that is wrong.
    pub(super) fn read(body: &[u8]) -> Result<Patch> {
        object(body, &MEMBERS[1..])
    }

    /// The token's next version.
    ///
    /// # Errors
    /// The member that is wrong.
    pub(super) fn applied(&self, token: &Token, now_ns: i64) -> Result<Token> {
        let next = self.members.applied(token.clone(), now_ns)?;
        Ok(Token { version: token.version + 1, ..next })
    }
}

impl Rotation {
    /// Reads how the secret is to be replaced; nothing is the usual way.
    ///
    /// # Errors
    /// The member that is wrong.
    pub(super) fn read(body: &[u8]) -> Result<Rotation> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Rotation::default());
        }
        object(body, &["keep_old"])
    }

    /// How long the old secret holds, ns.
    ///
    /// # Errors
    /// What is no length of time.
    pub(super) fn keep_old_ns(&self) -> Result<Option<i64>> {
        self.keep_old.as_deref().map(|text| length_of("keep_old", text)).transpose()
    }
}

impl Members {
    fn applied(&self, token: Token, now_ns: i64) -> Result<Token> {
        let before = token.rights;
        let rights = Rights {
            grants: match &self.grants {
                Some(grants) => grants.iter().flat_map(GrantRequest::grants).collect(),
                None => before.grants,
            },
            ops: self.ops.unwrap_or(before.ops),
            all: self.all.unwrap_or(before.all),
            topics: self.topics.clone().unwrap_or(before.topics),
            clients: self.clients.clone().unwrap_or(before.clients),
            certificate: self.certificate.clone().unwrap_or(before.certificate),
        };
        rights.check().map_err(|wrong| {
            let member = wrong.split(' ').next().unwrap_or_default();
            let member = if MEMBERS.contains(&member) { member } else { "topics" };
            ApiError::parameter(member, wrong.clone())
        })?;
        let expires_ns = match &self.expires {
            None => token.expires_ns,
            Some(None) => None,
            Some(Some(text)) => Some(end(text, now_ns)?),
        };
        let note = self.note.clone().unwrap_or(token.note);
        if note.len() > NOTE_BYTES_MAX {
            let detail = format!("the note is longer than {NOTE_BYTES_MAX} bytes");
            return Err(ApiError::parameter("note", detail));
        }
        Ok(Token { rights, expires_ns, note, ..token })
    }
}

/// A moment, or a length from now.
fn end(text: &str, now_ns: i64) -> Result<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        let ns = i64::try_from(at.as_nanosecond()).ok().filter(|ns| *ns > now_ns);
        let past = || ApiError::parameter("expires", format!("expires: {text} is over already"));
        return ns.ok_or_else(past);
    }
    Ok(now_ns.saturating_add(length_of("expires", text)?))
}

fn length_of(member: &str, text: &str) -> Result<i64> {
    if text == "0" {
        return Ok(0);
    }
    length::parse(text).map_err(|wrong| ApiError::parameter(member, format!("{member}: {wrong}")))
}

fn object<T: DeserializeOwned>(body: &[u8], known: &[&str]) -> Result<T> {
    object_of(serde_json::from_slice(body).map_err(|wrong| no_json(&wrong))?, known)
}

fn object_of<T: DeserializeOwned>(body: serde_json::Value, known: &[&str]) -> Result<T> {
    let Some(members) = body.as_object() else {
        return Err(ApiError::parameter("body", "expected a JSON object"));
    };
    if let Some(other) = members.keys().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        let detail = format!("{other:?} is no member here; expected one of: {known}");
        return Err(ApiError::parameter(other, detail));
    }
    serde_json::from_value(body).map_err(|wrong| ApiError::parameter("body", wrong.to_string()))
}

fn no_json(wrong: &serde_json::Error) -> ApiError {
    let detail = format!("the body is no JSON: {wrong}");
    ApiError::new(StatusCode::BAD_REQUEST, "invalid-json", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_access::Secret;

    fn made(body: &str) -> Result<Token> {
        let digest = Secret::make().unwrap().digest();
        New::read(body.as_bytes())?.all()[0].token("me", 1_000, digest)
    }

    #[test]
    fn a_token_is_what_its_members_say() {
        let body = r#"{"name":"dev7","grants":[{"may":"write","db":"default","table":"sensors"},
            {"may":["read","write"],"db":"default","table":"m"}],"certificate":"dev7.*",
            "topics":["sensors/+/%u"],"clients":["%u"],"expires":"1s","note":"shed"}"#;
        let token = made(body).unwrap();
        assert_eq!((token.name.as_str(), token.expires_ns), ("dev7", Some(1_000_001_000)));
        assert_eq!((token.rights.grants.len(), token.rights.topics.len()), (3, 1));
        assert_eq!(token.rights.certificate, Some(Glob::new("dev7.*").unwrap()));
        assert!(!token.rights.all && !token.rights.ops);
        assert_eq!(New::read(b"[{\"name\":\"a\"},{\"name\":\"b\"}]").unwrap().all().len(), 2);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for body in [
            "",
            "7",
            "[]",
            "{}",
            r#"{"name":"a/b"}"#,
            r#"{"name":"anonymous"}"#,
            r#"{"name":"a","grant":[]}"#,
            r#"{"name":"a","token":"mine"}"#,
            r#"{"name":"a","grants":[{"may":"read","db":"*"}]}"#,
            r#"{"name":"a","grants":[{"may":"all","db":"*","table":"*"}]}"#,
            r#"{"name":"a","grants":[{"may":"read","db":"","table":"*"}]}"#,
            r#"{"name":"a","topics":["a/#/b"]}"#,
            r#"{"name":"a","expires":"soon"}"#,
            r#"{"name":"a","expires":"1970-01-01T00:00:00Z"}"#,
        ] {
            assert!(made(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let token = made(r#"{"name":"a","ops":true,"expires":"1h","note":"n"}"#).unwrap();
        let patch = |body: &str| Patch::read(body.as_bytes())?.applied(&token, 0);
        let same = patch("{}").unwrap();
        assert_eq!(same, Token { version: token.version + 1, ..token.clone() });
        assert_eq!(patch(r#"{"expires":null}"#).unwrap().expires_ns, None);
        assert!(!patch(r#"{"ops":false}"#).unwrap().rights.ops);
        assert!(patch(r#"{"name":"b"}"#).is_err());
    }
}
