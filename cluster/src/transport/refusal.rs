//! How a node says that it does not do what a frame asks for. Nothing was changed then.

use crate::Incarnation;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The frame is for another replica than the one that is here.
    #[error("replica {have} is here, not the one that was meant")]
    WrongReplica {
        /// The one that is here.
        have: Incarnation,
    },
    /// There is no replica of the group here.
    #[error("there is no replica of the group here")]
    NoReplica,
    /// A kind of frame that this version does not know.
    #[error("frames of kind {0} are not known here")]
    UnknownKind(u8),
    /// Too much waits already.
    #[error("too much waits already; to be tried again after {retry_after_ms} ms")]
    Busy {
        /// When it may be better, ms.
        retry_after_ms: u32,
    },
    /// The body is not what the kind wants.
    #[error("the body of the frame cannot be read")]
    Malformed,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// A reason of a later version.
    #[error("refused for the unknown reason {0}")]
    Other(u8),
}

impl Refusal {
    /// `code u8`, and what belongs to it.
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(5);
        match self {
            Refusal::WrongReplica { have } => {
                out.put_u8(1);
                out.put_u32_le(have.0);
            }
            Refusal::NoReplica => out.put_u8(2),
            Refusal::UnknownKind(kind) => {
                out.put_u8(3);
                out.put_u8(kind);
            }
            Refusal::Busy { retry_after_ms } => {
                out.put_u8(4);
                out.put_u32_le(retry_after_ms);
            }
            Refusal::Malformed => out.put_u8(5),
            Refusal::Stopping => out.put_u8(6),
            Refusal::Other(code) => out.put_u8(code),
        }
        out.freeze()
    }

    /// Reads what [`Refusal::encode`] gave; what cannot be read is a refusal all the same.
    pub fn decode(mut body: &[u8]) -> Refusal {
        let Ok(code) = body.try_get_u8() else { return Refusal::Malformed };
        let known = match code {
            1 => {
                body.try_get_u32_le().map(|have| Refusal::WrongReplica { have: Incarnation(have) })
            }
            2 => Ok(Refusal::NoReplica),
            3 => body.try_get_u8().map(Refusal::UnknownKind),
            4 => body.try_get_u32_le().map(|retry_after_ms| Refusal::Busy { retry_after_ms }),
            5 => Ok(Refusal::Malformed),
            6 => Ok(Refusal::Stopping),
            code => Ok(Refusal::Other(code)),
        };
        known.unwrap_or(Refusal::Malformed)
    }
}
