//! Avro ("Apache Avro Specification"): bare datums, objects with a fingerprint, and container files,
//! read with the schema they were written with.

mod canonical;
mod container;
mod read;
mod schema;
mod snappy;

use super::{Fault, binary::Reader, document::Document};
use read::Datum;
use schema::Types;

pub use container::read_container;

/// Longest text of a schema, bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;

const FORMAT: &str = "the Avro message";
const SINGLE_OBJECT: [u8; 2] = [0xc3, 0x01];
const FINGERPRINT_BYTES: usize = 8;

/// A writer's schema. Dates, timestamps of every unit, decimals and durations come out as what they
/// mean; moments without a zone count as UTC.
#[derive(Debug, Clone)]
pub struct AvroSchema {
    types: Types,
    fingerprint: u64,
}

impl AvroSchema {
    /// Reads the text of a schema file.
    ///
    /// # Errors
    /// Says what in it is wrong.
    pub fn parse(text: &str) -> Result<AvroSchema, Fault> {
        AvroSchema::parse_with(text, &[])
    }

    /// The same for a schema that uses named types of others, which come before those that use
    /// them.
    ///
    /// # Errors
    /// Says what in it is wrong.
    pub fn parse_with(text: &str, references: &[String]) -> Result<AvroSchema, Fault> {
        let length = text.len() + references.iter().map(String::len).sum::<usize>();
        if length > SCHEMA_BYTES_MAX {
            let detail =
                format!("an Avro schema of {length} bytes; at most {SCHEMA_BYTES_MAX} fit");
            return Err(Fault::new(oribi_model::RejectReason::Limit, detail));
        }
        let json = |text: &str| {
            serde_json::from_str(text)
                .map_err(|wrong| Fault::syntax(format!("the Avro schema is no JSON: {wrong}")))
        };
        let mut types = Types::default();
        for reference in references {
            types.add(&json(reference)?)?;
        }
        let schema = json(text)?;
        types.add(&schema)?;
        Ok(AvroSchema { types, fingerprint: canonical::fingerprint(&schema) })
    }

    /// CRC-64-AVRO of the schema's canonical form.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Reads a bare datum, which takes all bytes.
    ///
    /// # Errors
    /// Bytes that were not written with this schema, and values that cannot be kept.
    pub fn decode(&self, bytes: &[u8]) -> Result<Document, Fault> {
        let mut reader = Reader::new(bytes, FORMAT);
        let document = Datum::new(&self.types, &mut reader).root()?;
        reader.end()?;
        Ok(document)
    }

    /// Reads a datum behind the two bytes `c3 01` and the fingerprint of its schema.
    ///
    /// # Errors
    /// As [`AvroSchema::decode`]; another schema's fingerprint.
    pub fn decode_single_object(&self, bytes: &[u8]) -> Result<Document, Fault> {
        let marked = bytes.strip_prefix(&SINGLE_OBJECT);
        let Some((found, datum)) = marked.and_then(|rest| rest.split_first_chunk()) else {
            return Err(Fault::syntax("the message does not begin with an Avro fingerprint"));
        };
        let found: &[u8; FINGERPRINT_BYTES] = found;
        let found = u64::from_le_bytes(*found);
        if found != self.fingerprint {
            let expected = self.fingerprint;
            let detail = format!(
                "the message was written with schema {found:016x}; known is {expected:016x}"
            );
            return Err(Fault::syntax(detail));
        }
        self.decode(datum)
    }

    /// Reads any of the three forms, told apart by the first bytes. A container brings its own
    /// schema.
    ///
    /// # Errors
    /// As the forms.
    pub fn decode_message(&self, bytes: &[u8]) -> Result<Document, Fault> {
        let mark = self.fingerprint.to_le_bytes();
        match bytes.strip_prefix(&SINGLE_OBJECT) {
            _ if container::is_container(bytes) => read_container(bytes),
            Some(rest) if rest.starts_with(&mark) => self.decode(&rest[FINGERPRINT_BYTES..]),
            _ => self.decode(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
