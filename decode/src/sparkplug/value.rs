//! From a value as written and its data type to a document. Data types are numbered as in the
//! specification's chapter on payloads.

use super::payload::{FORMAT, Metric, Raw, raw};
use crate::{
    CELL_BYTES_MAX, FIELDS_MAX, Fault,
    document::Document,
    excerpt,
    wire::{Value, Wire},
};
use oribi_model::RejectReason;

const INT8: u32 = 1;
const INT16: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;
const UINT64: u32 = 8;
const BOOLEAN: u32 = 11;
const DATE_TIME: u32 = 13;
const ARRAYS: std::ops::RangeInclusive<u32> = 22..=34;

/// Deepest nesting of templates.
const TEMPLATE_DEPTH_MAX: usize = 8;

/// Reads a value; `None` for the definition of a template, which holds no measurement.
pub(super) fn read(raw: Raw<'_>, datatype: Option<u32>) -> Result<Option<Document>, Fault> {
    read_at(raw, datatype, 0)
}

/// Milliseconds since the Unix epoch as nanoseconds.
pub(super) fn time_ns(ms: u64) -> Result<i64, Fault> {
    let ns = i64::try_from(ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
    ns.ok_or_else(|| {
        let detail = format!("the time {ms} ms lies beyond the years 1677 to 2262");
        Fault::new(RejectReason::Time, detail)
    })
}

fn read_at(raw: Raw<'_>, datatype: Option<u32>, depth: usize) -> Result<Option<Document>, Fault> {
    let datatype = datatype.filter(|datatype| *datatype != 0);
    Ok(Some(match (raw, datatype) {
        (Raw::Int(value), datatype) => integer(u64::from(value), datatype)?,
        (Raw::Long(value), datatype) => integer(value, datatype)?,
        (Raw::Float(value), _) => float(f64::from(value))?,
        (Raw::Double(value), _) => float(value)?,
        (Raw::Bool(value), _) => Document::Bool(value),
        (Raw::Text(text), _) => Document::Text(text_of(text)?),
        (Raw::Bytes(bytes), Some(datatype)) if ARRAYS.contains(&datatype) => {
            Document::List(array(bytes, datatype)?)
        }
        (Raw::Bytes(bytes), _) => Document::Bytes(bytes.to_vec()),
        (Raw::DataSet(bytes), _) => data_set(bytes)?,
        (Raw::Template(bytes), _) => return template(bytes, depth),
        (Raw::Extension, _) => {
            return Err(Fault::syntax("an extension of another vendor, which is not known"));
        }
    }))
}

fn integer(value: u64, datatype: Option<u32>) -> Result<Document, Fault> {
    Ok(match datatype {
        Some(INT8) => Document::Int(i64::from(value as i8)),
        Some(INT16) => Document::Int(i64::from(value as i16)),
        Some(INT32) => Document::Int(i64::from(value as i32)),
        Some(INT64) => Document::Int(value as i64),
        Some(DATE_TIME) => Document::Time(time_ns(value)?),
        Some(BOOLEAN) => Document::Bool(value != 0),
        _ => match i64::try_from(value) {
            Ok(value) => Document::Int(value),
            Err(_) => {
                let detail = format!("{value} does not fit into 64 bits with a sign");
                return Err(Fault::new(RejectReason::Number, detail));
            }
        },
    })
}

fn float(value: f64) -> Result<Document, Fault> {
    if value.is_finite() {
        return Ok(Document::Float(value));
    }
    let detail = format!("{value} is no number that can be kept");
    Err(Fault::new(RejectReason::Number, detail))
}

fn text_of(bytes: &[u8]) -> Result<String, Fault> {
    if bytes.len() > CELL_BYTES_MAX {
        let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", bytes.len());
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::syntax("a text is not UTF-8"))?;
    Ok(text.to_owned())
}

/// An array, whose elements are little-endian, bits, or texts that end with a NUL.
fn array(bytes: &[u8], datatype: u32) -> Result<Vec<Document>, Fault> {
    let whole = |width: usize| match bytes.len() % width {
        0 => Ok(bytes.chunks_exact(width)),
        _ => Err(Fault::syntax(format!("an array of {} bytes has a broken end", bytes.len()))),
    };
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0u64, |word, b| word << 8 | u64::from(*b));
    check_count(match datatype {
        32 => bytes.len().saturating_sub(4) * 8,
        22 | 26 => bytes.len(),
        33 => 0,
        23 | 27 => bytes.len() / 2,
        24 | 28 | 30 => bytes.len() / 4,
        _ => bytes.len() / 8,
    })?;
    match datatype {
        22..=25 => {
            let scalar = datatype - 21;
            whole(1 << (datatype - 22))?.map(|chunk| integer(word(chunk), Some(scalar))).collect()
        }
        26..=29 => {
            whole(1 << (datatype - 26))?.map(|chunk| integer(word(chunk), Some(UINT64))).collect()
        }
        30 => {
            let bits = whole(4)?.map(|chunk| f32::from_bits(word(chunk) as u32));
            bits.map(|value| float(f64::from(value))).collect()
        }
        31 => whole(8)?.map(|chunk| float(f64::from_bits(word(chunk)))).collect(),
        32 => bits(bytes),
        33 => {
            let Some(texts) = bytes.strip_suffix(b"\0") else {
                return match bytes {
                    [] => Ok(Vec::new()),
                    _ => Err(Fault::syntax("an array of texts does not end with a NUL")),
                };
            };
            check_count(texts.iter().filter(|byte| **byte == 0).count() + 1)?;
            texts.split(|byte| *byte == 0).map(|text| text_of(text).map(Document::Text)).collect()
        }
        _ => whole(8)?.map(|chunk| time_ns(word(chunk)).map(Document::Time)).collect(),
    }
}

fn bits(bytes: &[u8]) -> Result<Vec<Document>, Fault> {
    let broken = || Fault::syntax("an array of booleans does not fit its length");
    let Some((length, packed)) = bytes.split_first_chunk::<4>() else { return Err(broken()) };
    let length = u32::from_le_bytes(*length) as usize;
    if length.div_ceil(8) != packed.len() {
        return Err(broken());
    }
    let bit = |at: usize| packed[at / 8] & (0x80 >> (at % 8)) != 0;
    Ok((0..length).map(|at| Document::Bool(bit(at))).collect())
}

/// Refuses what no row can hold before it is built.
fn check_count(values: usize) -> Result<(), Fault> {
    if values > FIELDS_MAX + 8 {
        let detail = format!("{values} values in one metric; a row holds {FIELDS_MAX}");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}

/// A table within a metric: a list of its rows.
fn data_set(bytes: &[u8]) -> Result<Document, Fault> {
    let (mut columns, mut types, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut wire = Wire::new(bytes, FORMAT);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (2, Value::Bytes(name)) => columns.push(text_of(name)?),
            (3, Value::Varint(datatype)) => types.push(datatype as u32),
            (3, Value::Bytes(packed)) => {
                let mut packed = Wire::new(packed, FORMAT);
                while !packed.is_empty() {
                    check_count(types.len())?;
                    types.push(packed.varint()? as u32);
                }
            }
            (4, Value::Bytes(row)) => rows.push(row),
            _ => {}
        }
        check_count(columns.len().max(types.len()).max(rows.len()))?;
    }
    check_count(columns.len() * rows.len())?;
    if columns.len() != types.len() {
        return Err(Fault::syntax("a data set has not as many types as columns"));
    }
    let row = |bytes: &&[u8]| data_set_row(bytes, &columns, &types);
    rows.iter().map(row).collect::<Result<_, _>>().map(Document::List)
}

fn data_set_row(bytes: &[u8], columns: &[String], types: &[u32]) -> Result<Document, Fault> {
    let mut members = Vec::with_capacity(columns.len());
    let mut wire = Wire::new(bytes, FORMAT);
    while let Some((number, value)) = wire.field()? {
        let (1, Value::Bytes(element)) = (number, value) else { continue };
        let at = members.len();
        let (Some(column), Some(datatype)) = (columns.get(at), types.get(at)) else {
            return Err(Fault::syntax("a row of a data set has more values than columns"));
        };
        let mut wire = Wire::new(element, FORMAT);
        let value = match wire.field()? {
            Some((number @ 1..=6, value)) => {
                read_at(raw(number, value, &wire)?, Some(*datatype), 0)?
            }
            // A value that is left out is null.
            _ => None,
        };
        members.push((column.clone(), value.unwrap_or(Document::Null)));
    }
    if members.len() < columns.len() {
        return Err(Fault::syntax("a row of a data set has fewer values than columns"));
    }
    Document::map(members)
}

/// An instance of a template: its metrics by name.
fn template(bytes: &[u8], depth: usize) -> Result<Option<Document>, Fault> {
    if depth == TEMPLATE_DEPTH_MAX {
        let detail = format!("templates nest deeper than {TEMPLATE_DEPTH_MAX} levels");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    let mut members = Vec::new();
    let mut wire = Wire::new(bytes, FORMAT);
    while let Some((number, value)) = wire.field()? {
        match (number, value) {
            (2, Value::Bytes(metric)) => {
                check_count(members.len())?;
                let metric = Metric::read(metric)?;
                let Some(name) = metric.name else {
                    return Err(Fault::syntax("a metric of a template has no name"));
                };
                let Some(raw) = metric.raw else { continue };
                let value = read_at(raw, metric.datatype, depth + 1).map_err(|fault| {
                    let name = excerpt(name, 64);
                    Fault::new(fault.reason, format!("{name:?}: {}", fault.detail))
                })?;
                members.extend(value.map(|value| (name.to_owned(), value)));
            }
            (5, Value::Varint(1)) => return Ok(None),
            _ => {}
        }
    }
    Document::map(members).map(Some)
}
