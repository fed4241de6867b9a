//! The payload's protobuf message, read without copies. Names and numbers of its members are those
//! of `sparkplug_b.proto` in the specification.

use crate::{
    Fault, excerpt,
    wire::{Value, Wire},
};
use flate2::read::{GzDecoder, ZlibDecoder};
use oribi_model::RejectReason;
use std::io::Read;

pub(super) const FORMAT: &str = "the Sparkplug payload";

/// Most metrics of one message.
pub(super) const METRICS_MAX: usize = 16_384;

/// The UUID that marks a payload whose body holds another one, compressed. Neither it nor its
/// algorithms stand in the specification; Eclipse Tahu's libraries write them.
const COMPRESSED: &[u8] = b"SPBV1.0_COMPRESSED";
/// The metric that names how; DEFLATE, with the frame of zlib (RFC 1950), where it is missing.
const ALGORITHM: &str = "algorithm";
/// Most bytes of a payload that came compressed.
const INFLATED_BYTES_MAX: u64 = 8 << 20;

/// A message.
#[derive(Debug, Default)]
pub(super) struct Payload<'a> {
    pub(super) timestamp_ms: Option<u64>,
    pub(super) seq: Option<u64>,
    pub(super) metrics: Vec<Metric<'a>>,
    uuid: Option<&'a [u8]>,
    body: &'a [u8],
}

/// One value of a message.
#[derive(Debug, Default, Clone)]
pub(super) struct Metric<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) alias: Option<u64>,
    pub(super) timestamp_ms: Option<u64>,
    pub(super) datatype: Option<u32>,
    pub(super) raw: Option<Raw<'a>>,
}

/// A value as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Raw<'a> {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Bool(bool),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    DataSet(&'a [u8]),
    Template(&'a [u8]),
    Extension,
}

impl<'a> Payload<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Payload<'a>, Fault> {
        let mut payload = Payload::default();
        let mut wire = Wire::new(bytes, FORMAT);
        while let Some((number, value)) = wire.field()? {
            match (number, value) {
                (1, Value::Varint(ms)) => payload.timestamp_ms = Some(ms),
                (2, Value::Bytes(metric)) => {
                    if payload.metrics.len() == METRICS_MAX {
                        let detail = format!("more than {METRICS_MAX} metrics in one message");
                        return Err(Fault::new(RejectReason::Limit, detail));
                    }
                    payload.metrics.push(Metric::read(metric)?);
                }
                (3, Value::Varint(seq)) => payload.seq = Some(seq),
                (4, Value::Bytes(uuid)) => payload.uuid = Some(uuid),
                (5, Value::Bytes(body)) => payload.body = body,
                (1..=3, _) => return Err(wire.fault("a member of another type")),
                _ => {}
            }
        }
        Ok(payload)
    }

    /// The payload that is compressed in the body of this one, if there is one.
    pub(super) fn inflate(&self) -> Result<Option<Vec<u8>>, Fault> {
        if self.uuid != Some(COMPRESSED) {
            return Ok(None);
        }
        let algorithm = self.metrics.iter().find(|metric| metric.name == Some(ALGORITHM));
        let name = match algorithm.and_then(|metric| metric.raw) {
            None => b"DEFLATE",
            Some(Raw::Text(name)) => name,
            Some(_) => return Err(Fault::syntax("the name of a compression is no text")),
        };
        let decoder: Box<dyn Read> = match name.to_ascii_uppercase().as_slice() {
            b"DEFLATE" => Box::new(ZlibDecoder::new(self.body)),
            b"GZIP" => Box::new(GzDecoder::new(self.body)),
            _ => {
                let name = String::from_utf8_lossy(name);
                let detail = format!("a compression {:?} that is not known", excerpt(&name, 64));
                return Err(Fault::syntax(detail));
            }
        };
        let mut plain = Vec::new();
        let inflated = decoder.take(INFLATED_BYTES_MAX + 1).read_to_end(&mut plain);
        inflated.map_err(|wrong| Fault::syntax(format!("the compressed payload: {wrong}")))?;
        if plain.len() as u64 > INFLATED_BYTES_MAX {
            let detail = format!("a compressed payload of more than {INFLATED_BYTES_MAX} bytes");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        Ok(Some(plain))
    }

    /// The payload that came compressed in this one, which says what that leaves out.
    pub(super) fn opened<'p>(&self, plain: &'p [u8]) -> Result<Payload<'p>, Fault> {
        let inner = Payload::read(plain)?;
        Ok(Payload {
            timestamp_ms: inner.timestamp_ms.or(self.timestamp_ms),
            seq: inner.seq.or(self.seq),
            ..inner
        })
    }
}

impl<'a> Metric<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Metric<'a>, Fault> {
        let mut metric = Metric::default();
        let mut is_null = false;
        let mut wire = Wire::new(bytes, FORMAT);
        while let Some((number, value)) = wire.field()? {
            match (number, value) {
                (1, Value::Bytes(name)) => {
                    let name = std::str::from_utf8(name);
                    metric.name = Some(name.map_err(|_| wire.fault("a name is not UTF-8"))?);
                }
                (2, Value::Varint(alias)) => metric.alias = Some(alias),
                (3, Value::Varint(ms)) => metric.timestamp_ms = Some(ms),
                (4, Value::Varint(datatype)) => metric.datatype = u32::try_from(datatype).ok(),
                (7, Value::Varint(flag)) => is_null = flag != 0,
                // Whether it is historical or transient, what is known about it, its properties.
                (5 | 6, Value::Varint(_)) | (8 | 9, Value::Bytes(_)) => {}
                (10..=19, value) => metric.raw = Some(raw(number - 9, value, &wire)?),
                (1..=9, _) => return Err(wire.fault("a member of another type")),
                _ => {}
            }
        }
        if is_null {
            metric.raw = None;
        }
        Ok(metric)
    }
}

/// A value, whose members are numbered alike in metrics (from 10) and data sets (from 1).
pub(super) fn raw<'a>(number: u32, value: Value<'a>, wire: &Wire<'_>) -> Result<Raw<'a>, Fault> {
    Ok(match (number, value) {
        // Negative numbers may come with their sign in 64 bits.
        (1, Value::Varint(value)) => Raw::Int(value as u32),
        (2, Value::Varint(value)) => Raw::Long(value),
        (3, Value::Fixed32(bits)) => Raw::Float(f32::from_bits(bits)),
        (4, Value::Fixed64(bits)) => Raw::Double(f64::from_bits(bits)),
        (5, Value::Varint(flag)) => Raw::Bool(flag != 0),
        (6, Value::Bytes(text)) => Raw::Text(text),
        (7, Value::Bytes(bytes)) => Raw::Bytes(bytes),
        (8, Value::Bytes(bytes)) => Raw::DataSet(bytes),
        (9, Value::Bytes(bytes)) => Raw::Template(bytes),
        (10, _) => Raw::Extension,
        _ => return Err(wire.fault("a value of another type")),
    })
}
