//! The payload's protobuf message, read without copies. Names and numbers of its members are those
//! of `sparkplug_b.proto` in the specification.

use crate::decode::{
    Fault,
    wire::{Value, Wire},
};
use oribi_model::RejectReason;

pub(super) const FORMAT: &str = "the Sparkplug payload";

/// Most metrics of one message.
pub(super) const METRICS_MAX: usize = 16_384;

const COMPRESSED: &[u8] = b"SPBV1.0_COMPRESSED";

/// A message.
#[derive(Debug, Default)]
pub(super) struct Payload<'a> {
    pub(super) timestamp_ms: Option<u64>,
    pub(super) seq: Option<u64>,
    pub(super) metrics: Vec<Metric<'a>>,
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
                (4, Value::Bytes(COMPRESSED)) => {
                    return Err(Fault::syntax("compressed Sparkplug payloads are not read"));
                }
                (1..=3, _) => return Err(wire.fault("a member of another type")),
                _ => {}
            }
        }
        Ok(payload)
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
