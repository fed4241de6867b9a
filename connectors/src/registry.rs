//! The client of a schema registry with Confluent's interface ("Schema Registry", "API").

mod cache;

use crate::agent::{agent, check_url, in_path};
use base64::{Engine, engine::general_purpose::STANDARD};
use cache::SchemaCache;
use oribi_decode::{
    Fault,
    avro::{self, AvroSchema},
    confluent::Schema,
    excerpt,
    mapping::SchemasById,
    protobuf::{Import, Imports, ProtobufSchema},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Duration};
use ureq::{Agent, Body, RequestBuilder, http::Response};

/// Longest answer, bytes: a schema as JSON text within JSON.
const ANSWER_BYTES_MAX: u64 = 4 * avro::SCHEMA_BYTES_MAX as u64;
/// Most schemas that one refers to, directly or not.
const REFERENCES_MAX: usize = 64;
/// Most answers in a row that lead elsewhere.
const REDIRECTS_MAX: u32 = 3;
/// Longest time for one question unless configured otherwise, ms.
const TIMEOUT_MS: u64 = 10_000;

/// Where a registry is and how it is asked.
#[derive(Debug, Clone)]
pub(crate) struct RegistryOptions {
    /// Its address, which may have a path: `http://registry:8080/apis/ccompat/v7`.
    pub(crate) url: String,
    /// Who asks.
    pub(crate) credentials: Option<Credentials>,
    /// Certificates in PEM of who may vouch for it; the system's when absent.
    pub(crate) ca_pem: Option<String>,
    /// Longest time for one question, ms.
    pub(crate) timeout_ms: u64,
}

impl RegistryOptions {
    /// Without credentials and with the usual times.
    pub(crate) fn new(url: impl Into<String>) -> RegistryOptions {
        let (url, timeout_ms) = (url.into(), TIMEOUT_MS);
        RegistryOptions { url, credentials: None, ca_pem: None, timeout_ms }
    }
}

/// A name and a password for HTTP's basic authentication.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// The name.
    pub(crate) username: String,
    /// The password, which never shows.
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why there is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistryError {
    /// The registry knows none of this id.
    #[error("the schema registry has no {0}")]
    NotFound(String),

    /// What it has cannot be used.
    #[error("cannot use {what} of the schema registry: {reason}")]
    Unusable {
        /// Which schema.
        what: String,
        /// What is wrong with it.
        reason: String,
    },

    /// It cannot be reached, or does not answer as a registry does, or refuses.
    #[error("cannot ask the schema registry at {url}: {reason}")]
    Unavailable {
        /// Its address.
        url: String,
        /// What it or the network said.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the trouble is the registry's and may pass; otherwise it is the message's.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, RegistryError::Unavailable { .. })
    }
}

/// A registry, and what it has answered.
#[derive(Debug)]
pub(crate) struct SchemaRegistry {
    asker: Arc<Asker>,
    cache: SchemaCache,
    /// One question at a time, so that many messages of one new schema ask once.
    asking: tokio::sync::Mutex<()>,
}

impl SchemaRegistry {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// Says which option cannot be.
    pub(crate) fn new(options: &RegistryOptions) -> Result<SchemaRegistry, String> {
        let asker = Arc::new(Asker::new(options)?);
        Ok(SchemaRegistry { asker, cache: SchemaCache::default(), asking: Default::default() })
    }

    /// The schema of this id, which is asked for unless it is at hand. An id that named nothing is
    /// asked for again after 10 s.
    ///
    /// # Errors
    /// [`RegistryError`] says whose trouble it is.
    pub(crate) async fn fetch(&self, id: u32) -> Result<Arc<Schema>, RegistryError> {
        let at_hand = || self.cache.get(id);
        if let Some(schema) = at_hand() {
            return Ok(schema);
        }
        let _turn = self.asking.lock().await;
        if let Some(schema) = at_hand() {
            return Ok(schema);
        }
        let what = schema_name(id);
        if let Some(why) = self.cache.missing(id) {
            return Err(why);
        }
        let asker = self.asker.clone();
        let asked = tokio::task::spawn_blocking(move || asker.schema(id)).await;
        match asked {
            Ok(Ok((schema, bytes))) => {
                let schema = Arc::new(schema);
                self.cache.put(id, schema.clone(), bytes);
                Ok(schema)
            }
            Ok(Err(error)) => {
                if !error.is_retryable() {
                    self.cache.miss(id, error.clone());
                }
                Err(error)
            }
            Err(panic) => Err(RegistryError::Unusable { what, reason: panic.to_string() }),
        }
    }
}

impl SchemasById for SchemaRegistry {
    fn knows(&self, id: u32) -> bool {
        self.cache.get(id).is_some() || self.cache.missing(id).is_some()
    }

    fn at_hand(&self, id: u32) -> Result<Arc<Schema>, Fault> {
        self.cache.get(id).ok_or_else(|| {
            let why = self.cache.missing(id).unwrap_or(RegistryError::NotFound(schema_name(id)));
            Fault::syntax(why.to_string())
        })
    }
}

impl SchemaRegistry {
    /// The id of an Avro schema of a subject, which is registered if it is new.
    ///
    /// # Errors
    /// [`RegistryError`]: a registry that is away or refuses.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let (asker, subject, schema) = (self.asker.clone(), subject.to_owned(), schema.to_owned());
        let what = format!("the schema of {subject:?}");
        let asked = tokio::task::spawn_blocking(move || asker.register(&subject, &schema)).await;
        asked.unwrap_or_else(|panic| {
            Err(RegistryError::Unusable { what, reason: panic.to_string() })
        })
    }
}

fn schema_name(id: u32) -> String {
    format!("schema {id}")
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
    /// Avro where it is absent.
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// Asks, and waits for the answer.
#[derive(Debug)]
struct Asker {
    url: String,
    authorization: Option<String>,
    agent: Agent,
}

impl Asker {
    fn new(options: &RegistryOptions) -> Result<Asker, String> {
        let url = options.url.trim_end_matches('/').to_owned();
        check_url(&url)?;
        let timeout = Duration::from_millis(options.timeout_ms.max(1));
        let agent = agent(options.ca_pem.as_deref(), timeout, REDIRECTS_MAX)?;
        let authorization = options.credentials.as_ref().map(|known| {
            let text = format!("{}:{}", known.username, known.password);
            format!("Basic {}", STANDARD.encode(text))
        });
        Ok(Asker { url, authorization, agent })
    }

    /// A schema and the bytes of its text.
    fn schema(&self, id: u32) -> Result<(Schema, usize), RegistryError> {
        let what = schema_name(id);
        let answer: Answer = self.ask(&format!("/schemas/ids/{id}"), &what)?;
        let mut found = References { bytes: answer.schema.len(), ..References::default() };
        self.references(&answer, &what, &mut found)?;
        let bytes = found.bytes;
        let unusable = |reason: String| RegistryError::Unusable { what: what.clone(), reason };
        let imports = found.imports;
        let schema = match answer.kind.as_deref().unwrap_or("AVRO") {
            "AVRO" => {
                let texts: Vec<String> = imports.into_iter().map(|import| import.text).collect();
                AvroSchema::parse_with(&answer.schema, &texts).map(Schema::Avro)
            }
            "PROTOBUF" => ProtobufSchema::parse(&answer.schema, Imports::AtHand(&imports), None)
                .map(Schema::Protobuf),
            "JSON" => Ok(Schema::Json),
            other => {
                let kind = excerpt(other, 32);
                Err(Fault::syntax(format!("schemas of the type {kind:?} are not known")))
            }
        };
        Ok((schema.map_err(|fault| unusable(fault.detail.to_string()))?, bytes))
    }

    /// Fetches what a schema refers to, what that refers to first.
    fn references(
        &self,
        answer: &Answer,
        what: &str,
        found: &mut References,
    ) -> Result<(), RegistryError> {
        for reference in answer.references.as_deref().unwrap_or_default() {
            let Reference { name, subject, version } = reference;
            let place = (subject.clone(), *version);
            if found.seen.contains(&place) {
                continue;
            }
            found.seen.push(place);
            let unusable = |reason| RegistryError::Unusable { what: what.to_owned(), reason };
            if found.seen.len() > REFERENCES_MAX {
                return Err(unusable(format!("it refers to more than {REFERENCES_MAX} others")));
            }
            let path = format!("/subjects/{}/versions/{version}", in_path(subject));
            let asked = format!("version {version} of {:?}", excerpt(subject, 64));
            let inner: Answer = self.ask(&path, &asked)?;
            found.bytes += inner.schema.len();
            if found.bytes > avro::SCHEMA_BYTES_MAX {
                return Err(unusable("it and those it refers to are too long".into()));
            }
            self.references(&inner, what, found)?;
            found.imports.push(Import { name: name.clone(), text: inner.schema });
        }
        Ok(())
    }

    fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        let path = format!("/subjects/{}/versions", in_path(subject));
        let body = serde_json::json!({ "schema": schema }).to_string();
        let request = self.headed(self.agent.post(format!("{}{path}", self.url)));
        let request = request.header("Content-Type", "application/vnd.schemaregistry.v1+json");
        let asked: Registered = self.answer(request.send(body), "the schema")?;
        Ok(asked.id)
    }

    fn ask<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, RegistryError> {
        let request = self.headed(self.agent.get(format!("{}{path}", self.url)));
        self.answer(request.call(), what)
    }

    fn headed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request =
            request.header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        response: Result<Response<Body>, ureq::Error>,
        what: &str,
    ) -> Result<T, RegistryError> {
        let unavailable = |reason: String| {
            let url = self.url.clone();
            RegistryError::Unavailable { url, reason: excerpt(&reason, 256) }
        };
        let failed = |error: ureq::Error| unavailable(error.to_string());
        let mut response = response.map_err(failed)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match (status, body) {
            (200, Err(ureq::Error::BodyExceedsLimit(_))) => {
                let (what, reason) = (what.to_owned(), "it is too long".to_owned());
                Err(RegistryError::Unusable { what, reason })
            }
            (200, body) => serde_json::from_slice(&body.map_err(failed)?)
                .map_err(|wrong| unavailable(format!("its answer is none of a registry: {wrong}"))),
            (404, _) => Err(RegistryError::NotFound(what.to_owned())),
            (status, body) => {
                let body = body.unwrap_or_default();
                let said = excerpt(&String::from_utf8_lossy(&body), 128);
                Err(unavailable(format!("it answers {status} {said}")))
            }
        }
    }
}

#[derive(Default)]
struct References {
    imports: Vec<Import>,
    seen: Vec<(String, i64)>,
    bytes: usize,
}

#[cfg(test)]
mod tests;
