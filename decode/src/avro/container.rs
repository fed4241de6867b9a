//! Container files ("Object Container Files"), which bring their schema along.

use super::{AvroSchema, FORMAT, read::Datum, snappy};
use crate::{
    Fault,
    binary::{Budget, Reader},
    document::Document,
    excerpt,
};
use oribi_model::RejectReason;
use std::io::Read;

const MAGIC: [u8; 4] = *b"Obj\x01";
const SYNC_BYTES: u64 = 16;

/// Most bytes of a container, decompressed.
pub(super) const CONTAINER_BYTES_MAX: usize = 16 << 20;

/// Whether the bytes begin as those of a container.
pub(super) fn is_container(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Reads a container whole: the list of its objects.
///
/// # Errors
/// Bytes that are no container, compressions other than `deflate`, `snappy` and `zstandard`, and
/// values that cannot be kept.
pub fn read_container(bytes: &[u8]) -> Result<Document, Fault> {
    let mut reader = Reader::new(bytes, FORMAT);
    if reader.array()? != MAGIC {
        return Err(reader.fault("it is no Avro container"));
    }
    let (schema, codec) = header(&mut reader)?;
    let sync = reader.bytes(SYNC_BYTES)?;
    let (mut objects, mut room) = (Vec::new(), CONTAINER_BYTES_MAX);
    let mut budget = Budget::new(FORMAT);
    while reader.peek().is_some() {
        let count = reader.length()?;
        let length = reader.length()?;
        let block = codec.decompress(reader.bytes(length)?, room)?;
        room -= block.len();
        let mut inner = Reader::within(budget, &block);
        for _ in 0..count {
            objects.push(Datum::new(&schema.types, &mut inner).root()?);
        }
        inner.end()?;
        budget = inner.into_budget();
        if reader.bytes(SYNC_BYTES)? != sync {
            return Err(reader.fault("a block does not end with the container's mark"));
        }
    }
    Ok(Document::List(objects))
}

fn header(reader: &mut Reader<'_>) -> Result<(AvroSchema, Codec), Fault> {
    let (mut schema, mut codec) = (None, Codec::Null);
    loop {
        let count = reader.long()?;
        if count == 0 {
            break;
        }
        if count < 0 {
            reader.length()?;
        }
        for _ in 0..count.unsigned_abs() {
            let length = reader.length()?;
            let name = reader.bytes(length)?;
            let length = reader.length()?;
            let value = reader.bytes(length)?;
            let text =
                || std::str::from_utf8(value).map_err(|_| Fault::syntax("a header is not UTF-8"));
            match name {
                b"avro.schema" => schema = Some(AvroSchema::parse(text()?)?),
                b"avro.codec" => codec = Codec::parse(text()?)?,
                _ => {}
            }
        }
    }
    let schema = schema.ok_or_else(|| reader.fault("the container has no schema"))?;
    Ok((schema, codec))
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    fn parse(name: &str) -> Result<Codec, Fault> {
        Ok(match name {
            "null" => Codec::Null,
            "deflate" => Codec::Deflate,
            "snappy" => Codec::Snappy,
            "zstandard" => Codec::Zstandard,
            other => {
                let other = excerpt(other, 32);
                let detail = format!("containers compressed with {other:?} are not read");
                return Err(Fault::syntax(detail));
            }
        })
    }

    fn decompress(self, block: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
        let broken = |wrong| Fault::syntax(format!("a block cannot be decompressed: {wrong}"));
        let limit = room as u64 + 1;
        let too_long = || {
            let detail = format!("a container of more than {CONTAINER_BYTES_MAX} bytes");
            Fault::new(RejectReason::Limit, detail)
        };
        let mut plain = Vec::new();
        match self {
            Codec::Null => block.take(limit).read_to_end(&mut plain),
            Codec::Deflate => {
                flate2::read::DeflateDecoder::new(block).take(limit).read_to_end(&mut plain)
            }
            Codec::Snappy => {
                return snappy::decompress(block, room)?.ok_or_else(too_long);
            }
            Codec::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::new(block).map_err(broken)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
                decoder.take(limit).read_to_end(&mut plain)
            }
        }
        .map_err(broken)?;
        if plain.len() > room {
            return Err(too_long());
        }
        Ok(plain)
    }
}

/// The largest window that a frame may ask for: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
