//! Figures that are made in one place and merged in another.
#![allow(clippy::unwrap_used)]

mod support;

use arrow_array::RecordBatch;
use axum::body::Bytes;
use oribi_model::{
    Answerer, ColumnType, NodeId, Place, ReadPath, ScanSpec, Table, TableId, TableStats, TabletId,
    TabletScan, TimeRange, Value,
};
use oribi_query::{Error, QueryEngine, QueryOptions, Question, WindowPlan};
use proptest::prelude::*;
use std::sync::{
    Arc, Barrier, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};
use support::{Memory, MemoryTable};
use tokio::runtime::Runtime;

const SELECT: &str = "count(*), sum(i), mean(i), min(i), max(i), first(i), last(i), stddev(i), \
     median(i), rate(i), delta(i), sum(f), mean(f), min(f), max(f), first(f), last(f), stddev(f), \
     p90(f), rate(f), delta(f), count(t), min(t), max(t), first(t), last(t), min(b), max(b), last(b), \
     first(time), last(time), min(time), max(time)";

/// Host and room, time, and what to make values of, where there is one.
type Row = ((u8, u8), i64, Option<i32>);

fn table(rows: &[Row]) -> MemoryTable {
    use ColumnType::{Bool, Float, Int, Text};
    let fields = [("i", Int), ("f", Float), ("t", Text), ("b", Bool)];
    let mut table = MemoryTable::new(1, "default", "m", &["host", "room"], &fields);
    table.range_ns = 100;
    for ((host, room), time, value) in rows {
        // The empty one is null.
        let room = if *room == 0 { String::new() } else { format!("r{room}") };
        let whole = value.map(|value| Value::Int(i64::from(value) << 31));
        let fields = value.map(|value| {
            let float = f64::from(value) * 0.1;
            [Value::Float(float), Value::Text(format!("x{value}")), Value::Bool(value % 2 == 0)]
        });
        let fields = match fields {
            Some(fields) => fields.map(Some),
            None => [None, None, None],
        };
        let fields = [[whole].as_slice(), &fields].concat();
        table.put(&[&format!("h{host}"), &room], *time, &fields);
    }
    table
}

fn engine(rows: &[Row]) -> QueryEngine {
    let read: Arc<dyn ReadPath> = Arc::new(Memory(vec![table(rows)]));
    QueryEngine::new(read, QueryOptions { threads_max: 2, rows_alone_max: 5, ..Default::default() })
}

fn plan(window: Option<&str>, group_by: Option<&str>) -> WindowPlan {
    let text = |text: &str| Some(text.to_owned());
    let question = Question {
        table: text("m"),
        select: text(SELECT),
        window: window.and_then(text),
        group_by: group_by.and_then(text),
        fill: text("null"),
        ..Question::default()
    };
    question.plan(0).unwrap()
}

fn answer(
    runtime: &Runtime,
    engine: &QueryEngine,
    plan: &WindowPlan,
    figures: Option<Vec<Bytes>>,
) -> Result<Vec<RecordBatch>, Error> {
    runtime.block_on(async {
        let rows = match figures {
            None => engine.planned(plan.clone()).await?,
            Some(figures) => engine.merged(plan.clone(), figures).await?,
        };
        Ok(rows.collect().await?.batches)
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = ((0u8..3, 0u8..3), -500i64..500, prop::option::weighted(0.8, -1000i32..1000));
    prop::collection::vec(row, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// To the last bit, whichever node has which tablet and whoever is heard first.
    #[test]
    fn figures_of_nodes_make_the_answer_of_one(
        rows in rows(),
        owners in prop::collection::vec(0usize..4, 10),
        order in Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(),
        window in prop::option::of(prop::sample::select(&["7ns", "130ns", "1d"][..])),
        group_by in prop::option::of(prop::sample::select(&["host", "room,host", "*"][..])),
    ) {
        let runtime = runtime();
        let plan = plan(window, group_by);
        let whole = answer(&runtime, &engine(&rows), &plan, None).unwrap();
        let owner = |time: i64| owners[(time.div_euclid(100) + 5) as usize];
        let parts: Vec<Bytes> = order
            .iter()
            .map(|node| {
                let own: Vec<Row> =
                    rows.iter().filter(|(_, time, _)| owner(*time) == *node).cloned().collect();
                runtime.block_on(engine(&own).figures(plan.clone())).unwrap()
            })
            .collect();
        // Whoever merges has no rows.
        let merged = answer(&runtime, &engine(&[]), &plan, Some(parts)).unwrap();
        prop_assert_eq!(merged, whole);
    }

    /// Bytes that are no figures are refused, also where their checksum fits, or are some figures.
    #[test]
    fn damaged_figures_are_refused(
        rows in rows(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = runtime();
        let plan = plan(Some("50ns"), Some("host"));
        let engine = engine(&rows);
        let good = runtime.block_on(engine.figures(plan.clone())).unwrap().to_vec();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        prop_assume!(bad[at] != byte);
        bad[at] = byte;
        let found = answer(&runtime, &engine, &plan, Some(vec![bad.clone().into()]));
        prop_assert!(matches!(found, Err(Error::Figures { .. })), "{:?}", found.err());
        let short = good[..cut.index(good.len())].to_vec();
        let found = answer(&runtime, &engine, &plan, Some(vec![short.into()]));
        prop_assert!(matches!(found, Err(Error::Figures { .. })), "cut short");
        const HEAD_BYTES: usize = 9;
        if at >= HEAD_BYTES {
            let crc = crc32c::crc32c(&bad[HEAD_BYTES..]).to_le_bytes();
            bad[HEAD_BYTES - crc.len()..HEAD_BYTES].copy_from_slice(&crc);
            // Twice, so that they are merged with others, too.
            let found = answer(&runtime, &engine, &plan, Some(vec![bad.into(), good.into()]));
            let expected = match found {
                Ok(_) | Err(Error::Figures { .. } | Error::Overflow { .. }) => true,
                Err(Error::TooManyWindows { .. } | Error::AnswerLimit { .. }) => true,
                Err(Error::MemoryLimit { .. }) => true,
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            };
            prop_assert!(expected);
        }
    }
}

#[test]
fn figures_of_another_question_are_refused() {
    let runtime = runtime();
    let engine = engine(&[((1, 1), 5, Some(3))]);
    let figures = runtime.block_on(engine.figures(plan(None, Some("host")))).unwrap();
    for other in [plan(None, None), plan(None, Some("host,room"))] {
        let found = answer(&runtime, &engine, &other, Some(vec![figures.clone()]));
        assert!(matches!(found, Err(Error::Figures { .. })), "{other:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Where each node reads no more than the answer may need of it.
    #[test]
    fn figures_of_parts_make_the_answer_of_one(
        rows in rows(),
        owners in prop::collection::vec(0usize..3, 10),
        select in prop::sample::select(&["max(i), count(*)", "last(f)", "last(f), last(time)", "delta(i)"][..]),
        window in prop::option::of(prop::sample::select(&["3ns", "20ns"][..])),
        group_by in prop::option::of(prop::sample::select(&["host", "*"][..])),
        fill in prop::sample::select(&["none", "null"][..]),
        order in prop::sample::select(&["asc", "desc"][..]),
        limit in prop::option::of(1u32..6),
    ) {
        let runtime = runtime();
        let text = |text: &str| Some(text.to_owned());
        let question = Question {
            table: text("m"),
            select: text(select),
            window: window.and_then(text),
            group_by: group_by.and_then(text),
            fill: text(fill),
            order: text(order),
            limit: limit.map(|limit| limit.to_string()),
            ..Question::default()
        };
        let plan = question.plan(0).unwrap();
        let whole = answer(&runtime, &engine(&rows), &plan, None).unwrap();
        let owner = |time: i64| owners[(time.div_euclid(100) + 5) as usize];
        let own = |node: usize| -> Vec<Row> {
            rows.iter().filter(|(_, time, _)| owner(*time) == node).cloned().collect()
        };
        let figures = |node| runtime.block_on(engine(&own(node)).figures(plan.clone())).unwrap();
        let merged = answer(&runtime, &engine(&[]), &plan, Some((0..3).map(figures).collect()));
        prop_assert_eq!(merged.unwrap(), whole);
    }
}

/// The tablet of another node.
const THERE: TabletId = TabletId(900);

/// Rows of which some are on another node.
struct Parted {
    here: Arc<Memory>,
    there: (Arc<Memory>, QueryEngine),
    answers: bool,
    scans: AtomicUsize,
}

impl ReadPath for Parted {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.here.table(db, table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.here.tables()
    }

    fn stats(&self, _: TableId) -> TableStats {
        TableStats { rows: 0, bytes: 0, time: Some(TimeRange::ALL) }
    }

    fn scan(
        &self,
        table: TableId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> oribi_model::Result<Vec<TabletScan>> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        let mut scans = self.here.scan(table, spec, parts_max)?;
        let there = self.there.0.scan(table, spec, parts_max)?.into_iter();
        scans.extend(there.map(|scan| TabletScan { tablet: THERE, ..scan }));
        Ok(scans)
    }

    fn places(&self, _: TableId, _: TimeRange) -> Vec<Place> {
        vec![Place { node: NodeId(2), tablets: vec![THERE] }]
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        Some(self.here.clone())
    }

    fn ask(&self, place: &Place, question: &[u8]) -> oribi_model::Result<Vec<u8>> {
        let (read, engine) = &self.there;
        let answer = match self.answers {
            true => engine.answer(question, read.clone()),
            false => Err("it knows nothing of that".into()),
        };
        let tablet = place.tablets[0];
        answer.map_err(|reason| oribi_model::Error::Unreadable { tablet, reason })
    }
}

fn many_rows() -> Vec<Row> {
    let row = |at: i64| {
        let host = (at % 3) as u8;
        ((host, (at % 4) as u8), at * 7, (at % 5 > 0).then_some(at as i32 * 31 - 900))
    };
    (0..200).map(row).collect()
}

/// Some of these rows here, the others on a node that answers or does not.
fn parted(rows: &[Row], answers: bool) -> (Arc<Parted>, QueryEngine) {
    let (here, there): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.1 < 500);
    let memory = Arc::new(Memory(vec![table(&there)]));
    let parted = Arc::new(Parted {
        here: Arc::new(Memory(vec![table(&here)])),
        there: (memory, engine(&there)),
        answers,
        scans: AtomicUsize::new(0),
    });
    let options = QueryOptions { threads_max: 2, ..Default::default() };
    (parted.clone(), QueryEngine::new(parted, options))
}

/// The lines of an answer, sorted.
fn statement(runtime: &Runtime, engine: &QueryEngine, text: &str) -> Vec<String> {
    let rows = async { engine.sql(None, text.to_owned()).await?.collect().await };
    let answer: Result<_, Error> = runtime.block_on(rows);
    let batches = answer.unwrap_or_else(|error| panic!("{text}: {error}")).batches;
    let lines = arrow_cast::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn aggregates_are_made_where_the_rows_are() {
    let runtime = runtime();
    let rows = many_rows();
    let spread = [
        "SELECT count(*) FROM m",
        "SELECT count(i), sum(i), min(i), max(t), avg(f), stddev(f), sum(f), count(DISTINCT room) FROM m",
        "SELECT date_bin(INTERVAL '50 nanoseconds', time) AS at, avg(f) FROM m GROUP BY at",
        "SELECT host, room, min(time), max(time), bool_or(b) FROM m GROUP BY host, room",
        "SELECT host, count(*) FILTER (WHERE i > 100) FROM m WHERE f < 300.0 GROUP BY host HAVING count(*) > 3",
        "SELECT host, last_value(i ORDER BY time) FROM m WHERE i IS NOT NULL GROUP BY host",
        "SELECT DISTINCT room FROM m",
        "SELECT count(*) FROM (SELECT DISTINCT host FROM m LIMIT 2)",
        "SELECT host, room, sum(i) FROM m GROUP BY ROLLUP (host, room)",
        "SELECT median(f) FROM m WHERE host <> 'h1'",
        "SELECT sum(i) / count(*) FROM m WHERE host LIKE '%2' \
         UNION ALL SELECT sum(i) / count(*) FROM m WHERE host LIKE '%1'",
        "SELECT a.host, a.n, b.n FROM (SELECT host, count(*) AS n FROM m GROUP BY host) a \
         JOIN (SELECT host, count(i) AS n FROM m GROUP BY host) b ON a.host = b.host",
        "SELECT max(n) FROM (SELECT host, count(*) AS n FROM m GROUP BY host)",
        "SELECT count(*) FROM m WHERE time >= '1970-01-01T00:00:00.000000300Z'",
        "SELECT count(*) FROM m WHERE time < '1970-01-01'",
        "SELECT count(*), now() > '2000-01-01' FROM m WHERE time < now() - INTERVAL '1 hour'",
        "SELECT host, max(f) AS most FROM m GROUP BY host ORDER BY most DESC LIMIT 2",
    ];
    // Parts of a plan share what a subquery gives, or a limit; and what is random is so everywhere.
    let together = [
        "SELECT count(*) FROM m WHERE f > (SELECT avg(f) FROM m)",
        "SELECT count(*) FROM (SELECT * FROM m LIMIT 5)",
        "SELECT count(*) FROM m WHERE random() < 2.0",
        "SELECT count(*) FROM (SELECT i, row_number() OVER (ORDER BY time) AS n FROM m) WHERE n > 150",
    ];
    for answers in [true, false] {
        let (read, asked) = parted(&rows, answers);
        for (texts, is_spread) in [(&spread[..], true), (&together[..], false)] {
            for text in texts {
                let before = read.scans.load(Ordering::Relaxed);
                let expected = statement(&runtime, &engine(&rows), text);
                assert_eq!(statement(&runtime, &asked, text), expected, "{text}");
                let is_whole = read.scans.load(Ordering::Relaxed) > before;
                assert_eq!(is_whole, !(is_spread && answers), "{text}");
            }
        }
    }
}

#[test]
fn rows_of_another_node_come_as_figures_or_one_by_one() {
    let runtime = runtime();
    let rows = many_rows();
    for answers in [true, false] {
        let (parted, asked) = parted(&rows, answers);
        for plan in [plan(Some("50ns"), Some("host")), plan(None, Some("*")), plan(None, None)] {
            let expected = answer(&runtime, &engine(&rows), &plan, None).unwrap();
            assert_eq!(answer(&runtime, &asked, &plan, None).unwrap(), expected);
        }
        assert_eq!(parted.scans.load(Ordering::Relaxed) == 0, answers);
        // Of statements that pick rows by their fields only the rows that are wanted travel.
        let sql = |engine: &QueryEngine, text: &str| statement(&runtime, engine, text);
        let picked = [
            "SELECT * FROM m WHERE f > 10.0",
            "SELECT time, t FROM m WHERE i IS NULL AND host = 'h1'",
        ];
        let (scans, before) = (&parted.scans, parted.scans.load(Ordering::Relaxed));
        for text in picked {
            assert_eq!(sql(&asked, text), sql(&engine(&rows), text), "{text}");
        }
        assert_eq!(scans.load(Ordering::Relaxed) == before, answers);
        for limit in [0, 1, 7, 1_000] {
            for condition in ["WHERE f > -1000.0", ""] {
                let text = format!("SELECT f FROM m {condition} LIMIT {limit}");
                assert_eq!(sql(&asked, &text).len(), sql(&engine(&rows), &text).len(), "{text}");
            }
        }
        let everything = "SELECT * FROM m WHERE host = 'h1'";
        assert_eq!(sql(&asked, everything), sql(&engine(&rows), everything));
        assert!(scans.load(Ordering::Relaxed) > before);
    }
    let unknown = engine(&rows).answer(b"{\"version\":9}", Arc::new(Memory(Vec::new())));
    assert!(unknown.is_err());
}

/// Rows of which some are on another node that asks this one likewise.
struct Mutual {
    here: Arc<Memory>,
    other: OnceLock<QueryEngine>,
    /// Passed once both ask.
    both: Arc<Barrier>,
    answers: Mutex<Vec<Result<Vec<u8>, String>>>,
}

impl ReadPath for Mutual {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.here.table(db, table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.here.tables()
    }

    fn stats(&self, _: TableId) -> TableStats {
        TableStats { rows: 0, bytes: 0, time: Some(TimeRange::ALL) }
    }

    fn scan(&self, _: TableId, _: &ScanSpec, _: usize) -> oribi_model::Result<Vec<TabletScan>> {
        Ok(Vec::new())
    }

    fn places(&self, _: TableId, _: TimeRange) -> Vec<Place> {
        vec![Place { node: NodeId(2), tablets: vec![THERE] }]
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        Some(self.here.clone())
    }

    fn ask(&self, _: &Place, question: &[u8]) -> oribi_model::Result<Vec<u8>> {
        self.both.wait();
        let answer = self.other.get().unwrap().answer(question, self.here.clone());
        self.answers.lock().unwrap().push(answer.clone());
        answer.map_err(|reason| oribi_model::Error::Unreadable { tablet: THERE, reason })
    }
}

#[test]
fn nodes_without_a_place_left_answer_each_other() {
    let (rows, both) = (many_rows(), Arc::new(Barrier::new(2)));
    // Where they waited for each other they would for so long.
    let options = QueryOptions { running_max: 1, time_ms_max: 20_000, ..Default::default() };
    let nodes = [(), ()].map(|()| {
        Arc::new(Mutual {
            here: Arc::new(Memory(vec![table(&rows)])),
            other: OnceLock::new(),
            both: both.clone(),
            answers: Mutex::default(),
        })
    });
    let engines = nodes.clone().map(|node| QueryEngine::new(node, options.clone()));
    for (node, other) in nodes.iter().zip(engines.iter().rev()) {
        assert!(node.other.set(other.clone()).is_ok());
    }
    std::thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(|| answer(&runtime(), engine, &plan(None, None), None).unwrap());
        }
    });
    for node in nodes {
        let answers = node.answers.lock().unwrap();
        assert!(answers.len() == 1 && answers.iter().all(Result::is_ok), "{answers:?}");
    }
}
