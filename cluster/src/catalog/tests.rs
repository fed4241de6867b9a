//! Changes applied to catalogs, and catalogs of earlier versions.

use super::*;
use crate::{Boot, JoinNonce, MemberId};
use oribi_model::{ColumnKind, ColumnType, Ints, TableOptions};

mod nodes;
mod tokens;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn spec(text: &str, kind: ColumnKind, column_type: ColumnType) -> ColumnSpec {
    ColumnSpec { name: name(text), kind, column_type, ints: Ints::Unknown }
}

fn ensure(columns: Vec<ColumnSpec>) -> Change {
    Change::EnsureColumns { db: name("default"), table: name("m"), columns }
}

fn with_table() -> Catalog {
    let columns = vec![
        spec("host", ColumnKind::Tag, ColumnType::Text),
        spec("v", ColumnKind::Field, ColumnType::Int),
    ];
    Catalog::default().apply(&ensure(columns)).unwrap()
}

#[test]
fn a_table_grows_and_widens_and_never_changes_kind() {
    let first = with_table();
    let again = ensure(vec![spec("v", ColumnKind::Field, ColumnType::Int)]);
    assert_eq!(first.apply(&again).unwrap(), first);
    let exact = ColumnSpec { ints: Ints::Exact, ..spec("v", ColumnKind::Field, ColumnType::Int) };
    let first = first.apply(&ensure(vec![exact])).unwrap();
    let widened =
        first.apply(&ensure(vec![spec("v", ColumnKind::Field, ColumnType::Float)])).unwrap();
    let column = |catalog: &Catalog| {
        let table = catalog.table("default", "m").unwrap();
        (table.schema.version, table.schema.column("v").unwrap().column_type)
    };
    assert_eq!(column(&first), (2, ColumnType::Int));
    assert_eq!(column(&widened), (3, ColumnType::Float));
    let narrowed = widened.apply(&ensure(vec![spec("v", ColumnKind::Field, ColumnType::Int)]));
    assert_eq!(narrowed.unwrap(), widened);
    let kind = ensure(vec![spec("host", ColumnKind::Field, ColumnType::Int)]);
    assert!(first.apply(&kind).unwrap_err().contains("host"));
}

/// Whichever of a wide integer and a float comes first decides.
#[test]
fn a_column_with_wide_integers_is_never_widened() {
    let first = with_table();
    let v = |column_type, ints| {
        let column = ColumnSpec { ints, ..spec("v", ColumnKind::Field, column_type) };
        ensure(vec![column])
    };
    let column = |catalog: &Catalog| {
        let column = catalog.table("default", "m").unwrap().schema.column("v").unwrap().clone();
        (column.column_type, column.ints)
    };
    let (wide, float) = (v(ColumnType::Int, Ints::Wide), v(ColumnType::Float, Ints::Unknown));
    // An entry from before says nothing of what came with it.
    assert_eq!(column(&first), (ColumnType::Int, Ints::Unknown));
    let first = first.apply(&v(ColumnType::Int, Ints::Exact)).unwrap();
    assert_eq!(column(&first), (ColumnType::Int, Ints::Exact));
    let marked = first.apply(&wide).unwrap();
    assert_eq!(column(&marked), (ColumnType::Int, Ints::Wide));
    assert_eq!(marked.apply(&float).unwrap(), marked);
    assert_eq!(marked.apply(&v(ColumnType::Int, Ints::Exact)).unwrap(), marked);
    let widened = first.apply(&float).unwrap();
    assert_eq!(widened.apply(&wide).unwrap(), widened);

    // A catalog from before says nothing, so that nothing is widened until somebody has looked.
    let form = serde_json::to_string(&first).unwrap().replace(r#","ints":"exact""#, "");
    let mut old: Catalog = serde_json::from_str(&form).unwrap();
    old.reindex();
    assert_eq!(column(&old), (ColumnType::Int, Ints::Unknown));
    assert_eq!(old.apply(&float).unwrap(), old);
    let looked = old.apply(&v(ColumnType::Int, Ints::Exact)).unwrap();
    assert_eq!(column(&looked.apply(&float).unwrap()).0, ColumnType::Float);
}

#[test]
fn tablets_never_overlap_and_ids_are_never_reused() {
    let catalog = with_table();
    let table = catalog.table("default", "m").unwrap().id;
    let create = |start, end| Change::CreateTablets {
        table,
        ranges: vec![TimeRange::new(start, end)],
        buckets: 2,
        away: Vec::new(),
    };
    let catalog = catalog.apply(&create(0, 10)).unwrap();
    for overlapping in [create(5, 15), create(-5, 1), create(2, 3), create(-9, 30)] {
        assert_eq!(catalog.apply(&overlapping).unwrap(), catalog);
    }
    let more = catalog.apply(&create(20, 30)).unwrap().apply(&create(-7, 0)).unwrap();
    let starts = more.tablets_of(table).iter().map(|tablet| tablet.range.start);
    assert_eq!(starts.collect::<Vec<_>>(), [-7, -7, 0, 0, 20, 20]);
    assert_eq!(catalog.tablets_at(table, 9).len(), 2);
    assert!(catalog.tablets_at(table, 10).is_empty());
    let ids = catalog.tablets().map(|tablet| tablet.id).collect();
    let emptied = catalog.apply(&Change::DropTablets { tablets: ids }).unwrap();
    let after = emptied.apply(&create(0, 10)).unwrap();
    assert_eq!(after.tablets().map(|tablet| tablet.id.0).collect::<Vec<_>>(), [3, 4]);
    let skipped = after.apply(&Change::SkipTablets { upto: TabletId(9) }).unwrap();
    let later = skipped.apply(&create(10, 20)).unwrap();
    assert_eq!(later.tablets_at(table, 10)[0].id, TabletId(10));
}

/// Bytes that a change allocates.
fn cost(catalog: &Catalog, change: &Change) -> u64 {
    allocation_counter::measure(|| drop(catalog.apply(change).unwrap())).bytes_total
}

#[test]
fn a_change_costs_its_own_size_whatever_the_catalog_holds() {
    let of_table = |at: usize, columns| {
        let (db, table) = (name("default"), name(&format!("t{at}")));
        Change::EnsureColumns { db, table, columns }
    };
    let columns = || vec![spec("v", ColumnKind::Field, ColumnType::Int)];
    let mut catalog = Catalog::default();
    let mut grow = |upto: usize| {
        for at in catalog.tables().count()..upto {
            catalog = catalog.apply(&of_table(at, columns())).unwrap();
        }
        let new = of_table(upto, columns());
        let wider = of_table(3, vec![spec("w", ColumnKind::Field, ColumnType::Text)]);
        let table = catalog.table("default", "t3").unwrap().id;
        let ranges = vec![TimeRange::new(0, 10)];
        let tablets = Change::CreateTablets { table, ranges, buckets: 1, away: Vec::new() };
        [new, wider, tablets].map(|change| cost(&catalog, &change))
    };
    let (small, large) = (grow(100), grow(10_000));
    for (small, large) in small.into_iter().zip(large) {
        assert!(large <= small * 3, "{small} bytes among 100 tables, {large} among 10,000");
    }
}

/// Look-ups that changes keep must be those that a reader of the file makes.
#[test]
fn look_ups_follow_every_change() {
    let mut catalog = Catalog::default();
    let mut check = |change: Change| {
        catalog = catalog.apply(&change).unwrap();
        let mut read = catalog.clone();
        read.reindex();
        assert_eq!(read.tables().collect::<Vec<_>>(), catalog.tables().collect::<Vec<_>>());
        for table in 0..6 {
            assert_eq!(read.tablets_of(TableId(table)), catalog.tablets_of(TableId(table)));
        }
        catalog.clone()
    };
    let made = |db: &str, table: &str| Change::EnsureColumns {
        db: name(db),
        table: name(table),
        columns: Vec::new(),
    };
    for (db, table) in [("a", "x"), ("a", "y"), ("b", "x"), ("b", "z")] {
        check(made(db, table));
    }
    for table in 1..=4 {
        let ranges = [(50, 60), (0, 10), (10, 20)].map(|(a, b)| TimeRange::new(a, b)).to_vec();
        check(Change::CreateTablets {
            table: TableId(table),
            ranges,
            buckets: 2,
            away: Vec::new(),
        });
    }
    check(Change::DropTablets { tablets: vec![TabletId(3), TabletId(4), TabletId(20)] });
    check(Change::DropTable { table: TableId(2) });
    check(Change::DropDatabase { db: name("b") });
    let left = check(made("b", "x"));
    assert_eq!((left.tables().count(), left.tablets().count()), (2, 4));
}

#[test]
fn connectors_keep_their_cursors_until_they_are_dropped() {
    let save = |source: &str, next| Change::SaveCursors {
        connector: name("stream"),
        cursors: [(source.to_owned(), next)].into(),
        epoch: None,
    };
    let put = Change::PutConnector { name: name("stream"), spec: "{}".into() };
    let changes = [put.clone(), save("t/0", 5), save("t/1", 7), save("t/0", 9), put];
    let catalog = changes.iter().fold(Catalog::default(), |catalog, change| {
        let form = serde_json::to_string(change).unwrap();
        catalog.apply(&serde_json::from_str(&form).unwrap()).unwrap()
    });
    let cursors = catalog.cursors("stream").unwrap();
    assert_eq!((cursors["t/0"], cursors["t/1"]), (9, 7));
    assert_eq!(catalog.connectors().count(), 1);
    let paused = catalog.apply(&Change::PauseConnector { name: name("stream") }).unwrap();
    assert_eq!(paused.paused().collect::<Vec<_>>(), [&name("stream")]);
    for runs in [Change::ResumeConnector { name: name("stream") }, changes[0].clone()] {
        assert_eq!(paused.apply(&runs).unwrap(), catalog);
    }
    let catalog = paused;
    let dropped = catalog.apply(&Change::DropConnector { name: name("stream") }).unwrap();
    assert!(dropped.cursors("stream").is_none() && dropped.connectors().next().is_none());
    assert!(dropped.paused().next().is_none());
}

#[test]
fn a_connector_has_one_node_and_what_an_earlier_one_saves_is_refused() {
    let seat =
        |node, after| Change::SeatConnector { connector: name("s"), node: NodeId(node), after };
    let save = |next, epoch| Change::SaveCursors {
        connector: name("s"),
        cursors: [("t".to_owned(), next)].into(),
        epoch: Some(epoch),
    };
    let first = Catalog::default().apply(&seat(1, 0)).unwrap();
    assert!(first.apply(&seat(3, 0)).unwrap_err().contains("node 1 has it"));
    let saved = first.apply(&save(5, 1)).unwrap();
    let second = saved.apply(&seat(2, 1)).unwrap();
    assert_eq!(second.seat_of("s"), Some(ConnectorSeat { node: NodeId(2), epoch: 2 }));
    assert_eq!((second.seats_on(NodeId(1)), second.seats_on(NodeId(2))), (0, 1));
    assert!(second.apply(&save(9, 1)).unwrap_err().contains("node 2 runs"));
    assert_eq!(second.apply(&save(9, 2)).unwrap().cursors("s").unwrap()["t"], 9);
    // Made anew under its name, it is none of those before.
    let dropped = second.apply(&Change::DropConnector { name: name("s") }).unwrap();
    assert_eq!(dropped.seat_of("s"), None);
    let anew = dropped.apply(&Change::PutConnector { name: name("s"), spec: "{}".into() }).unwrap();
    for catalog in [&dropped, &anew] {
        assert!(catalog.apply(&save(9, 2)).unwrap_err().contains("was dropped meanwhile"));
    }
    let third = anew.apply(&seat(1, 0)).unwrap();
    assert_eq!(third.seat_of("s").unwrap().epoch, 3);
    assert!(third.apply(&save(9, 2)).unwrap_err().contains("node 1 runs"));
    assert!(third.apply(&save(0, 3)).is_ok());
}

#[test]
fn dropping_a_database_drops_what_is_in_it() {
    let catalog = with_table();
    let dropped = catalog.apply(&Change::DropDatabase { db: name("default") }).unwrap();
    assert_eq!((dropped.databases().count(), dropped.tables().count()), (0, 0));
    let back = dropped.apply(&ensure(Vec::new())).unwrap();
    assert_eq!(back.table("default", "m").unwrap().id, TableId(2));
}
