//! Rows of tablets that other nodes have, as the bodies of frames; integers little-endian.
//!
//! A wish is `version u8, kind u8, staleness_max u64` in ns (all ones: none), `clock i64, catalog u64`, and a question in JSON (1), or the number `u64` of a scan of which
//! more is wanted (2) or nothing (3), or tablets `u64` of which is to be told how much they hold (4),
//! or `count u32`, so many tablets `u64`, and a question about them for whoever answers there (5), or an entry `u64`
//! of the catalog which is to be waited for (6), or nothing, and how the node and its replicas are is to be told (7),
//! or tablets `u64`, and how its replicas of these are (9), or also those that are awake or have changed lately (10),
//! or a tablet `u64` and a place `u64` from which on is wanted what it has committed (8), or tablets `u64` of whose
//! replicas is to be told how they are, those that have no entry being closed before (11).
//! What comes of it is `version u8, state u8` and, where the state
//! is not failed (2, then a text), `scan u64, age u64` in ns, `count u32`, and of each block `length u32` and it as a
//! batch in its log form, whose columns are numbered from 1 in the order asked for. State 1 says
//! that more is to come. Of what was committed the first block is the place `u64` to go on from, and there is none where
//! nothing is new; the others are batches with the columns of the table.

mod block;
mod piece;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    block::{decode_block, decode_rows, encode_block, encode_rows, wanted},
    piece::{Holds, Piece, decode_hold, encode_holds},
};

use bytes::{BufMut, Bytes};
use oribi_model::{
    ColumnId, ColumnRead, Consistency, LogIndex, RowsWanted, ScanSpec, SeriesFilter, TabletId,
    TagPredicate, TimeRange,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const VERSION: u8 = 2;
const OPEN: u8 = 1;
const FETCH: u8 = 2;
const CLOSE: u8 = 3;
const STATS: u8 = 4;
const ANSWER: u8 = 5;
const FOLLOW: u8 = 6;
const SOUND: u8 = 7;
const COMMITTED: u8 = 8;
const SOUND_OF: u8 = 9;
const SOUND_NEWS: u8 = 10;
const GIVE_UP: u8 = 11;
/// Stands for no staleness at all.
const LINEARIZABLE: u64 = u64::MAX;

/// As of when something is read: fixed once for a question, and the same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AsOf {
    pub(crate) consistency: Consistency,
    /// Wall clock of the node that was asked, ns since 1970: what is past its retention then is not
    /// read.
    pub(crate) clock_ns: i64,
    /// The entry of the catalog up to which that node has it: whoever reads for it is to be there.
    pub(crate) catalog: LogIndex,
}

/// What is asked of a node that has a tablet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    /// The rows of a tablet.
    Open(Question),
    /// What follows of a scan that is open.
    Fetch(u64),
    /// Nobody wants more of it.
    Close(u64),
    /// How much these tablets hold.
    Stats(Vec<TabletId>),
    /// What whoever answers there makes of a question about these.
    Answer { tablets: Vec<TabletId>, question: Bytes },
    /// An answer once the catalog there has this entry and what it dropped takes nothing more.
    Follow(LogIndex),
    /// How the node and its replicas are.
    Sound,
    /// How its replicas of these are.
    SoundOf(Vec<TabletId>),
    /// How the node is, its replicas of these, and those that are awake or have changed lately.
    SoundNews(Vec<TabletId>),
    /// How its replicas of these are, once those of them that have no entry take none for a while.
    GiveUp(Vec<TabletId>),
    /// What a tablet has committed from a place on.
    Committed { tablet: TabletId, place: u64 },
}

/// Which rows of which tablet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) tablet: TabletId,
    pub(crate) columns: Vec<(ColumnId, oribi_model::ColumnType)>,
    pub(crate) time: TimeRange,
    /// More series than are wanted may come: whoever asks leaves them out.
    pub(crate) tags: TagPredicate,
    pub(crate) last_only: bool,
}

impl Question {
    /// The part of a scan that other nodes can do; what its closures test is tested where it is
    /// asked.
    pub(crate) fn of(tablet: TabletId, spec: &ScanSpec) -> Question {
        let columns = spec.columns.iter().map(|read| (read.id, read.column_type)).collect();
        let (time, tags) = (spec.time, spec.series.tags());
        let last_only = spec.rows == RowsWanted::Last;
        Question { tablet, columns, time, tags, last_only }
    }

    pub(crate) fn spec(&self) -> ScanSpec {
        let read = |(id, column_type): &(_, _)| ColumnRead { id: *id, column_type: *column_type };
        ScanSpec {
            columns: self.columns.iter().map(read).collect(),
            time: self.time,
            series: SeriesFilter::of(self.tags.clone(), None),
            rows: if self.last_only { RowsWanted::Last } else { RowsWanted::All },
        }
    }
}

impl Wish {
    fn kind(&self) -> u8 {
        match self {
            Wish::Open(_) => OPEN,
            Wish::Fetch(_) => FETCH,
            Wish::Close(_) => CLOSE,
            Wish::Stats(_) => STATS,
            Wish::Answer { .. } => ANSWER,
            Wish::Follow(_) => FOLLOW,
            Wish::Sound => SOUND,
            Wish::SoundOf(_) => SOUND_OF,
            Wish::SoundNews(_) => SOUND_NEWS,
            Wish::GiveUp(_) => GIVE_UP,
            Wish::Committed { .. } => COMMITTED,
        }
    }

    pub(crate) fn encode(&self, as_of: AsOf) -> Bytes {
        let mut out = vec![VERSION, self.kind()];
        out.put_u64_le(match as_of.consistency {
            Consistency::Linearizable => LINEARIZABLE,
            Consistency::Stale(max) => nanos(max).min(LINEARIZABLE - 1),
        });
        out.put_i64_le(as_of.clock_ns);
        out.put_u64_le(as_of.catalog.0);
        match self {
            Wish::Open(question) => {
                serde_json::to_writer(&mut out, question).expect("a question is plain data");
            }
            Wish::Fetch(number) | Wish::Close(number) | Wish::Follow(LogIndex(number)) => {
                out.put_u64_le(*number);
            }
            Wish::Sound => {}
            Wish::Committed { tablet, place } => {
                out.put_u64_le(tablet.0);
                out.put_u64_le(*place);
            }
            Wish::Stats(tablets)
            | Wish::SoundOf(tablets)
            | Wish::SoundNews(tablets)
            | Wish::GiveUp(tablets) => {
                tablets.iter().for_each(|tablet| out.put_u64_le(tablet.0));
            }
            Wish::Answer { tablets, question } => {
                out.put_u32_le(tablets.len() as u32);
                tablets.iter().for_each(|tablet| out.put_u64_le(tablet.0));
                out.put_slice(question);
            }
        }
        out.into()
    }

    pub(crate) fn decode(body: &[u8]) -> Option<(AsOf, Wish)> {
        let [VERSION, kind, rest @ ..] = body else { return None };
        let (max_ns, rest) = rest.split_first_chunk()?;
        let (clock_ns, rest) = rest.split_first_chunk()?;
        let consistency = match u64::from_le_bytes(*max_ns) {
            LINEARIZABLE => Consistency::Linearizable,
            max_ns => Consistency::Stale(Duration::from_nanos(max_ns)),
        };
        let (catalog, rest) = rest.split_first_chunk()?;
        let catalog = LogIndex(u64::from_le_bytes(*catalog));
        let as_of = AsOf { consistency, clock_ns: i64::from_le_bytes(*clock_ns), catalog };
        Some((as_of, Wish::decode_kind(*kind, rest)?))
    }

    fn decode_kind(kind: u8, rest: &[u8]) -> Option<Wish> {
        if kind == OPEN {
            return serde_json::from_slice(rest).ok().map(Wish::Open);
        }
        if kind == STATS {
            return take_tablets(rest).map(Wish::Stats);
        }
        if kind == SOUND_OF {
            return take_tablets(rest).map(Wish::SoundOf);
        }
        if kind == SOUND_NEWS {
            return take_tablets(rest).map(Wish::SoundNews);
        }
        if kind == GIVE_UP {
            return take_tablets(rest).map(Wish::GiveUp);
        }
        if kind == SOUND {
            return rest.is_empty().then_some(Wish::Sound);
        }
        if kind == COMMITTED {
            let (tablet, rest) = rest.split_first_chunk()?;
            let tablet = TabletId(u64::from_le_bytes(*tablet));
            let place = u64::from_le_bytes(rest.try_into().ok()?);
            return Some(Wish::Committed { tablet, place });
        }
        if kind == ANSWER {
            let (count, rest) = rest.split_first_chunk()?;
            let bytes = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
            let (tablets, question) = rest.split_at_checked(bytes)?;
            let question = Bytes::copy_from_slice(question);
            return take_tablets(tablets).map(|tablets| Wish::Answer { tablets, question });
        }
        let number = u64::from_le_bytes(rest.try_into().ok()?);
        match kind {
            FETCH => Some(Wish::Fetch(number)),
            CLOSE => Some(Wish::Close(number)),
            FOLLOW => Some(Wish::Follow(LogIndex(number))),
            _ => None,
        }
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

fn take_tablets(bytes: &[u8]) -> Option<Vec<TabletId>> {
    let (tablets, rest) = bytes.as_chunks();
    let tablet = |bytes: &[u8; 8]| TabletId(u64::from_le_bytes(*bytes));
    rest.is_empty().then(|| tablets.iter().map(tablet).collect())
}

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some((as_of, wish)) = Wish::decode(bytes) {
        assert_eq!(Wish::decode(&wish.encode(as_of)), Some((as_of, wish)));
    }
    if let Some(piece) = Piece::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(&piece.encode()[..], bytes);
    }
    let _ = (decode_block(bytes, &[]), decode_hold(Bytes::copy_from_slice(bytes)));
    let _ = decode_rows(bytes);
}
