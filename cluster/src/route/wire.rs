//! What nodes say to one another about commands and reads of groups, as the bodies of frames;
//! integers little-endian, texts `length u32` and UTF-8.
//!
//! | part | bytes |
//! | --- | --- |
//! | request | `version u8, catalog u64, wait ms u32, count u32`, and of each part `group u64, incarnation u32`; of a command also `length u32`, and it as it is logged |
//! | answer | `version u8, count u32`, and of each part `code u8` and what belongs to it |
//! | 0 done | `new rows u64, index u64` |
//! | 1 refused | `text` |
//! | 2 led elsewhere | `0 u8`, or `1 u8, term u64, member u64` |
//! | 3 busy | `retry after ms u32` |
//! | 4 unknown | `text` |
//! | 5 gone | |
//! | 6 failed | `text` |

use super::Hint;
use crate::{Incarnation, MemberId};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_model::LogIndex;
use oribi_store::log::GroupId;
use std::time::Duration;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 17;
/// The least that a part of a request or of an answer takes.
const PART_BYTES: usize = 12;
const ANSWER_BYTES: usize = 1;
/// Bytes of a text at most; what is longer is cut.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// What is asked of the leaders of some groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked<P> {
    /// The index up to which the asking node's catalog is applied: the other one may be behind.
    pub(crate) catalog: LogIndex,
    /// How long the answer is of use, from when the request came.
    pub(crate) wait: Duration,
    pub(crate) parts: Vec<Part<P>>,
}

/// What is asked of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<P> {
    pub(crate) group: GroupId,
    /// The replica that is meant.
    pub(crate) incarnation: Incarnation,
    pub(crate) what: P,
}

impl<P> Part<P> {
    /// Something else of the same group.
    pub(crate) fn with<Q>(self, what: Q) -> Part<Q> {
        Part { group: self.group, incarnation: self.incarnation, what }
    }
}

/// A command in the form in which it is logged.
pub(crate) type Encoded = Bytes;

/// What became of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A command is stored at this index; of a read, what is applied up to it is current.
    Done { new_rows: u64, index: LogIndex },
    /// The group's own answer; nothing was changed.
    Refused(String),
    /// The replica does not lead; nothing was appended.
    Elsewhere(Option<Hint>),
    /// Nothing was appended, since too much waits.
    Busy { retry_after_ms: u32 },
    /// It may have been appended.
    Unknown(String),
    /// The catalog has no such tablet any more.
    Gone,
    /// Nothing was appended, and another try is of no use for now.
    Failed(String),
}

/// The body of a request for commands.
pub(crate) fn encode_commands(asked: &Asked<Encoded>) -> Bytes {
    let bytes: usize = asked.parts.iter().map(|part| PART_BYTES + 4 + part.what.len()).sum();
    let mut out = BytesMut::with_capacity(HEAD_BYTES + bytes);
    put_head(&mut out, asked);
    for part in &asked.parts {
        put_part(&mut out, part);
        out.put_u32_le(part.what.len() as u32);
        out.put_slice(&part.what);
    }
    out.freeze()
}

/// Reads what [`encode_commands`] gave; the commands share its memory.
pub(crate) fn decode_commands(mut body: Bytes) -> Option<Asked<Encoded>> {
    let asked = take_asked(&mut body, PART_BYTES + 4, |body| {
        let length = body.try_get_u32_le().ok()? as usize;
        (length <= body.len()).then(|| body.split_to(length))
    })?;
    body.is_empty().then_some(asked)
}

/// The body of a request for how far groups are.
pub(crate) fn encode_reads(asked: &Asked<()>) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + asked.parts.len() * PART_BYTES);
    put_head(&mut out, asked);
    asked.parts.iter().for_each(|part| put_part(&mut out, part));
    out.freeze()
}

/// Reads what [`encode_reads`] gave.
pub(crate) fn decode_reads(mut body: Bytes) -> Option<Asked<()>> {
    let asked = take_asked(&mut body, PART_BYTES, |_| Some(()))?;
    body.is_empty().then_some(asked)
}

fn put_head<P>(out: &mut BytesMut, asked: &Asked<P>) {
    out.put_u8(VERSION);
    out.put_u64_le(asked.catalog.0);
    out.put_u32_le(u32::try_from(asked.wait.as_millis()).unwrap_or(u32::MAX));
    out.put_u32_le(asked.parts.len() as u32);
}

fn put_part<P>(out: &mut BytesMut, part: &Part<P>) {
    out.put_u64_le(part.group.0);
    out.put_u32_le(part.incarnation.0);
}

fn take_asked<P>(
    body: &mut Bytes,
    part_bytes: usize,
    mut take: impl FnMut(&mut Bytes) -> Option<P>,
) -> Option<Asked<P>> {
    take_version(body)?;
    let catalog = LogIndex(body.try_get_u64_le().ok()?);
    let wait = Duration::from_millis(body.try_get_u32_le().ok()?.into());
    let count = take_count(body, part_bytes)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let group = GroupId(body.try_get_u64_le().ok()?);
        let incarnation = Incarnation(body.try_get_u32_le().ok()?);
        parts.push(Part { group, incarnation, what: take(body)? });
    }
    Some(Asked { catalog, wait, parts })
}

/// The body of the answer: of each part, in their order.
pub(crate) fn encode_answer(said: &[Said]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + said.len() * 17);
    out.put_u8(VERSION);
    out.put_u32_le(said.len() as u32);
    for one in said {
        match one {
            Said::Done { new_rows, index } => {
                out.put_u8(0);
                out.put_u64_le(*new_rows);
                out.put_u64_le(index.0);
            }
            Said::Refused(reason) => put_text(&mut out, 1, reason),
            Said::Elsewhere(hint) => {
                out.put_u8(2);
                out.put_u8(u8::from(hint.is_some()));
                if let Some(hint) = hint {
                    out.put_u64_le(hint.term);
                    out.put_u64_le(hint.member.to_u64());
                }
            }
            Said::Busy { retry_after_ms } => {
                out.put_u8(3);
                out.put_u32_le(*retry_after_ms);
            }
            Said::Unknown(reason) => put_text(&mut out, 4, reason),
            Said::Gone => out.put_u8(5),
            Said::Failed(reason) => put_text(&mut out, 6, reason),
        }
    }
    out.freeze()
}

/// Reads what [`encode_answer`] gave to a request of so many parts.
pub(crate) fn decode_answer(body: &[u8], parts: usize) -> Option<Vec<Said>> {
    let mut body = Bytes::copy_from_slice(body);
    take_version(&mut body)?;
    let count = take_count(&mut body, ANSWER_BYTES)?;
    if count != parts {
        return None;
    }
    let said = (0..count).map(|_| take_said(&mut body)).collect::<Option<Vec<_>>>()?;
    body.is_empty().then_some(said)
}

fn take_said(body: &mut Bytes) -> Option<Said> {
    Some(match body.try_get_u8().ok()? {
        0 => {
            let new_rows = body.try_get_u64_le().ok()?;
            Said::Done { new_rows, index: LogIndex(body.try_get_u64_le().ok()?) }
        }
        1 => Said::Refused(take_text(body)?),
        2 => match body.try_get_u8().ok()? {
            0 => Said::Elsewhere(None),
            1 => {
                let term = body.try_get_u64_le().ok()?;
                let member = MemberId::from_u64(body.try_get_u64_le().ok()?);
                Said::Elsewhere(Some(Hint { term, member }))
            }
            _ => return None,
        },
        3 => Said::Busy { retry_after_ms: body.try_get_u32_le().ok()? },
        4 => Said::Unknown(take_text(body)?),
        5 => Said::Gone,
        6 => Said::Failed(take_text(body)?),
        _ => return None,
    })
}

fn take_version(body: &mut Bytes) -> Option<()> {
    (body.try_get_u8().ok()? == VERSION).then_some(())
}

/// A count of parts that have room in what is left.
fn take_count(body: &mut Bytes, part_bytes: usize) -> Option<usize> {
    let count = body.try_get_u32_le().ok()? as usize;
    (count <= body.len() / part_bytes).then_some(count)
}

fn put_text(out: &mut BytesMut, code: u8, text: &str) {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    out.put_u8(code);
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn take_text(body: &mut Bytes) -> Option<String> {
    let length = body.try_get_u32_le().ok()? as usize;
    if length > TEXT_BYTES_MAX || length > body.len() {
        return None;
    }
    String::from_utf8(body.split_to(length).to_vec()).ok()
}

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Some(asked) = decode_commands(body.clone()) {
        assert_eq!(encode_commands(&asked), body);
    }
    if let Some(asked) = decode_reads(body.clone()) {
        assert_eq!(encode_reads(&asked), body);
    }
    for parts in 0..4 {
        if let Some(said) = decode_answer(bytes, parts) {
            assert_eq!(encode_answer(&said), body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked<P: std::fmt::Debug>(
        what: impl Strategy<Value = P>,
    ) -> impl Strategy<Value = Asked<P>> {
        let part = (any::<u64>(), any::<u32>(), what).prop_map(|(group, incarnation, what)| {
            let (group, incarnation) = (GroupId(group), Incarnation(incarnation));
            Part { group, incarnation, what }
        });
        let parts = prop::collection::vec(part, 0..5);
        (any::<u64>(), any::<u32>(), parts).prop_map(|(catalog, wait_ms, parts)| Asked {
            catalog: LogIndex(catalog),
            wait: Duration::from_millis(wait_ms.into()),
            parts,
        })
    }

    fn commands() -> impl Strategy<Value = Asked<Encoded>> {
        asked(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
    }

    fn said() -> impl Strategy<Value = Said> {
        let text = || ".{0,20}";
        let hint = (any::<u64>(), any::<u64>())
            .prop_map(|(term, member)| Hint { term, member: MemberId::from_u64(member) });
        prop_oneof![
            (any::<u64>(), any::<u64>())
                .prop_map(|(new_rows, index)| Said::Done { new_rows, index: LogIndex(index) }),
            text().prop_map(Said::Refused),
            prop::option::of(hint).prop_map(Said::Elsewhere),
            any::<u32>().prop_map(|retry_after_ms| Said::Busy { retry_after_ms }),
            text().prop_map(Said::Unknown),
            Just(Said::Gone),
            text().prop_map(Said::Failed),
        ]
    }

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in(
            commands in commands(),
            reads in asked(Just(())),
            said in prop::collection::vec(said(), 0..5),
        ) {
            let encoded = encode_commands(&commands);
            for cut in 0..encoded.len() {
                prop_assert_eq!(decode_commands(encoded.slice(..cut)), None);
            }
            prop_assert_eq!(decode_commands(encoded), Some(commands));
            prop_assert_eq!(decode_reads(encode_reads(&reads)), Some(reads));
            let encoded = encode_answer(&said);
            for cut in 0..encoded.len() {
                prop_assert_eq!(decode_answer(&encoded[..cut], said.len()), None);
            }
            prop_assert_eq!(decode_answer(&encoded, said.len() + 1), None);
            prop_assert_eq!(decode_answer(&encoded, said.len()), Some(said));
        }

        #[test]
        fn any_bytes_may_come(mut bytes in prop::collection::vec(any::<u8>(), 0..120), known: bool) {
            if known && !bytes.is_empty() {
                bytes[0] = VERSION;
            }
            fuzz(&bytes);
        }
    }

    #[test]
    fn a_count_beyond_what_came_takes_no_memory() {
        let none = Asked { catalog: LogIndex(0), wait: Duration::ZERO, parts: Vec::new() };
        let mut body = encode_reads(&none).to_vec();
        body[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
        let (outcome, info) = {
            let mut outcome = None;
            let body = Bytes::from(body);
            let info = allocation_counter::measure(|| outcome = decode_reads(body));
            (outcome, info)
        };
        assert_eq!(outcome, None);
        assert!(info.bytes_max < 1_024, "{info:?}");
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let long = Said::Failed("ä".repeat(TEXT_BYTES_MAX));
        let said = decode_answer(&encode_answer(&[long]), 1).unwrap();
        let [Said::Failed(text)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
    }
}
