use super::*;
use arrow_array::{Int64Array, StringArray};
use oribi_model::{Block, ColumnType, ColumnValues, Run, SeriesKey};
use proptest::prelude::*;
use std::ops::Range;

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
    let others = [
        answer,
        Wish::Fetch(3),
        Wish::Close(u64::MAX),
        Wish::Follow(LogIndex(9)),
        Wish::Sound,
        Wish::SoundOf(vec![TabletId(4), TabletId(2)]),
        Wish::SoundNews(vec![TabletId(4)]),
        Wish::GiveUp(vec![TabletId(3), TabletId(9)]),
        Wish::Committed { tablet: TabletId(5), place: u64::MAX },
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
