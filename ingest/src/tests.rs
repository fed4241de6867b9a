//! The write path into a node on a simulated disk.

use super::*;
use oribi_cluster::{COLUMNS_MAX, Node, NodeOptions};
use oribi_decode::points::PointsBuilder;
use oribi_model::{
    ColumnRead, ColumnType, Cursor, Name, Points, ReadPath, RejectReason, RowsWanted, ScanSpec,
    SeriesFilter, SystemClock, TimeRange, Value, time::NS_PER_DAY,
};
use oribi_store::disk::sim::SimDisk;
use std::{collections::BTreeMap, sync::Arc};

const START: i64 = 20_000 * NS_PER_DAY;

async fn node() -> Arc<Node> {
    node_on(&SimDisk::new()).await
}

async fn node_on(disk: &SimDisk) -> Arc<Node> {
    let (disk, clock) = (Arc::new(disk.clone()), Arc::new(SystemClock));
    Node::open("/data".into(), NodeOptions::default(), disk, clock).await.unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, Value)]);

/// Rows of table `m`, one second apart, numbered from 1.
fn points(rows: &[Row<'_>]) -> Points {
    let mut builder = PointsBuilder::new(name("default"), name("m"));
    for (at, (tags, fields)) in rows.iter().enumerate() {
        let series = builder.series(tags.iter().copied());
        for (field, value) in *fields {
            let field = builder.field(field, value.column_type());
            builder.set(field, value);
        }
        builder.end_row(series, START + at as i64 * 1_000_000_000, at as u32 + 1);
    }
    builder.finish()
}

/// Time in seconds and the fields of each row.
fn stored(node: &Node) -> Vec<(i64, BTreeMap<String, Value>)> {
    let catalog = node.catalog();
    let table = catalog.table("default", "m").unwrap();
    let fields: Vec<_> = table.schema.fields().cloned().collect();
    let columns = fields.iter().map(|f| ColumnRead { id: f.id, column_type: f.column_type });
    let spec = ScanSpec {
        columns: columns.collect(),
        time: TimeRange::ALL,
        series: SeriesFilter::All,
        rows: RowsWanted::All,
    };
    let parts = node.scan(table.id, &spec, 1).unwrap().into_iter().flat_map(|scan| scan.parts);
    let mut rows = Vec::new();
    for block in parts.flatten() {
        let block = block.unwrap();
        for row in 0..block.rows() {
            let cells = fields.iter().zip(&block.columns);
            let cells = cells.filter_map(|(f, v)| Some((f.name.to_string(), v.get(row)?)));
            rows.push((block.times[row].saturating_sub(START) / 1_000_000_000, cells.collect()));
        }
    }
    rows.sort_by_key(|(time, _)| *time);
    rows
}

fn reasons(receipt: &Receipt) -> Vec<(u32, RejectReason)> {
    receipt.rejected.iter().map(|one| (one.origin, one.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_records_that_were_seen_are_not_new() {
    let ingestor = Ingestor::new(node().await, IngestOptions::default());
    let write = async |offsets: &[u64]| {
        let row: Row<'_> = (&[("host", "a")], &[("v", Value::Int(1))]);
        let mut points = points(&vec![row; offsets.len()]);
        let (source, offsets) = ("k/t/0".into(), offsets.to_vec());
        points.cursor = Some(Cursor { source, offsets });
        let receipt = ingestor.write(vec![points]).await.unwrap();
        (receipt.rows, receipt.new_rows)
    };
    assert_eq!(write(&[1, 2]).await, (2, 2));
    assert_eq!(write(&[1, 2, 3]).await, (3, 1));
    assert_eq!(write(&[2, 3]).await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_memory_is_full_writes_go_on_one_after_the_other() {
    let pressure = oribi_model::Pressure::default();
    pressure.look(1, 1);
    let node = node().await;
    let ingestor = Ingestor::under(pressure.clone(), node.clone(), IngestOptions::default());
    let row: Row<'_> = (&[("host", "a")], &[("v", Value::Int(1))]);
    let writes = (1..=8).map(|rows| ingestor.write(vec![points(&vec![row; rows])]));
    for written in futures::future::join_all(writes).await {
        assert!(written.unwrap().rows > 0);
    }
    assert!(pressure.is_full() && stored(&node).len() == 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_follow_the_rules() {
    use Value::{Bool, Float, Int, Text};
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let tags: &[(&str, &str)] = &[("host", "a")];
    let v = |value: Value| vec![("v", value)];
    let rows = [v(Int(1)), v(Text("x".into())), v(Int(2)), v(Bool(true))];
    let rows: Vec<Row<'_>> = rows.iter().map(|fields| (tags, &fields[..])).collect();
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    assert_eq!(receipt.rows, 2);
    assert_eq!(
        reasons(&receipt),
        [(2, RejectReason::TypeConflict), (4, RejectReason::TypeConflict)]
    );
    assert!(receipt.rejected[0].detail.contains("\"v\" is string"), "{receipt:?}");

    // A float widens the column for good; integers beyond 2^53 are refused from then on.
    let big = (1i64 << 53) + 1;
    let rows = [v(Int(3)), v(Float(4.5)), v(Int(big))];
    let rows: Vec<Row<'_>> = rows.iter().map(|fields| (tags, &fields[..])).collect();
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    assert_eq!(reasons(&receipt), [(3, RejectReason::Number)]);
    let catalog = node.catalog();
    let column = catalog.table("default", "m").unwrap().schema.column("v").unwrap().clone();
    assert_eq!(column.column_type, ColumnType::Float);
    let found: Vec<_> = stored(&node).into_iter().map(|(t, mut c)| (t, c.remove("v"))).collect();
    let float = |value| Some(Float(value));
    assert_eq!(found, [(0, float(3.0)), (1, float(4.5)), (2, float(2.0))]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_told_without_a_change() {
    use Value::{Float, Int, Text};
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let v = |value: Value| vec![("v", value)];
    let mixed = [v(Int(1)), v(Text("x".into())), v(Float(1.5))];
    let rows: Vec<Row<'_>> = mixed.iter().map(|fields| (&[][..], &fields[..])).collect();
    let refused = |points: Points| {
        let found = ingestor.refused(&[points]);
        found.iter().map(|one| (one.origin, one.reason)).collect::<Vec<_>>()
    };
    assert_eq!(refused(points(&rows)), [(2, RejectReason::TypeConflict)]);
    assert!(node.catalog().table("default", "m").is_none());
    let receipt = ingestor.write(vec![points(&rows[..1])]).await.unwrap();
    assert_eq!(receipt.rows, 1);
    assert_eq!(refused(points(&rows)), [(2, RejectReason::TypeConflict)]);
    assert_eq!(refused(points(&rows[2..])), []);
    assert_eq!(stored(&node).len(), 1);
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    assert_eq!(reasons(&receipt), [(2, RejectReason::TypeConflict)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_has_no_sign() {
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let rows = [-0.0, 0.0, -1.5].map(|value| [("f", Value::Float(value))]);
    let rows: Vec<Row<'_>> = rows.iter().map(|fields| (&[][..], &fields[..])).collect();
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    assert_eq!(receipt.rows, 3);
    let bits = |(_, cells): &(i64, BTreeMap<String, Value>)| match &cells["f"] {
        Value::Float(value) => value.to_bits(),
        other => panic!("{other:?} is no float"),
    };
    let expected = [0.0f64, 0.0, -1.5].map(f64::to_bits);
    assert_eq!(stored(&node).iter().map(bits).collect::<Vec<_>>(), expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_fields_never_trade_places_and_names_are_checked() {
    use Value::Int;
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let fields = [("v", Int(1))];
    let as_field = [("host", Int(1))];
    let as_time = [("time", Int(1)), ("v", Int(2))];
    let bad_name = [("a\u{202e}b", Int(1))];
    let rows: [Row<'_>; 5] = [
        (&[("host", "a")], &fields),
        (&[("host", "a")], &as_field),
        (&[("v", "tag")], &fields),
        (&[("host", "b")], &as_time),
        (&[("host", "c")], &bad_name),
    ];
    let receipt = ingestor.write(vec![points(&rows[..1])]).await.unwrap();
    assert_eq!((receipt.rows, receipt.rejected.len()), (1, 0));
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    use RejectReason::{KindConflict, Name};
    let expected = [(2, KindConflict), (3, KindConflict), (4, KindConflict), (5, Name)];
    assert_eq!(reasons(&receipt), expected);
    assert_eq!(stored(&node).len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_tags_that_are_values_leave_room_for_fields() {
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let names: Vec<String> = (0..2_000).map(|at| format!("tag{at}")).collect();
    let tags: Vec<[(&str, &str); 1]> = names.iter().map(|name| [(name.as_str(), "1")]).collect();
    let fields = [("v", Value::Float(0.5))];
    let rows: Vec<Row<'_>> = tags.iter().map(|tags| (&tags[..], &fields[..])).collect();
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    assert_eq!(receipt.rows, 256);
    assert!(receipt.rejected.iter().all(|one| one.reason == RejectReason::Limit));
    assert!(receipt.rejected[0].detail.contains("\"tag256\" is one too many"));

    let names: Vec<String> = (0..800).map(|at| format!("field{at}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), Value::Int(1))).collect();
    let rows: Vec<Row<'_>> =
        fields.iter().map(|field| (&[][..], std::slice::from_ref(field))).collect();
    let receipt = ingestor.write(vec![points(&rows)]).await.unwrap();
    assert_eq!(receipt.rows, 1_024 - 256 - 1);
    assert!(receipt.rejected[0].detail.contains("\"field767\" is one too many"));
    let table = node.catalog().table("default", "m").unwrap().clone();
    assert_eq!(table.schema.columns.len(), COLUMNS_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_cut_by_time_and_bucket_and_new_tablets_are_bounded() {
    let node = node().await;
    let options = IngestOptions { tablets_per_minute_max: 8, ..IngestOptions::default() };
    let ingestor = Ingestor::new(node.clone(), options);
    let mut builder = PointsBuilder::new(name("default"), name("m"));
    let field = builder.field("v", ColumnType::Int);
    let days = [0, 0, 2_000, 2_000, 4_000, 6_000];
    for (at, day) in days.iter().enumerate() {
        let series = builder.series([("host", format!("h{at}").as_str())]);
        builder.set_int(field, at as i64);
        builder.end_row(series, START - day * NS_PER_DAY, at as u32 + 1);
    }
    let rows = builder.finish();
    let receipt = ingestor.write(vec![rows.clone()]).await.unwrap();
    assert_eq!((receipt.rows, stored(&node).len()), (6, 6));
    let table = node.catalog().table("default", "m").unwrap().id;
    assert_eq!(node.catalog().tablets_of(table).len(), 4);

    // Rows beyond the budget are put off, and all others stored; half of what is left is taken.
    let days = [(0, 1_000), (1, 3_000), (2, 5_000), (3, 7_000), (4, 0), (5, 9_000)];
    let times = days.iter().map(|(_, day)| START - day * NS_PER_DAY + 1).collect();
    let far = Points { times, ..rows };
    let receipt = ingestor.write_present(vec![far.clone()]).await.unwrap();
    assert_eq!((receipt.rows, receipt.rows_deferred()), (1, 5));
    assert_eq!(receipt.deferred[0].origins, [1, 2, 3, 4, 6]);
    let receipt = ingestor.write(receipt.deferred).await.unwrap();
    assert_eq!((receipt.rows, receipt.deferred[0].rows()), (2, 3));
    assert_eq!(stored(&node).len(), 9);

    // Another table has a budget of its own; of new tables, too, a write gets half of what is left.
    let tables = |count: u32| {
        let table = |at| {
            let mut builder = PointsBuilder::new(name("default"), name(&format!("other{at}")));
            let field = builder.field("v", ColumnType::Int);
            let series = builder.series([("host", "h")]);
            builder.set_int(field, 1);
            builder.end_row(series, START, at + 1);
            builder.finish()
        };
        (0..count).map(table).collect::<Vec<_>>()
    };
    let receipt = ingestor.write_present(tables(9)).await.unwrap();
    assert_eq!((receipt.rows, receipt.rows_deferred()), (0, 9));
    let receipt = ingestor.write(tables(9)).await.unwrap();
    assert_eq!((receipt.rows, receipt.rows_deferred()), (3, 6));
    assert_eq!(receipt.deferred[0].table.as_str(), "other3");
    assert_eq!(node.catalog().tables().count(), 4, "a table that is put off is not made");
    let receipt = ingestor.write(tables(9)).await.unwrap();
    assert_eq!((receipt.rows, receipt.rows_deferred()), (5, 4));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_time_that_there_is_is_refused_and_the_first_is_not() {
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let mut builder = PointsBuilder::new(name("default"), name("m"));
    let series = builder.series([("host", "a")]);
    for (time, origin) in [(i64::MIN, 1), (i64::MAX, 2), (i64::MAX - 1, 3)] {
        let field = builder.field("v", ColumnType::Int);
        builder.set_int(field, 7);
        builder.end_row(series, time, origin);
    }
    let receipt = ingestor.write(vec![builder.finish()]).await.unwrap();
    assert_eq!((receipt.rows, reasons(&receipt)), (2, vec![(2, RejectReason::Time)]));
    assert_eq!(stored(&node).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_agree_on_one_schema() {
    let node = node().await;
    let ingestor = Arc::new(Ingestor::new(node.clone(), IngestOptions::default()));
    let writers = (0..16).map(|at| {
        let ingestor = ingestor.clone();
        tokio::spawn(async move {
            let field = format!("f{}", at % 5);
            let value = if at % 2 == 0 { Value::Int(at) } else { Value::Float(at as f64) };
            let (host, fields) = (format!("h{at}"), [(&field[..], value)]);
            let tags = [("host", &host[..])];
            let rows: [Row<'_>; 1] = [(&tags, &fields)];
            ingestor.write(vec![points(&rows)]).await.unwrap()
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        let receipt = writer.await.unwrap();
        assert_eq!((receipt.rows, receipt.rejected.len()), (1, 0));
    }
    assert_eq!(stored(&node).len(), 16);
    node.stop().await;
}

/// 2^53 + 1 is no float: what was stored of it must stay as it is.
#[tokio::test(flavor = "multi_thread")]
async fn integers_that_no_float_can_hold_keep_floats_out() {
    use Value::{Float, Int};
    const WIDE: i64 = (1 << 53) + 1;
    let node = node().await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let write = async |at: i64, field: &str, value: Value| {
        let fields = [(field, value)];
        let mut rows = points(&[(&[("host", "a")], &fields)]);
        rows.times[0] += at * 1_000_000_000;
        ingestor.write(vec![rows]).await.unwrap()
    };
    let cells = |node: &Node, field: &str| -> Vec<Value> {
        stored(node).into_iter().filter_map(|(_, mut cells)| cells.remove(field)).collect()
    };
    for (at, value) in [(0, 7), (1, WIDE), (2, -WIDE), (3, i64::MAX), (4, i64::MIN)] {
        assert_eq!(write(at, "total", Int(value)).await.rows, 1);
    }
    let refused = write(5, "total", Float(1.5)).await;
    assert_eq!(reasons(&refused), [(1, RejectReason::TypeConflict)]);
    assert!(refused.rejected[0].detail.contains("2^53"), "{refused:?}");
    node.compact().await.unwrap();
    assert_eq!(write(6, "total", Int(3)).await.rows, 1);
    let expected = [7, WIDE, -WIDE, i64::MAX, i64::MIN, 3].map(Int);
    assert_eq!(cells(&node, "total"), expected);

    // Where the float comes first, it is the integer that is refused.
    assert_eq!(write(7, "level", Int(1 << 53)).await.rows, 1);
    assert_eq!(write(8, "level", Float(1.5)).await.rows, 1);
    assert_eq!(reasons(&write(9, "level", Int(WIDE)).await), [(1, RejectReason::Number)]);
    assert_eq!(cells(&node, "level"), [(1i64 << 53) as f64, 1.5].map(Float));
    node.stop().await;
}

/// Floats and wide integers of many writers at once: whichever came first, nothing that was taken
/// is stored as anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn floats_and_wide_integers_at_once_stay_what_they_were() {
    let node = node().await;
    let ingestor = Arc::new(Ingestor::new(node.clone(), IngestOptions::default()));
    for round in 0..10 {
        let field = format!("f{round}");
        let writers: Vec<_> = (0..8i64)
            .map(|at| {
                let (ingestor, field) = (ingestor.clone(), field.clone());
                tokio::spawn(async move {
                    let value = match at % 3 {
                        0 => Value::Float(at as f64 + 0.5),
                        1 => Value::Int((1 << 60) + at),
                        _ => Value::Int(at),
                    };
                    let host = format!("h{at}");
                    let (tags, fields) = ([("host", &host[..])], [(&field[..], value.clone())]);
                    let receipt = ingestor.write(vec![points(&[(&tags, &fields)])]).await.unwrap();
                    (receipt.rows == 1).then_some(value)
                })
            })
            .collect();
        let mut taken = Vec::new();
        for writer in writers {
            taken.extend(writer.await.unwrap());
        }
        let found = stored(&node).into_iter().filter_map(|(_, mut cells)| cells.remove(&field));
        let text = |value: &Value| match value {
            Value::Int(value) => format!("{value}"),
            Value::Float(value) => format!("{}", *value as i128).trim_end_matches(".5").to_owned(),
            other => panic!("{other:?}"),
        };
        let mut found: Vec<String> = found.map(|value| text(&value)).collect();
        let mut taken: Vec<String> = taken.iter().map(text).collect();
        found.sort_unstable();
        taken.sort_unstable();
        assert_eq!(found, taken);
    }
    node.stop().await;
}

/// Rows of one body that lie in several tablets have outcomes of their own.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_be_stored_are_and_the_others_are_named() {
    const FAR: i64 = 400 * NS_PER_DAY;
    let disk = SimDisk::new();
    let rows = |value: i64| {
        let fields = [("v", Value::Int(value))];
        let row: Row<'_> = (&[("host", "a")], &fields);
        let mut points = points(&[row, row, row, row]);
        points.times[1] -= FAR;
        points.times[3] -= FAR;
        points
    };
    let node = node_on(&disk).await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    assert_eq!(ingestor.write(vec![rows(1)]).await.unwrap().rows, 4);
    node.compact().await.unwrap();
    let catalog = node.catalog();
    let table = catalog.table("default", "m").unwrap().id;
    let (near, far) = (catalog.tablets_at(table, START)[0].id, catalog.tablets_of(table)[0].id);
    assert_ne!(near, far);
    node.stop().await;
    drop((ingestor, node));

    disk.put(format!("/data/tablets/{far}/MANIFEST").as_ref(), b"?".to_vec());
    let node = node_on(&disk).await;
    let ingestor = Ingestor::new(node.clone(), IngestOptions::default());
    let error = ingestor.write(vec![rows(2)]).await.unwrap_err();
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
    let Error::Partly(unstored) = &error else { panic!("{error}") };
    assert_eq!((unstored.stored, &unstored.unknown[..]), (2, &[][..]));
    assert_eq!(unstored.not_stored, [2, 4]);
    assert!(unstored.reason.contains("set aside"), "{error}");
    // Another table of the same write is not held up by it.
    let mut other = rows(3);
    other.table = name("n");
    let error = ingestor.write(vec![rows(3).take(vec![1]), other]).await.unwrap_err();
    let Error::Partly(unstored) = &error else { panic!("{error}") };
    assert_eq!((unstored.stored, &unstored.not_stored[..]), (4, &[2][..]));
    // Where none of its rows is stored, a write says so.
    let error = ingestor.write(vec![rows(4).take(vec![1, 3])]).await.unwrap_err();
    assert_eq!(error.outcome(), WriteOutcome::NotStored, "{error}");
    node.stop().await;
}
