//! Rows of tablets that other nodes have, as the bodies of frames; integers little-endian.
//!
//! A wish is `version u8, kind u8, staleness_max u64` in ns (all ones: none), `clock i64, catalog u64`, and a question in JSON (1), or the number `u64` of a scan of which
//! more is wanted (2) or nothing (3), or tablets `u64` of which is to be told how much they hold (4),
//! or `count u32`, so many tablets `u64`, and a question about them for whoever answers there (5), or an entry `u64`
//! of the catalog which is to be waited for (6), or nothing, and how the node and its replicas are is to be told (7).
//! What comes of it is `version u8, state u8` and, where the state
//! is not failed (2, then a text), `scan u64, age u64` in ns, `count u32`, and of each block `length u32` and it as a
//! batch in its log form, whose columns are numbered from 1 in the order asked for. State 1 says
//! that more is to come.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_model::{
    Block, ColumnId, ColumnRead, Consistency, LogIndex, RowBatch, RowsWanted, Run, ScanSpec,
    SeriesFilter, SeriesKey, SeriesKeys, TableId, TabletId, TagPredicate, TimeRange,
};
use oribi_store::codec;
use serde::{Deserialize, Serialize};
use std::{ops::Range, time::Duration};

const VERSION: u8 = 2;
const HEAD_BYTES: usize = 22;
const LENGTH_BYTES: usize = 4;
const OPEN: u8 = 1;
const FETCH: u8 = 2;
const CLOSE: u8 = 3;
const STATS: u8 = 4;
const ANSWER: u8 = 5;
const FOLLOW: u8 = 6;
const SOUND: u8 = 7;
const SOUND_OF: u8 = 8;
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
            Wish::Stats(tablets) | Wish::SoundOf(tablets) => {
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
        if kind == SOUND {
            return rest.is_empty().then_some(Wish::Sound);
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

/// A block as it travels: in pieces of at most `bytes_max`, as far as its rows can be parted.
pub(crate) fn encode_block(block: &Block, bytes_max: usize) -> Vec<Bytes> {
    let (mut done, mut parts) = (Vec::new(), vec![(0, block.rows())]);
    while let Some((start, end)) = parts.pop() {
        let encoded = encode_rows(block, start..end);
        if encoded.len() <= bytes_max || end - start <= 1 {
            done.push(encoded);
            continue;
        }
        let middle = start + (end - start) / 2;
        parts.extend([(middle, end), (start, middle)]);
    }
    done
}

fn encode_rows(block: &Block, rows: Range<usize>) -> Bytes {
    let mut series = SeriesKeys::default();
    let mut row_series = Vec::with_capacity(rows.len());
    for (key, of_run) in block.runs() {
        let shared = of_run.start.max(rows.start)..of_run.end.min(rows.end);
        if !shared.is_empty() {
            let at = series.len() as u32;
            series.push_bytes(key.as_bytes());
            row_series.extend(std::iter::repeat_n(at, shared.len()));
        }
    }
    let columns = block.columns.iter().map(|values| values.slice(rows.start, rows.len()));
    let batch = RowBatch {
        table: TableId(0),
        schema_version: 0,
        series,
        row_series,
        times: block.times[rows.clone()].to_vec(),
        columns: (1..).map(ColumnId).zip(columns).collect(),
        cursor: None,
    };
    let mut out = Vec::new();
    codec::encode_batch(&batch, &mut out);
    out.into()
}

/// Reads what [`encode_block`] gave; `columns` are those that were asked for.
pub(crate) fn decode_block(bytes: &[u8], columns: &[ColumnRead]) -> Option<Block> {
    let batch = codec::decode_batch(bytes).ok()?;
    let types = batch.columns.iter().map(|(_, values)| values.column_type());
    if !types.eq(columns.iter().map(|read| read.column_type)) {
        return None;
    }
    let mut runs: Vec<Run> = Vec::with_capacity(batch.series.len());
    let mut last = None;
    for at in &batch.row_series {
        if last != Some(*at) {
            // Each series has its rows in one run.
            if last.is_some_and(|last| last > *at) {
                return None;
            }
            runs.push(Run { series: batch.series.key(*at as usize), rows: 0 });
            last = Some(*at);
        }
        runs.last_mut()?.rows += 1;
    }
    let columns = batch.columns.into_iter().map(|(_, values)| values).collect();
    Some(Block { runs, times: batch.times.into(), columns })
}

/// The rows of a block whose series a filter wants, in blocks of their own where that is not all.
pub(crate) fn wanted(block: Block, filter: &SeriesFilter) -> Vec<Block> {
    if block.runs.iter().all(|run| filter.wants(&run.series)) {
        return vec![block];
    }
    let wanted = block.runs().filter(|(series, _)| filter.wants(series));
    let alone = |(series, rows): (&SeriesKey, Range<usize>)| Block {
        runs: vec![Run { series: series.clone(), rows: rows.len() }],
        times: block.times.slice(rows.start, rows.len()),
        columns: block.columns.iter().map(|values| values.slice(rows.start, rows.len())).collect(),
    };
    wanted.map(alone).collect()
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};
    use oribi_model::{ColumnType, ColumnValues};
    use proptest::prelude::*;

    fn key(host: &str) -> SeriesKey {
        SeriesKey::from_tags([(ColumnId(1), host)])
    }

    fn columns() -> Vec<ColumnRead> {
        let read = |id, column_type| ColumnRead { id: ColumnId(id), column_type };
        vec![read(9, ColumnType::Int), read(2, ColumnType::Text), read(5, ColumnType::Int)]
    }

    /// Series of so many rows each; the last column is null throughout.
    fn block(rows: &[usize]) -> Block {
        let runs = rows.iter().enumerate().filter(|(_, rows)| **rows > 0);
        let runs = runs.map(|(at, rows)| Run { series: key(&format!("h{at:03}")), rows: *rows });
        let count: usize = rows.iter().sum();
        let texts = (0..count).map(|row| (row % 3 > 0).then(|| format!("text {}", row * 7919)));
        Block {
            runs: runs.collect(),
            times: (0..count as i64).collect(),
            columns: vec![
                ColumnValues::Int(Int64Array::from_iter((0..count).map(|row| Some(row as i64)))),
                ColumnValues::Text(StringArray::from_iter(texts)),
                ColumnValues::Int(Int64Array::from(vec![None; count])),
            ],
        }
    }

    /// All rows, one by one.
    fn rows(blocks: &[Block]) -> Vec<String> {
        let of = |block: &Block| {
            let of_run = |(series, rows): (&SeriesKey, Range<usize>)| {
                let cell = |row| block.columns.iter().map(move |one| one.get(row));
                let row = |row| {
                    let cells: Vec<_> = cell(row).collect();
                    format!("{series:?} {} {cells:?}", block.times[row])
                };
                rows.map(row).collect::<Vec<_>>()
            };
            block.runs().flat_map(of_run).collect::<Vec<_>>()
        };
        blocks.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn blocks_come_out_as_they_went_in(
            counts in prop::collection::vec(0usize..40, 1..6),
            bytes_max in 1usize..4_000,
        ) {
            let block = block(&counts);
            let parts = encode_block(&block, bytes_max);
            let decoded: Option<Vec<_>> =
                parts.iter().map(|part| decode_block(part, &columns())).collect();
            prop_assert_eq!(rows(&decoded.unwrap()), rows(&[block]));
            prop_assert!(parts.iter().all(|part| decode_block(part, &columns()[1..]).is_none()));
        }

        #[test]
        fn pieces_come_out_as_they_went_in(
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4),
            more in prop::option::of(any::<u64>()),
            age_ns: u64,
            reason in ".{0,20}",
        ) {
            let blocks = blocks.into_iter().map(Bytes::from).collect();
            let piece = Piece::Blocks { blocks, more, age: Duration::from_nanos(age_ns) };
            let encoded = piece.encode();
            for cut in 0..encoded.len() {
                prop_assert_eq!(Piece::decode(encoded.slice(..cut)), None);
            }
            prop_assert_eq!(Piece::decode(encoded), Some(piece));
            let failed = Piece::Failed(reason);
            prop_assert_eq!(Piece::decode(failed.encode()), Some(failed));
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
    fn what_tablets_hold_comes_out_as_it_went_in() {
        let holds = [(1, 2, None), (u64::MAX, 0, Some(TimeRange::new(i64::MIN, 9)))];
        for (part, expected) in encode_holds(&holds).into_iter().zip(holds) {
            assert_eq!(decode_hold(part.slice(1..)), None);
            assert_eq!(decode_hold(part), Some(expected));
        }
    }

    #[test]
    fn a_question_keeps_what_can_travel() {
        let tags = TagPredicate::In(ColumnId(1), vec!["h000".to_owned(), "h002".to_owned()].into());
        let test = |series: &SeriesKey| *series != key("h000");
        let spec = ScanSpec {
            columns: columns(),
            time: TimeRange::new(3, 9),
            series: SeriesFilter::of(tags.clone(), Some(std::sync::Arc::new(test))),
            rows: RowsWanted::Last,
        };
        let question = Question::of(TabletId(7), &spec);
        let wish = Wish::Open(question.clone());
        let now = AsOf::default();
        assert_eq!(Wish::decode(&wish.encode(now)), Some((now, wish)));
        let stats = [vec![], vec![TabletId(1), TabletId(u64::MAX)]].map(Wish::Stats);
        let tablets = vec![TabletId(4), TabletId(1)];
        let answer = Wish::Answer { tablets, question: Bytes::from_static(b"?") };
        let of = Wish::SoundOf(vec![TabletId(4), TabletId(2)]);
        let others = [
            answer,
            of,
            Wish::Fetch(3),
            Wish::Close(u64::MAX),
            Wish::Follow(LogIndex(9)),
            Wish::Sound,
        ];
        let consistency = Consistency::Stale(Duration::from_millis(7));
        let stale = AsOf { consistency, clock_ns: -5, catalog: LogIndex(3) };
        for wish in stats.into_iter().chain(others) {
            assert_eq!(Wish::decode(&wish.encode(stale)), Some((stale, wish)));
        }
        let asked = question.spec();
        assert_eq!((asked.columns, asked.time, asked.rows), (columns(), spec.time, spec.rows));
        let hosts = ["h000", "h001", "h002"].map(key);
        assert_eq!(hosts.each_ref().map(|one| asked.series.wants(one)), [true, false, true]);
        let all = block(&[2, 3, 4]);
        let left = wanted(all.clone(), &spec.series);
        assert_eq!(rows(&left), rows(std::slice::from_ref(&all))[5..]);
        assert_eq!(wanted(all.clone(), &SeriesFilter::All), [all]);
    }
}
