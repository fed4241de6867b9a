//! One cell as text.

use crate::{Error, Result, civil::civil_of};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    StringViewArray, UInt64Array, cast::AsArray,
};
use arrow_schema::{DataType, TimeUnit};

/// An array that writes its cells.
pub(super) enum Writer {
    Int(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    Text(StringArray),
    View(StringViewArray),
    /// Times in a unit of which a second has so many.
    Time(Int64Array, i64),
    /// A number as it is written.
    Digits(StringArray),
    Null,
}

impl Writer {
    /// Writers for the columns of a batch.
    pub(super) fn all(batch: &RecordBatch) -> Result<Vec<Writer>> {
        batch.columns().iter().map(Writer::of).collect()
    }

    fn of(array: &ArrayRef) -> Result<Writer> {
        let cast = |to: &DataType| {
            arrow_cast::cast(array, to).map_err(|error| Error::Internal {
                detail: format!("a column of type {} has no text: {error}", array.data_type()),
            })
        };
        Ok(match array.data_type() {
            DataType::UInt64 => Writer::Unsigned(array.as_primitive().clone()),
            DataType::Null => Writer::Null,
            DataType::Boolean => Writer::Bool(array.as_boolean().clone()),
            DataType::Utf8 => Writer::Text(array.as_string().clone()),
            DataType::Utf8View => Writer::View(array.as_string_view().clone()),
            DataType::Timestamp(unit, _) => {
                let a_second = match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => 1_000_000_000,
                };
                Writer::Time(cast(&DataType::Int64)?.as_primitive().clone(), a_second)
            }
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => {
                Writer::Digits(cast(&DataType::Utf8)?.as_string().clone())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Writer::Text(hexadecimal(&cast(&DataType::Binary)?))
            }
            DataType::FixedSizeBinary(_) => Writer::Text(hexadecimal(&cast(&DataType::Binary)?)),
            kind if kind.is_integer() => {
                Writer::Int(cast(&DataType::Int64)?.as_primitive().clone())
            }
            kind if kind.is_numeric() => {
                Writer::Float(cast(&DataType::Float64)?.as_primitive().clone())
            }
            kind if kind.is_nested() => Writer::Text(nested(array)?),
            _ => Writer::Text(cast(&DataType::Utf8)?.as_string().clone()),
        })
    }

    /// Appends the cell as JSON.
    pub(super) fn json(&self, out: &mut Vec<u8>, row: usize) {
        match self {
            Writer::Text(array) if array.is_valid(row) => json_text(out, array.value(row)),
            Writer::View(array) if array.is_valid(row) => json_text(out, array.value(row)),
            Writer::Time(array, a_second) if array.is_valid(row) => {
                out.push(b'"');
                time(out, array.value(row), *a_second);
                out.push(b'"');
            }
            _ => {
                let before = out.len();
                self.csv(out, row);
                if out.len() == before {
                    out.extend_from_slice(b"null");
                }
            }
        }
    }

    /// Appends the cell as CSV; null is empty.
    pub(super) fn csv(&self, out: &mut Vec<u8>, row: usize) {
        match self {
            Writer::Int(array) if array.is_valid(row) => {
                out.extend_from_slice(itoa::Buffer::new().format(array.value(row)).as_bytes());
            }
            Writer::Unsigned(array) if array.is_valid(row) => {
                out.extend_from_slice(itoa::Buffer::new().format(array.value(row)).as_bytes());
            }
            Writer::Float(array) if array.is_valid(row) && array.value(row).is_finite() => {
                out.extend_from_slice(
                    ryu::Buffer::new().format_finite(array.value(row)).as_bytes(),
                );
            }
            Writer::Bool(array) if array.is_valid(row) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            Writer::Text(array) if array.is_valid(row) => csv_text(out, array.value(row)),
            Writer::View(array) if array.is_valid(row) => csv_text(out, array.value(row)),
            Writer::Time(array, a_second) if array.is_valid(row) => {
                time(out, array.value(row), *a_second);
            }
            Writer::Digits(array) if array.is_valid(row) => {
                out.extend_from_slice(array.value(row).as_bytes());
            }
            _ => {}
        }
    }
}

fn hexadecimal(array: &ArrayRef) -> StringArray {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    array.as_binary::<i32>().iter().map(|bytes| bytes.map(text)).collect()
}

fn nested(array: &ArrayRef) -> Result<StringArray> {
    let failed = |error: arrow_schema::ArrowError| Error::Internal { detail: error.to_string() };
    let options = arrow_cast::display::FormatOptions::default().with_null("null");
    let formatter =
        arrow_cast::display::ArrayFormatter::try_new(array, &options).map_err(failed)?;
    let texts =
        (0..array.len()).map(|row| array.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(texts.collect())
}

/// Appends text as a JSON string.
pub(super) fn json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// Appends text as a CSV cell, quoted where it must be: also where it would be read as something
/// else. The empty text is `""`, null is empty.
pub(super) fn csv_text(out: &mut Vec<u8>, text: &str) {
    const OTHERS: [&str; 5] = ["true", "false", "na", "nan", "null"];
    let trimmed = text.trim();
    let is_like_another = trimmed.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        || OTHERS.iter().any(|other| trimmed.eq_ignore_ascii_case(other));
    if !trimmed.is_empty() && !is_like_another && !text.contains([',', '"', '\n', '\r']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// Appends a time, in a unit of which a second has `a_second`, as RFC 3339 in UTC with as many
/// decimals as needed. Years that have not four digits come with a sign and at least six.
fn time(out: &mut Vec<u8>, value: i64, a_second: i64) {
    let seconds = value.div_euclid(a_second);
    let nanos = value.rem_euclid(a_second) * (1_000_000_000 / a_second);
    let (year, month, day) = civil_of(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let mut number = |value: i64, width: usize, before: &[u8]| {
        out.extend_from_slice(before);
        let mut digits = [b'0'; 12];
        let mut left = value;
        for place in (0..width).rev() {
            digits[place] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&digits[..width]);
    };
    match year {
        0..=9_999 => number(year, 4, b""),
        _ => number(
            year.abs(),
            if year.abs() < 1_000_000 { 6 } else { 12 },
            if year < 0 { b"-" } else { b"+" },
        ),
    }
    number(month, 2, b"-");
    number(day, 2, b"-");
    number(of_day / 3_600, 2, b"T");
    number(of_day / 60 % 60, 2, b":");
    number(of_day % 60, 2, b":");
    if nanos > 0 {
        number(nanos, 9, b".");
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_decimals_they_need() {
        for (ns, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_451_606_400_000_000_000, "2016-01-01T00:00:00Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            let mut out = Vec::new();
            time(&mut out, ns, 1_000_000_000);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn times_beyond_nanoseconds_are_written_too() {
        for (seconds, expected) in [
            (99_999_999_999, "5138-11-16T09:46:39Z"),
            (253_402_300_800, "+010000-01-01T00:00:00Z"),
            (-62_167_219_201, "-000001-12-31T23:59:59Z"),
            (i64::MAX, "+292277026596-12-04T15:30:07Z"),
        ] {
            let mut out = Vec::new();
            time(&mut out, seconds, 1);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn text_is_escaped() {
        let text = "a\"b\\c\nd\u{1}ü";
        let mut out = Vec::new();
        json_text(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
