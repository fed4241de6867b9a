//! CBOR (RFC 8949): a map is a row, an array of maps several. Tags 0 and 1 are times; of other tags
//! the content counts.

use super::{Fault, binary::Reader, document::Document, time};
use oribi_model::RejectReason;

const BREAK: u8 = 0xff;
const TEXT_TIME: u64 = 0;
const EPOCH_TIME: u64 = 1;

/// Reads one item that takes all bytes.
///
/// # Errors
/// Bytes that are no CBOR, and values that cannot be kept.
pub fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let mut reader = Reader::new(bytes, "CBOR");
    let document = item(&mut reader, 0)?;
    reader.end()?;
    Ok(document)
}

/// The argument of a head; `None` where the length is indefinite.
fn argument(reader: &mut Reader<'_>, info: u8) -> Result<Option<u64>, Fault> {
    Ok(Some(match info {
        0..=23 => u64::from(info),
        24 => u64::from(reader.byte()?),
        25 => u64::from(u16::from_be_bytes(reader.array()?)),
        26 => u64::from(u32::from_be_bytes(reader.array()?)),
        27 => u64::from_be_bytes(reader.array()?),
        31 => return Ok(None),
        _ => return Err(reader.fault("a reserved length")),
    }))
}

fn item(reader: &mut Reader<'_>, depth: usize) -> Result<Document, Fault> {
    reader.begin_value(depth)?;
    let head = reader.byte()?;
    let (kind, info) = (head >> 5, head & 0x1f);
    if kind == 7 {
        return simple(reader, info);
    }
    let size = argument(reader, info)?;
    let definite = |reader: &Reader<'_>| size.ok_or_else(|| reader.fault("a length is missing"));
    Ok(match kind {
        0 => reader.unsigned(definite(reader)?)?,
        1 => {
            let below = i64::try_from(definite(reader)?).map_err(|_| {
                let detail = "a number does not fit into 64 bits with a sign";
                Fault::new(RejectReason::Number, detail)
            })?;
            Document::Int(-1 - below)
        }
        2 => Document::Bytes(chunks(reader, kind, size)?),
        3 => {
            let bytes = chunks(reader, kind, size)?;
            Document::Text(Reader::new(&bytes, "CBOR").text(bytes.len() as u64)?)
        }
        4 => {
            let mut values = Vec::new();
            each(reader, size, |reader| {
                values.push(item(reader, depth + 1)?);
                Ok(())
            })?;
            Document::List(values)
        }
        5 => {
            let mut members = Vec::new();
            each(reader, size, |reader| {
                let name = item(reader, depth + 1)?;
                members.push((reader.name(&name)?, item(reader, depth + 1)?));
                Ok(())
            })?;
            Document::map(members)?
        }
        _ => {
            let tag = definite(reader)?;
            let content = item(reader, depth + 1)?;
            tagged(reader, tag, content)?
        }
    })
}

/// Reads so many items, or up to the break.
fn each(
    reader: &mut Reader<'_>,
    count: Option<u64>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match count {
        Some(count) => {
            reader.check_count(count)?;
            (0..count).try_for_each(|_| read(reader))
        }
        None => {
            while reader.peek() != Some(BREAK) {
                read(reader)?;
            }
            reader.byte().map(drop)
        }
    }
}

/// A string of bytes or text, whole or in chunks of the same kind.
fn chunks(reader: &mut Reader<'_>, kind: u8, size: Option<u64>) -> Result<Vec<u8>, Fault> {
    if let Some(size) = size {
        return reader.bytes(size).map(<[u8]>::to_vec);
    }
    let mut whole = Vec::new();
    each(reader, None, |reader| {
        let head = reader.byte()?;
        let size = argument(reader, head & 0x1f)?.filter(|_| head >> 5 == kind);
        let size = size.ok_or_else(|| reader.fault("a chunk of another kind"))?;
        whole.extend_from_slice(reader.bytes(size)?);
        Ok(())
    })?;
    Ok(whole)
}

fn simple(reader: &mut Reader<'_>, info: u8) -> Result<Document, Fault> {
    Ok(match info {
        20 => Document::Bool(false),
        21 => Document::Bool(true),
        22 | 23 => Document::Null,
        25 => Document::Float(half(u16::from_be_bytes(reader.array()?))),
        26 => Document::Float(f64::from(f32::from_be_bytes(reader.array()?))),
        27 => Document::Float(f64::from_be_bytes(reader.array()?)),
        _ => return Err(reader.fault("a simple value that is not known")),
    })
}

/// A float of 16 bits (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

fn tagged(reader: &Reader<'_>, tag: u64, content: Document) -> Result<Document, Fault> {
    match (tag, content) {
        (TEXT_TIME, Document::Text(text)) => time::parse_text(&text).map(Document::Time),
        (EPOCH_TIME, Document::Int(seconds)) => reader.moment(seconds, 0),
        (EPOCH_TIME, Document::Float(seconds)) if seconds.abs() < 9.2e9 => {
            let whole = seconds.floor();
            reader.moment(whole as i64, ((seconds - whole) * 1e9).round() as i64)
        }
        (TEXT_TIME | EPOCH_TIME, _) => Err(reader.fault("a time that is no time")),
        (_, content) => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read_document;
    use proptest::prelude::*;

    #[test]
    fn examples_of_the_rfc_are_read() {
        // RFC 8949, appendix A.
        let cases: [(&[u8], &str); 10] = [
            (b"\x18\x64", "100"),
            (b"\x1b\x00\x00\x00\xe8\xd4\xa5\x10\x00", "1000000000000"),
            (b"\x39\x03\xe7", "-1000"),
            (b"\xf9\x3e\x00", "1.5"),
            (b"\xf9\xc4\x00", "-4.0"),
            (b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a", "1.1"),
            (b"\x83\x01\x82\x02\x03\x82\x04\x05", "[1,[2,3],[4,5]]"),
            (b"\xbf\x61\x61\x01\x61\x62\x9f\x02\x03\xff\xff", r#"{"a":1,"b":[2,3]}"#),
            (b"\x7f\x65\x73\x74\x72\x65\x61\x64\x6d\x69\x6e\x67\xff", r#""streaming""#),
            (b"\xa2\x01\x02\x03\x04", r#"{"1":2,"3":4}"#),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes).unwrap(), read_document(expected).unwrap(), "{expected}");
        }
        let time = Document::Time(1_363_896_240_000_000_000);
        assert_eq!(read(b"\xc0\x74\x32\x30\x31\x33\x2d\x30\x33\x2d\x32\x31\x54\x32\x30\x3a\x30\x34\x3a\x30\x30\x5a").unwrap(), time);
        assert_eq!(read(b"\xc1\x1a\x51\x4b\x67\xb0").unwrap(), time);
        let half = Document::Time(1_363_896_240_500_000_000);
        assert_eq!(read(b"\xc1\xfb\x41\xd4\x52\xd9\xec\x20\x00\x00").unwrap(), half);
        assert_eq!(read(b"\x44\x01\x02\x03\x04").unwrap(), Document::Bytes(vec![1, 2, 3, 4]));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let deep = [0x81; 100];
        let cases: [&[u8]; 9] = [
            b"",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x9f\x01",
            b"\x7f\x41\x61\xff",
            b"\xa1\x80\x01",
            b"\xff",
            &deep,
        ];
        for bytes in cases {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(read(&bytes));
        }
    }
}
