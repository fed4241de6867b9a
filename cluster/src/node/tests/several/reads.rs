//! Reads at any node.

use super::*;
use oribi_model::{Answerer, Feed, Value};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_follower_has_every_row_that_was_acked_before() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 2).await;
    for round in 0..40 {
        let (writer, reader) = (NODES[round as usize % 3], NODES[(round as usize + 1) % 3]);
        let (tablet, time) = tablets[round as usize % 2];
        let node = three.node(writer);
        node.catalog_now().await.unwrap();
        node.write(tablet, batch(table, &[time + round], round)).await.unwrap();
        let seen = read(&three.node(reader), table).await;
        assert!(seen.contains(&(time + round, round)), "round {round} at node {reader}");
    }
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_groups_are_asked_in_one_frame_for_each_leader() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 6).await;
    let node = three.node(2);
    node.catalog_now().await.unwrap();
    for (tablet, time) in &tablets {
        node.write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    let frames = Arc::<Mutex<Vec<NodeId>>>::default();
    let seen = frames.clone();
    // Others may ask of what they follow meanwhile.
    three.see(move |from, to, request| {
        if from == NodeId(2) && request.kind == Kind::ReadIndex {
            seen.lock().push(to);
        }
        Way::Open
    });
    let ids: Vec<_> = tablets.iter().map(|(tablet, _)| *tablet).collect();
    node.current(&ids).await.unwrap();
    let mut frames = frames.lock().clone();
    frames.sort_unstable();
    assert_eq!(frames, [NodeId(1), NodeId(3)]);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_a_majority_fails_and_is_no_shorter_answer() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let (other, leader) = three.pair(GroupId(tablet.0)).await;
    let third = NODES.into_iter().find(|id| *id != other && *id != leader).unwrap();
    three.kill(third).await;
    three.kill(leader).await;
    let error = three.node(other).current(&[tablet]).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { group, .. } if group == tablet.0), "{error}");
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_wait_for_another_leader_and_do_not_fail() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 3).await;
    for (tablet, time) in &tablets {
        three.node(1).write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    let (other, leader) = three.pair(GroupId(tablets[0].0.0)).await;
    let (node, counted) = (three.node(other), Arc::<(AtomicBool, AtomicUsize)>::default());
    let counts = counted.clone();
    let reading = tokio::spawn(async move {
        while !counts.0.load(Ordering::SeqCst) {
            // Fails where any tablet or the catalog cannot be read.
            assert_eq!(read(&node, table).await.len(), 3);
            counts.1.fetch_add(1, Ordering::SeqCst);
        }
    });
    three.kill(leader).await;
    let before = counted.1.load(Ordering::SeqCst);
    // The second one from here on began after the leader was gone.
    while counted.1.load(Ordering::SeqCst) < before + 2 && !reading.is_finished() {
        tokio::task::yield_now().await;
    }
    counted.0.store(true, Ordering::SeqCst);
    reading.await.unwrap();
    three.end().await;
}

fn rows_of(node: &Arc<Node>, table: TableId, series: SeriesFilter) -> oribi_model::Result<usize> {
    let column = ColumnRead { id: oribi_model::ColumnId(2), column_type: ColumnType::Int };
    let (columns, time, rows) = (vec![column], TimeRange::ALL, RowsWanted::All);
    let spec = ScanSpec { columns, time, series, rows };
    let mut count = 0;
    for block in node.scan(table, &spec, 2)?.into_iter().flat_map(|scan| scan.parts).flatten() {
        count += block?.rows();
    }
    Ok(count)
}

/// All that a tablet has committed, a piece after the other.
fn passed_on(node: &Node, tablet: TabletId) -> Vec<(i64, i64)> {
    let (mut rows, mut place) = (Vec::new(), 0);
    while let Some(found) = node.committed(tablet, place, 1 << 12).unwrap() {
        for batch in found.rows {
            let batch = batch.unwrap();
            let values = &batch.columns[0].1;
            rows.extend((0..batch.rows()).map(|row| {
                let Some(Value::Int(value)) = values.get(row) else { panic!("{values:?}") };
                (batch.times[row], value)
            }));
        }
        assert!(found.next > place, "{} after {place}", found.next);
        place = found.next;
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn tablets_that_are_only_on_other_nodes_are_written_and_read_there() {
    let three = Three::open_with(alone_in_turn).await;
    let (table, tablets) = tablets(&three.node(1), 6).await;
    let node = three.node(2);
    node.catalog_now().await.unwrap();
    let mut expected = Vec::new();
    // Values that do not pack well, so that a scan takes several pieces.
    for (at, (tablet, time)) in tablets.iter().enumerate() {
        for row in 0..300i64 {
            let value = row.wrapping_mul(6_364_136_223_846_793_005) ^ at as i64;
            expected.push((time + row, value));
        }
        let of_tablet = &expected[at * 300..];
        let parts = of_tablet.iter().map(|(time, value)| (*tablet, batch(table, &[*time], *value)));
        for outcome in node.write_many(parts.collect()).await {
            assert_eq!(outcome.unwrap(), 1);
        }
    }
    let written = expected.clone();
    expected.sort_unstable();
    for id in NODES {
        assert_eq!(read(&three.node(id), table).await, expected, "at node {id}");
        assert_eq!(three.node(id).replicas().len(), 1 + 2, "node {id} has its own tablets only");
    }
    // Who passes rows on gets those that are elsewhere, too.
    assert_eq!(node.tablets(table).len(), 6);
    for (at, (tablet, _)) in tablets.iter().enumerate() {
        let is_here = alone_in_turn(GroupId(tablet.0)).founder().node == NodeId(2);
        assert_eq!(node.is_near(*tablet), is_here);
        let (node, tablet) = (node.clone(), *tablet);
        let passed = tokio::task::spawn_blocking(move || passed_on(&node, tablet));
        let mut passed = passed.await.unwrap();
        passed.sort_unstable();
        let mut written = written[at * 300..][..300].to_vec();
        written.sort_unstable();
        assert_eq!(passed, written, "tablet {tablet}");
    }
    let counts = tokio::task::spawn_blocking(move || {
        let named = |host: &str| {
            oribi_model::TagPredicate::Equal(oribi_model::ColumnId(1), host.to_owned())
        };
        let filters = [
            SeriesFilter::of(named("a"), None),
            SeriesFilter::of(named("b"), None),
            SeriesFilter::Where(Arc::new(|_| false)),
            SeriesFilter::Where(Arc::new(|_| true)),
        ];
        filters.map(|filter| rows_of(&node, table, filter).unwrap())
    });
    assert_eq!(counts.await.unwrap(), [1_800, 0, 0, 1_800]);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_is_given_up_is_closed_where_it_is_read() {
    let three = Three::open_with(alone_in_turn).await;
    let (table, tablets) = tablets(&three.node(1), 3).await;
    let node = three.node(1);
    for (tablet, time) in &tablets {
        let parts = (0..1_000).map(|row| {
            (*tablet, batch(table, &[time + row], row.wrapping_mul(6_364_136_223_846_793_005)))
        });
        assert!(node.write_many(parts.collect()).await.into_iter().all(|outcome| outcome.is_ok()));
    }
    let open = |id: u32| three.node(id).scans.count();
    let scanning = tokio::task::spawn_blocking(move || {
        let series = SeriesFilter::All;
        let column = ColumnRead { id: oribi_model::ColumnId(2), column_type: ColumnType::Int };
        let (columns, time, rows) = (vec![column], TimeRange::ALL, RowsWanted::All);
        let mut scans = node.scan(table, &ScanSpec { columns, time, series, rows }, 1).unwrap();
        let first = scans.iter_mut().map(|scan| scan.parts[0].next().unwrap().unwrap().rows());
        assert!(first.sum::<usize>() > 0);
        scans
    });
    let scans = scanning.await.unwrap();
    assert_eq!((open(1), open(2), open(3)), (0, 1, 1));
    drop(scans);
    while open(2) + open(3) > 0 {
        tokio::task::yield_now().await;
    }
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_no_node_can_read_is_named() {
    let mut three = Three::open_with(alone_in_turn).await;
    let (table, tablets) = tablets(&three.node(1), 3).await;
    let node = three.node(1);
    for (tablet, time) in &tablets {
        node.write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    let lost = tablets
        .iter()
        .find(|(tablet, _)| alone_in_turn(GroupId(tablet.0)).founder().node == NodeId(3));
    let lost = lost.unwrap().0;
    three.kill(3).await;
    let outcome = tokio::task::spawn_blocking(move || rows_of(&node, table, SeriesFilter::All));
    let error = outcome.await.unwrap().unwrap_err();
    assert!(
        matches!(error, oribi_model::Error::Unreadable { tablet, .. } if tablet == lost),
        "{error}"
    );
    three.end().await;
}

/// Answers with all values that it is shown, as text.
struct Lister(TableId);

impl Answerer for Lister {
    fn answer(&self, question: &[u8], tablets: Arc<dyn ReadPath>) -> Result<Vec<u8>, String> {
        assert_eq!(question, b"which?");
        let rows = rows_by(&*tablets, self.0);
        let time = tablets.stats(self.0).time.ok_or("it holds nothing")?;
        assert!(rows.iter().all(|(at, _)| time.contains(*at)));
        Ok(rows.iter().map(|(_, value)| format!("{value} ")).collect::<String>().into_bytes())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_answers_about_the_tablets_that_only_it_has() {
    let three = Three::open_with(alone_in_turn).await;
    let (table, tablets) = tablets(&three.node(1), 6).await;
    let node = three.node(1);
    for (at, (tablet, time)) in (0..).zip(&tablets) {
        let parts = (0..200).map(|row| (*tablet, batch(table, &[time + row], at * 1_000 + row)));
        assert!(node.write_many(parts.collect()).await.into_iter().all(|outcome| outcome.is_ok()));
    }
    three.node(2).answer_by(Arc::new(Lister(table)));
    let asking = tokio::task::spawn_blocking(move || {
        let question = node.begin(Consistency::Linearizable).unwrap().unwrap();
        let places = question.places(table, TimeRange::ALL);
        let here = question.without_places().unwrap();
        let own = rows_by(&*here, table).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(here.places(table, TimeRange::ALL), []);
        let answers = places.into_iter().map(|place| {
            let answer = question.ask(&place, b"which?");
            (place, answer.map(|answer| String::from_utf8(answer).unwrap()))
        });
        (own, answers.collect::<Vec<_>>())
    });
    let (own, answers) = asking.await.unwrap();
    let led = |node: u32| {
        let is_there =
            |tablet: TabletId| alone_in_turn(GroupId(tablet.0)).founder().node == NodeId(node);
        let of_node = (0..).zip(&tablets).filter(move |(_, (tablet, _))| is_there(*tablet));
        of_node.flat_map(|(at, _)| (0..200).map(move |row| at * 1_000 + row)).collect::<Vec<i64>>()
    };
    let sorted = |mut values: Vec<i64>| {
        values.sort_unstable();
        values
    };
    assert_eq!(sorted(own), led(1));
    assert_eq!(answers.iter().map(|(place, _)| place.node.0).collect::<Vec<_>>(), [2, 3]);
    let told = answers[0].1.as_ref().unwrap().split_whitespace();
    assert_eq!(sorted(told.map(|value| value.parse().unwrap()).collect()), led(2));
    let error = answers[1].1.as_ref().unwrap_err().to_string();
    assert!(error.contains("nobody answers"), "{error}");
    three.end().await;
}
