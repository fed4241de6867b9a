//! Values as bytes.

use crate::{
    Result,
    form::{Take, put_sized, wrong},
};
use oribi_model::Value;

const NONE: u8 = 0;
const INT: u8 = 1;
const FLOAT: u8 = 2;
const BOOL: u8 = 3;
const TEXT: u8 = 4;

/// Appends a value or its absence.
pub(super) fn put_value(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        None => out.push(NONE),
        Some(Value::Int(value)) => {
            out.push(INT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Some(Value::Float(value)) => {
            out.push(FLOAT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Some(Value::Bool(value)) => out.extend_from_slice(&[BOOL, u8::from(*value)]),
        Some(Value::Text(text)) => {
            out.push(TEXT);
            put_sized(out, text.as_bytes());
        }
    }
}

/// Reads a value or its absence.
pub(super) fn take_value(from: &mut Take<'_>) -> Result<Option<Value>> {
    Ok(Some(match from.u8()? {
        NONE => return Ok(None),
        INT => Value::Int(from.i64()?),
        FLOAT => Value::Float(from.f64()?),
        BOOL => Value::Bool(match from.u8()? {
            0 => false,
            1 => true,
            _ => return Err(wrong("a boolean is none")),
        }),
        TEXT => Value::Text(from.text()?.into()),
        _ => return Err(wrong("a value has no known type")),
    }))
}

/// Bytes of a value besides its own.
pub(super) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.capacity(),
        _ => 0,
    }
}
