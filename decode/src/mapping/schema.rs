//! By which schema the messages of a route are read.

use super::spec::{Decoder, RouteSpec};
use crate::{
    Fault,
    avro::AvroSchema,
    confluent::{Framed, Schema},
    document::Document,
    protobuf::{Imports, ProtobufSchema},
    schema_files::{FileError, SchemaFiles},
};
use std::{fmt, path::Path, sync::Arc};

/// Longest schema file, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Schemas by the id that a message begins with.
pub trait SchemasById: fmt::Debug + Send + Sync {
    /// Whether it is known what this id names, or that it names nothing.
    fn knows(&self, id: u32) -> bool;

    /// The schema of this id.
    ///
    /// # Errors
    /// Says why there is none.
    fn at_hand(&self, id: u32) -> Result<Arc<Schema>, Fault>;
}

/// Where the schemas of routes are found.
#[derive(Clone)]
pub struct SchemaPlaces {
    /// The files that routes name.
    pub files: Arc<dyn SchemaFiles>,
    /// Those of routes that name no file.
    pub registry: Option<Arc<dyn SchemasById>>,
}

/// Where the schema of a message comes from.
#[derive(Debug, Clone)]
pub(crate) enum SchemaSource {
    Avro(Arc<AvroSchema>),
    Protobuf(Arc<ProtobufSchema>),
    /// The message names it.
    Registry(Arc<dyn SchemasById>),
}

impl SchemaSource {
    /// That of a route, if its decoder needs one; the error names the member.
    pub(super) fn of(
        spec: &RouteSpec,
        places: &SchemaPlaces,
    ) -> Result<Option<SchemaSource>, (&'static str, String)> {
        let wrong = |reason: String| Err(("schema_file", reason));
        if spec.message.is_some() && spec.decoder != Decoder::Protobuf {
            return Err(("message", "only Protobuf has messages by name".into()));
        }
        if !matches!(spec.decoder, Decoder::Avro | Decoder::Protobuf) {
            return match &spec.schema_file {
                Some(_) => wrong(format!("{:?} payloads have no schema", spec.decoder)),
                None => Ok(None),
            };
        }
        let Some(path) = &spec.schema_file else {
            return match &places.registry {
                Some(registry) => Ok(Some(SchemaSource::Registry(registry.clone()))),
                None => wrong("expected a schema file, or a registry in the connector".into()),
            };
        };
        let schema = SchemaSource::of_file(spec, path, &places.files);
        schema.map(Some).map_err(|reason| ("schema_file", reason))
    }

    fn of_file(
        spec: &RouteSpec,
        path: &Path,
        files: &Arc<dyn SchemaFiles>,
    ) -> Result<SchemaSource, String> {
        let shown = path.display();
        let bytes = files.read(path, FILE_BYTES_MAX).map_err(|error| match error {
            FileError::TooLong(length) => {
                format!("{shown} has {length} bytes; at most {FILE_BYTES_MAX} are read")
            }
            FileError::Missing(cause) | FileError::Unreadable(cause) => {
                format!("cannot read {shown}: {cause}")
            }
        })?;
        let text = std::str::from_utf8(&bytes);
        let of_text = path.extension().is_some_and(|end| end == "proto");
        let message = spec.message.as_deref();
        let schema = match (spec.decoder, text) {
            (Decoder::Avro, Ok(text)) => {
                AvroSchema::parse(text).map(|schema| SchemaSource::Avro(Arc::new(schema)))
            }
            (Decoder::Avro, Err(_)) => Err(Fault::syntax("it is not UTF-8")),
            (_, Ok(text)) if of_text => {
                let folder = path.parent().unwrap_or(Path::new(""));
                ProtobufSchema::parse(text, Imports::Below { folder, files }, message)
                    .map(|schema| SchemaSource::Protobuf(Arc::new(schema)))
            }
            _ => ProtobufSchema::from_descriptor_set(&bytes, message)
                .map(|schema| SchemaSource::Protobuf(Arc::new(schema))),
        };
        schema.map_err(|fault| format!("{shown}: {}", fault.detail))
    }

    /// Reads a message. A schema of the registry must be at hand by now.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<Document, Fault> {
        match self {
            SchemaSource::Avro(schema) => schema.decode_message(payload),
            SchemaSource::Protobuf(schema) => schema.decode(payload),
            SchemaSource::Registry(registry) => {
                let framed = Framed::split(payload)?;
                registry.at_hand(framed.id)?.decode(framed.body)
            }
        }
    }
}
