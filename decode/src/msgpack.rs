//! MessagePack, after its specification of 2017: a map is a row, an array of maps several. The
//! timestamp extension (type -1) is a time; other extensions are bytes.

use super::{Fault, binary::Reader, document::Document};

const TIMESTAMP: i8 = -1;

/// Reads one value that takes all bytes.
///
/// # Errors
/// Bytes that are no MessagePack, and values that cannot be kept.
pub fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let mut reader = Reader::new(bytes, "MessagePack");
    let document = value(&mut reader, 0)?;
    reader.end()?;
    Ok(document)
}

fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Document, Fault> {
    reader.begin_value(depth)?;
    Ok(match reader.byte()? {
        kind @ 0x00..=0x7f => Document::Int(i64::from(kind)),
        kind @ 0xe0..=0xff => Document::Int(i64::from(kind as i8)),
        kind @ 0x80..=0x8f => map(reader, u64::from(kind & 0x0f), depth)?,
        kind @ 0x90..=0x9f => list(reader, u64::from(kind & 0x0f), depth)?,
        kind @ 0xa0..=0xbf => Document::Text(reader.text(u64::from(kind & 0x1f))?),
        0xc0 => Document::Null,
        0xc2 => Document::Bool(false),
        0xc3 => Document::Bool(true),
        kind @ 0xc4..=0xc6 => {
            let length = size(reader, kind - 0xc4)?;
            Document::Bytes(reader.bytes(length)?.to_vec())
        }
        kind @ 0xc7..=0xc9 => {
            let length = size(reader, kind - 0xc7)?;
            extension(reader, length)?
        }
        0xca => Document::Float(f64::from(f32::from_be_bytes(reader.array()?))),
        0xcb => Document::Float(f64::from_be_bytes(reader.array()?)),
        0xcc => Document::Int(i64::from(reader.byte()?)),
        0xcd => Document::Int(i64::from(u16::from_be_bytes(reader.array()?))),
        0xce => Document::Int(i64::from(u32::from_be_bytes(reader.array()?))),
        0xcf => {
            let value = u64::from_be_bytes(reader.array()?);
            reader.unsigned(value)?
        }
        0xd0 => Document::Int(i64::from(reader.byte()? as i8)),
        0xd1 => Document::Int(i64::from(i16::from_be_bytes(reader.array()?))),
        0xd2 => Document::Int(i64::from(i32::from_be_bytes(reader.array()?))),
        0xd3 => Document::Int(i64::from_be_bytes(reader.array()?)),
        kind @ 0xd4..=0xd8 => extension(reader, 1 << (kind - 0xd4))?,
        kind @ 0xd9..=0xdb => {
            let length = size(reader, kind - 0xd9)?;
            Document::Text(reader.text(length)?)
        }
        kind @ 0xdc..=0xdd => {
            let count = size(reader, kind - 0xdb)?;
            list(reader, count, depth)?
        }
        kind @ 0xde..=0xdf => {
            let count = size(reader, kind - 0xdd)?;
            map(reader, count, depth)?
        }
        0xc1 => return Err(reader.fault("the type 0xc1 is never used")),
    })
}

/// A length of 1, 2 or 4 bytes.
fn size(reader: &mut Reader<'_>, width: u8) -> Result<u64, Fault> {
    Ok(match width {
        0 => u64::from(reader.byte()?),
        1 => u64::from(u16::from_be_bytes(reader.array()?)),
        _ => u64::from(u32::from_be_bytes(reader.array()?)),
    })
}

fn list(reader: &mut Reader<'_>, count: u64, depth: usize) -> Result<Document, Fault> {
    reader.check_count(count)?;
    (0..count).map(|_| value(reader, depth + 1)).collect::<Result<_, _>>().map(Document::List)
}

fn map(reader: &mut Reader<'_>, count: u64, depth: usize) -> Result<Document, Fault> {
    reader.check_count(count)?;
    let mut members = Vec::new();
    for _ in 0..count {
        let name = value(reader, depth + 1)?;
        members.push((reader.name(&name)?, value(reader, depth + 1)?));
    }
    Document::map(members)
}

fn extension(reader: &mut Reader<'_>, length: u64) -> Result<Document, Fault> {
    let kind = reader.byte()? as i8;
    let bytes = reader.bytes(length)?;
    if kind != TIMESTAMP {
        return Ok(Document::Bytes(bytes.to_vec()));
    }
    match *bytes {
        [a, b, c, d] => reader.moment(i64::from(u32::from_be_bytes([a, b, c, d])), 0),
        [a, b, c, d, e, f, g, h] => {
            let word = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            reader.moment((word & 0x3_ffff_ffff) as i64, (word >> 34) as i64)
        }
        [a, b, c, d, ref rest @ ..] if rest.len() == 8 => {
            let mut seconds = [0; 8];
            seconds.copy_from_slice(rest);
            let ns = i64::from(u32::from_be_bytes([a, b, c, d]));
            reader.moment(i64::from_be_bytes(seconds), ns)
        }
        _ => Err(reader.fault("a timestamp has 4, 8 or 12 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read_document;
    use proptest::prelude::*;

    #[test]
    fn every_type_is_read() {
        // Written by the Python package msgpack 1.1.
        let cases: [(&[u8], &str); 6] = [
            (b"\x82\xa1t\xcb@5\x80\x00\x00\x00\x00\x00\xa1n\xc0", r#"{"t":21.5,"n":null}"#),
            (b"\x92\x81\xa1a\x01\x81\xa1a\xff", r#"[{"a":1},{"a":-1}]"#),
            (b"\x81\xa1a\x93\xcc\xc8\xcd\x01\x00\xce\x00\x01\x00\x00", r#"{"a":[200,256,65536]}"#),
            (
                b"\x81\xa1a\x93\xd0\x80\xd1\x80\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
                r#"{"a":[-128,-32768,-9223372036854775808]}"#,
            ),
            (b"\x81\xa1a\x92\xc3\xd9\x01x", r#"{"a":[true,"x"]}"#),
            (b"\xde\x00\x01\x07\xca?\x80\x00\x00", r#"{"7":1.0}"#),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes).unwrap(), read_document(expected).unwrap(), "{expected}");
        }
        let time = read(b"\xd7\xff\x00\x00\x00\x00\x65\x53\xf1\x00").unwrap();
        assert_eq!(time, Document::Time(1_700_000_000_000_000_000));
        assert_eq!(read(b"\xc4\x02\x01\x02").unwrap(), Document::Bytes(vec![1, 2]));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let deep = [0x91; 100];
        let cases: [&[u8]; 8] = [
            b"",
            b"\x81\xa1a",
            b"\xdd\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xffx",
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x82\xa1a\x01\xa1a\x02",
            b"\x01\x02",
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
