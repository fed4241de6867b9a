//! By which schema the messages of a route are read.

use super::spec::{Decoder, RouteSpec};
use crate::decode::{
    Fault,
    avro::AvroSchema,
    confluent::{Frame, SchemaRegistry},
    document::Document,
    protobuf::{Imports, ProtobufSchema},
};
use std::{fs, path::Path, sync::Arc};

/// Longest schema file, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the schema of a message comes from.
#[derive(Debug, Clone)]
pub(crate) enum SchemaSource {
    Avro(Arc<AvroSchema>),
    Protobuf(Arc<ProtobufSchema>),
    /// The message names it.
    Registry(Arc<SchemaRegistry>),
}

impl SchemaSource {
    /// That of a route, if its decoder needs one; the error names the member.
    pub(super) fn of(
        spec: &RouteSpec,
        registry: Option<&Arc<SchemaRegistry>>,
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
            return match registry {
                Some(registry) => Ok(Some(SchemaSource::Registry(registry.clone()))),
                None => wrong("expected a schema file, or a registry in the connector".into()),
            };
        };
        let shown = path.display();
        let length = fs::metadata(path).map_or(0, |file| file.len());
        if length > FILE_BYTES_MAX {
            return wrong(format!("{shown} has {length} bytes; at most {FILE_BYTES_MAX} are read"));
        }
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(cause) => return wrong(format!("cannot read {shown}: {cause}")),
        };
        let text = std::str::from_utf8(&bytes);
        let of_text = path.extension().is_some_and(|end| end == "proto");
        let message = spec.message.as_deref();
        let schema = match (spec.decoder, text) {
            (Decoder::Avro, Ok(text)) => {
                AvroSchema::parse(text).map(|schema| SchemaSource::Avro(Arc::new(schema)))
            }
            (Decoder::Avro, Err(_)) => Err(Fault::syntax("it is not UTF-8")),
            (_, Ok(text)) if of_text => {
                let beside = Imports::Below(path.parent().unwrap_or(Path::new("")));
                ProtobufSchema::parse(text, beside, message)
                    .map(|schema| SchemaSource::Protobuf(Arc::new(schema)))
            }
            _ => ProtobufSchema::from_descriptor_set(&bytes, message)
                .map(|schema| SchemaSource::Protobuf(Arc::new(schema))),
        };
        schema.map(Some).or_else(|fault| wrong(format!("{shown}: {}", fault.detail)))
    }

    /// Reads a message. A schema of the registry must be at hand by now.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<Document, Fault> {
        match self {
            SchemaSource::Avro(schema) => schema.decode_message(payload),
            SchemaSource::Protobuf(schema) => schema.decode(payload),
            SchemaSource::Registry(registry) => {
                let frame = Frame::split(payload)?;
                registry.at_hand(frame.id)?.decode(frame.body)
            }
        }
    }
}
