//! A schema of a registry, whatever its kind.

use super::message_indexes;
use crate::{Fault, avro::AvroSchema, document::Document, json, protobuf::ProtobufSchema};

/// How the messages of a schema are written.
#[derive(Debug, Clone)]
pub enum Schema {
    /// An Avro datum.
    Avro(AvroSchema),
    /// A Protobuf message behind its place in the file.
    Protobuf(ProtobufSchema),
    /// JSON, which is read without a look at its schema.
    Json,
}

impl Schema {
    /// Reads what comes after the id.
    ///
    /// # Errors
    /// Bytes that were not written with this schema, and values that cannot be kept.
    pub fn decode(&self, body: &[u8]) -> Result<Document, Fault> {
        match self {
            Schema::Avro(schema) => schema.decode(body),
            Schema::Protobuf(schema) => {
                let (indexes, message) = message_indexes(body)?;
                schema.decode_at(&indexes, message)
            }
            Schema::Json => {
                let text = std::str::from_utf8(body);
                json::read_document(text.map_err(|_| Fault::syntax("the message is not UTF-8"))?)
            }
        }
    }
}
