//! What comes of a wish, as the body of a frame.

use super::{VERSION, nanos};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_model::TimeRange;
use std::time::Duration;

const HEAD_BYTES: usize = 22;
const LENGTH_BYTES: usize = 4;

/// What comes of a scan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Some blocks, in order.
    Blocks {
        blocks: Vec<Bytes>,
        /// Under which number more is to come; `None`: this was all.
        more: Option<u64>,
        /// How old what was read may be, where it may be old.
        age: Duration,
    },
    /// It cannot be read, and why.
    Failed(String),
}

const ALL: u8 = 0;
const MORE: u8 = 1;
const FAILED: u8 = 2;

impl Piece {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Piece::Failed(reason) => {
                out.put_u8(FAILED);
                out.put_slice(reason.as_bytes());
            }
            Piece::Blocks { blocks, more, age } => {
                let bytes: usize = blocks.iter().map(|block| LENGTH_BYTES + block.len()).sum();
                out.reserve(HEAD_BYTES + bytes);
                out.put_u8(if more.is_some() { MORE } else { ALL });
                out.put_u64_le(more.unwrap_or(0));
                out.put_u64_le(nanos(*age));
                out.put_u32_le(blocks.len() as u32);
                for block in blocks {
                    out.put_u32_le(block.len() as u32);
                    out.put_slice(block);
                }
            }
        }
        out.freeze()
    }

    pub(crate) fn decode(mut body: Bytes) -> Option<Piece> {
        if body.try_get_u8().ok()? != VERSION {
            return None;
        }
        let state = body.try_get_u8().ok()?;
        if state == FAILED {
            return String::from_utf8(body.to_vec()).ok().map(Piece::Failed);
        }
        let more = match (state, body.try_get_u64_le().ok()?) {
            (ALL, 0) => None,
            (MORE, scan) => Some(scan),
            _ => return None,
        };
        let age = Duration::from_nanos(body.try_get_u64_le().ok()?);
        let count = body.try_get_u32_le().ok()? as usize;
        if count > body.len() / LENGTH_BYTES {
            return None;
        }
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            let length = body.try_get_u32_le().ok()? as usize;
            if length > body.len() {
                return None;
            }
            blocks.push(body.split_to(length));
        }
        body.is_empty().then_some(Piece::Blocks { blocks, more, age })
    }
}

/// How much a tablet holds: rows, bytes on disk, times.
pub(crate) type Holds = (u64, u64, Option<TimeRange>);

/// The answer about so many tablets, in their order: one part for each.
pub(crate) fn encode_holds(holds: &[Holds]) -> Vec<Bytes> {
    let encode = |one: &Holds| {
        let mut out = BytesMut::with_capacity(33);
        out.put_u64_le(one.0);
        out.put_u64_le(one.1);
        out.put_u8(u8::from(one.2.is_some()));
        if let Some(time) = one.2 {
            out.put_i64_le(time.start);
            out.put_i64_le(time.end);
        }
        out.freeze()
    };
    holds.iter().map(encode).collect()
}

/// Reads a part of what [`encode_holds`] gave.
pub(crate) fn decode_hold(mut part: Bytes) -> Option<Holds> {
    let (rows, bytes) = (part.try_get_u64_le().ok()?, part.try_get_u64_le().ok()?);
    let time = match part.try_get_u8().ok()? {
        0 => None,
        1 => Some(TimeRange::new(part.try_get_i64_le().ok()?, part.try_get_i64_le().ok()?)),
        _ => return None,
    };
    part.is_empty().then_some((rows, bytes, time))
}
