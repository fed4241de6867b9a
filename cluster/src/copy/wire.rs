//! What two replicas say to each other about a copy, as the bodies of frames; integers
//! little-endian.
//!
//! | part | bytes |
//! | --- | --- |
//! | request | `version u8, 1 u8, offer`, or `version u8, 2 u8, piece wanted` |
//! | offer | `source u64, pin u64, vote (length u8, bytes), state (length u32, bytes), count u32`, and of each file `bytes u64, crc u32` |
//! | piece wanted | `pin u64, file u32, offset u64, bytes u32` |
//! | answer to an offer | `version u8, 0 u8, vote` taken over, `1 u8` under way, or `2 u8` and a text why not |
//! | answer with a piece | `version u8, 0 u8, crc u32, bytes`, `1 u8` the pin is gone, or `2 u8` and a text why not |
//!
//! Vote and state are the consensus group's own affair.

use crate::MemberId;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_store::FileSum;
use std::ops::Range;

/// The newest form. One that is not known is not read.
const VERSION: u8 = 1;
/// Bytes of the longest piece.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes of what a group says of its state, at most.
const STATE_BYTES_MAX: usize = 1 << 20;
const FILE_BYTES: usize = 12;
/// Files of an offer, at most: it has to fit a frame.
const FILES_MAX: usize = 1 << 17;
/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 1_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Offer(Offer),
    Piece(PieceWanted),
}

/// What a leader has for a member that lacks what the log has let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Who has the files.
    pub(crate) source: MemberId,
    /// The number by which the source knows them.
    pub(crate) pin: u64,
    /// The leader's vote.
    pub(crate) vote: Bytes,
    /// The last entry that is in the files, and the membership as of it.
    pub(crate) state: Bytes,
    /// The files, in the order in which they are wanted.
    pub(crate) sums: Vec<FileSum>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PieceWanted {
    pub(crate) pin: u64,
    pub(crate) file: u32,
    pub(crate) bytes: Range<u64>,
}

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The member has all of it, and this is its vote; or its vote is higher.
    Taken(Bytes),
    /// It is being copied.
    Underway,
    /// Not now.
    Refused(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Bytes),
    /// The source does not hold the files any more.
    Gone,
    /// The source cannot read it.
    Failed(String),
}

impl Ask {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Ask::Offer(offer) => {
                out.put_u8(1);
                out.put_u64_le(offer.source.to_u64());
                out.put_u64_le(offer.pin);
                out.put_u8(offer.vote.len() as u8);
                out.put_slice(&offer.vote);
                out.put_u32_le(offer.state.len() as u32);
                out.put_slice(&offer.state);
                out.put_u32_le(offer.sums.len() as u32);
                for sum in &offer.sums {
                    out.put_u64_le(sum.bytes);
                    out.put_u32_le(sum.crc);
                }
            }
            Ask::Piece(wanted) => {
                out.put_u8(2);
                out.put_u64_le(wanted.pin);
                out.put_u32_le(wanted.file);
                out.put_u64_le(wanted.bytes.start);
                out.put_u32_le((wanted.bytes.end - wanted.bytes.start) as u32);
            }
        }
        out.freeze()
    }

    /// Reads what [`Ask::encode`] gave; `None` where it is nothing of the kind, or beyond a bound.
    pub(crate) fn decode(mut body: Bytes) -> Option<Ask> {
        if body.try_get_u8().ok()? != VERSION {
            return None;
        }
        let ask = match body.try_get_u8().ok()? {
            1 => Ask::Offer(Offer::take(&mut body)?),
            2 => Ask::Piece(PieceWanted::take(&mut body)?),
            _ => return None,
        };
        body.is_empty().then_some(ask)
    }
}

impl Offer {
    /// Whether it can be sent at all.
    pub(crate) fn fits(&self) -> bool {
        self.sums.len() <= FILES_MAX
            && self.state.len() <= STATE_BYTES_MAX
            && self.vote.len() <= usize::from(u8::MAX)
    }

    fn take(body: &mut Bytes) -> Option<Offer> {
        let source = MemberId::from_u64(body.try_get_u64_le().ok()?);
        let pin = body.try_get_u64_le().ok()?;
        let vote = usize::from(body.try_get_u8().ok()?);
        let vote = take(body, vote)?;
        let state = body.try_get_u32_le().ok()? as usize;
        let state = take(body, (state <= STATE_BYTES_MAX).then_some(state)?)?;
        let count = body.try_get_u32_le().ok()? as usize;
        if count > FILES_MAX || body.len() != count * FILE_BYTES {
            return None;
        }
        let mut sums = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = body.try_get_u64_le().ok()?;
            sums.push(FileSum { bytes, crc: body.try_get_u32_le().ok()? });
        }
        Some(Offer { source, pin, vote, state, sums })
    }
}

impl PieceWanted {
    fn take(body: &mut Bytes) -> Option<PieceWanted> {
        let pin = body.try_get_u64_le().ok()?;
        let file = body.try_get_u32_le().ok()?;
        let start = body.try_get_u64_le().ok()?;
        let bytes = body.try_get_u32_le().ok()?;
        let is_piece = bytes > 0 && bytes as usize <= PIECE_BYTES_MAX;
        let end = is_piece.then(|| start.checked_add(u64::from(bytes))).flatten()?;
        Some(PieceWanted { pin, file, bytes: start..end })
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Answer::Taken(vote) => answer(0, vote),
            Answer::Underway => answer(1, &[]),
            Answer::Refused(reason) => answer(2, cut(reason)),
        }
    }

    pub(crate) fn decode(mut body: Bytes) -> Option<Answer> {
        if body.try_get_u8().ok()? != VERSION {
            return None;
        }
        match body.try_get_u8().ok()? {
            0 => Some(Answer::Taken(body)),
            1 => body.is_empty().then_some(Answer::Underway),
            2 => Some(Answer::Refused(text(&body)?)),
            _ => None,
        }
    }
}

impl Piece {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Piece::Bytes(bytes) => {
                let mut out = BytesMut::with_capacity(bytes.len() + 6);
                out.put_u8(VERSION);
                out.put_u8(0);
                out.put_u32_le(crc32c::crc32c(bytes));
                out.put_slice(bytes);
                out.freeze()
            }
            Piece::Gone => answer(1, &[]),
            Piece::Failed(reason) => answer(2, cut(reason)),
        }
    }

    /// Reads what [`Piece::encode`] gave; `None` also where the bytes have another checksum.
    pub(crate) fn decode(mut body: Bytes) -> Option<Piece> {
        if body.try_get_u8().ok()? != VERSION {
            return None;
        }
        match body.try_get_u8().ok()? {
            0 => {
                let crc = body.try_get_u32_le().ok()?;
                let is_whole = body.len() <= PIECE_BYTES_MAX && crc == crc32c::crc32c(&body);
                is_whole.then_some(Piece::Bytes(body))
            }
            1 => body.is_empty().then_some(Piece::Gone),
            2 => Some(Piece::Failed(text(&body)?)),
            _ => None,
        }
    }
}

fn answer(code: u8, rest: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(rest.len() + 2);
    out.put_u8(VERSION);
    out.put_u8(code);
    out.put_slice(rest);
    out.freeze()
}

fn cut(reason: &str) -> &[u8] {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    &reason.as_bytes()[..end]
}

fn text(body: &[u8]) -> Option<String> {
    let is_short = body.len() <= REASON_BYTES_MAX;
    is_short.then(|| String::from_utf8(body.to_vec()).ok()).flatten()
}

fn take(body: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= body.len()).then(|| body.split_to(bytes))
}

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Some(ask) = Ask::decode(body.clone()) {
        assert_eq!(Ask::decode(ask.encode()), Some(ask));
    }
    let _ = (Answer::decode(body.clone()), Piece::decode(body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
    }

    fn asks() -> impl Strategy<Value = Ask> {
        let sum = (any::<u64>(), any::<u32>()).prop_map(|(bytes, crc)| FileSum { bytes, crc });
        let sums = prop::collection::vec(sum, 0..5);
        let offer = (any::<u64>(), any::<u64>(), bytes(40), bytes(90), sums);
        let piece = (any::<u64>(), any::<u32>(), 0..1_u64 << 60, 1..1_u64 << 20);
        prop_oneof![
            offer.prop_map(|(source, pin, vote, state, sums)| {
                let source = MemberId::from_u64(source);
                Ask::Offer(Offer { source, pin, vote, state, sums })
            }),
            piece.prop_map(|(pin, file, start, length)| {
                Ask::Piece(PieceWanted { pin, file, bytes: start..start + length })
            }),
        ]
    }

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in(ask in asks(), some in bytes(60), reason in ".{0,40}") {
            let encoded = ask.encode();
            for cut in 0..encoded.len() {
                prop_assert_eq!(Ask::decode(encoded.slice(..cut)), None);
            }
            prop_assert_eq!(Ask::decode(encoded), Some(ask));
            for answer in
                [Answer::Taken(some.clone()), Answer::Underway, Answer::Refused(reason.clone())]
            {
                prop_assert_eq!(Answer::decode(answer.encode()), Some(answer));
            }
            for piece in [Piece::Bytes(some.clone()), Piece::Gone, Piece::Failed(reason)] {
                prop_assert_eq!(Piece::decode(piece.encode()), Some(piece));
            }
        }

        #[test]
        fn a_piece_that_was_changed_on_the_way_is_none(
            some in bytes(60), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let piece = Piece::Bytes(some);
            let mut encoded = piece.encode().to_vec();
            let at = at.index(encoded.len());
            encoded[at] ^= 1 << bit;
            prop_assert_ne!(Piece::decode(encoded.into()), Some(piece));
        }

        #[test]
        fn any_bytes_may_come(mut some in prop::collection::vec(any::<u8>(), 0..150)) {
            let _ = Answer::decode(some.clone().into());
            let _ = Piece::decode(some.clone().into());
            for head in [[VERSION, 1], [VERSION, 2]] {
                some.splice(..2.min(some.len()), head);
                if let Some(Ask::Offer(offer)) = Ask::decode(some.clone().into()) {
                    prop_assert!(offer.sums.capacity() * FILE_BYTES <= some.len());
                }
            }
        }
    }

    #[test]
    fn what_is_beyond_a_bound_is_not_read() {
        let long = PieceWanted { pin: 1, file: 1, bytes: 0..(1 << 20) + 1 };
        assert_eq!(Ask::decode(Ask::Piece(long).encode()), None);
        let (vote, state) = (Bytes::new(), Bytes::from(vec![0; STATE_BYTES_MAX + 1]));
        let source = MemberId::from_u64(1);
        let offer = Offer { source, pin: 1, vote, state, sums: Vec::new() };
        assert!(!offer.fits());
        assert_eq!(Ask::decode(Ask::Offer(offer).encode()), None);
        let piece = Piece::Bytes(vec![0; PIECE_BYTES_MAX + 1].into());
        assert_eq!(Piece::decode(piece.encode()), None);
        let reason = "ä".repeat(REASON_BYTES_MAX);
        let Some(Answer::Refused(told)) = Answer::decode(Answer::Refused(reason.clone()).encode())
        else {
            panic!("a long reason is cut");
        };
        assert!(reason.starts_with(&told) && told.len() <= REASON_BYTES_MAX);
        assert_eq!(Ask::decode(Bytes::from_static(&[2, 1, 0])), None, "a later version");
    }
}
