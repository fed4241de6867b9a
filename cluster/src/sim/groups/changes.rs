//! Whoever changes the catalog: tables that grow, get ranges and are dropped, and connectors that change
//! hands. What a question then finds is looked at by whoever asked it.

use super::{
    clients::{self, Became, CLIENTS},
    hall::Hall,
    host::owner_of,
};
use crate::{
    Catalog, Change, ColumnSpec, Error, WriteOutcome,
    command::Command,
    node::CATALOG_GROUP,
    tasks::{self, simulated},
};
use oribi_model::{ColumnKind, ColumnType, Ints, Name, NodeId, TableId, TimeRange};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

const LEADER_WAIT: Duration = Duration::from_millis(200);
const CHANGE_WAIT: Duration = Duration::from_secs(2);
const PROOF_WAIT: Duration = Duration::from_millis(300);
const FOLLOW_WAIT: Duration = Duration::from_secs(1);
const DB: &str = "default";
/// The table that several clients give ranges to.
const SHARED: &str = "shared";
const CONNECTOR: &str = "connector";
const SOURCE: &str = "source";

/// What was tried with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    Column(u64),
    Range(TimeRange),
    Drop,
}

type Tries = Vec<(Try, Became)>;

/// What was tried and what was answered.
#[derive(Default)]
pub(super) struct Book {
    pub(super) acked: AtomicUsize,
    pub(super) reads: AtomicUsize,
    pub(super) is_over: AtomicBool,
    /// What a question was answered that must not be.
    pub(super) wrong: Mutex<Option<String>>,
    tables: Mutex<BTreeMap<String, Tries>>,
    connector: Mutex<Connector>,
}

/// What is known of the connector.
#[derive(Default)]
struct Connector {
    /// The greatest epoch that anybody was told of.
    epoch: u64,
    /// How far it has got, as was acked.
    saved: u64,
}

impl Book {
    fn told_wrong(&self, wrong: String) {
        self.wrong.lock().get_or_insert(wrong);
    }

    /// Notes a try before it is sent; gives its place.
    fn intend(&self, table: &str, one: Try) -> usize {
        let mut tables = self.tables.lock();
        let tries = tables.entry(table.to_owned()).or_default();
        tries.push((one, Became::Unknown));
        tries.len() - 1
    }

    fn became(&self, table: &str, at: usize, became: Became) {
        if let Some(tries) = self.tables.lock().get_mut(table) {
            tries[at].1 = became;
        }
        if became == Became::Stored {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a catalog has all that was acked, and nothing that nobody wanted.
    pub(super) fn look_at(&self, catalog: &Catalog) -> Result<(), String> {
        for (name, tries) in &*self.tables.lock() {
            look_at_table(catalog, name, tries)?;
        }
        let (at, saved) = (place_of(catalog), self.connector.lock().saved);
        if at < saved {
            return Err(format!("the connector is at {at}, and was stored up to {saved}"));
        }
        Ok(())
    }
}

pub(super) fn place_of(catalog: &Catalog) -> u64 {
    catalog.cursors(CONNECTOR).and_then(|places| places.get(SOURCE).copied()).unwrap_or(0)
}

/// What is so of every catalog: ids are given once, and ranges of a table never overlap.
pub(super) fn look_at_form(catalog: &Catalog) -> Result<(), String> {
    for table in catalog.tables() {
        let mut ids: Vec<_> = table.schema.columns.iter().map(|column| column.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != table.schema.columns.len() {
            return Err(format!("{}: columns share an id", table.name));
        }
        let ranges = catalog.ranges_of(table.id);
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
            return Err(format!("{}: {pair:?} overlap", table.name));
        }
    }
    match catalog.tablets().find(|tablet| catalog.table_by_id(tablet.table).is_none()) {
        Some(tablet) => Err(format!("tablet {} is of no table", tablet.id)),
        None => Ok(()),
    }
}

fn look_at_table(catalog: &Catalog, name: &str, tries: &Tries) -> Result<(), String> {
    let wrong = |what: String| Err(format!("table {name}: {what}; it was tried as {tries:?}"));
    let may_be = |became: &Became| *became != Became::NotStored;
    let dropped = tries.iter().rposition(|(one, became)| *one == Try::Drop && may_be(became));
    let since = &tries[dropped.map_or(0, |at| at + 1)..];
    let is_made = since.iter().any(|(one, became)| matches!(one, Try::Column(_)) && may_be(became));
    let Some(table) = catalog.table(DB, name) else {
        let is_acked = |(one, became): &(Try, Became)| {
            matches!(one, Try::Column(_)) && *became == Became::Stored
        };
        return match since.iter().any(is_acked) {
            true => wrong("it is not there".into()),
            false => Ok(()),
        };
    };
    if dropped.is_some_and(|at| tries[at].1 == Became::Stored) && !is_made {
        return wrong("it was dropped".into());
    }
    let ranges = catalog.ranges_of(table.id);
    for (one, _) in since.iter().filter(|(_, became)| *became == Became::Stored) {
        let is_there = match one {
            Try::Column(number) => table.schema.column(&column_name(*number)).is_some(),
            Try::Range(range) => ranges.iter().any(|present| present.overlaps(*range)),
            Try::Drop => true,
        };
        if !is_there {
            return wrong(format!("{one:?} is not there"));
        }
    }
    let tried = |name: &str| {
        tries.iter().any(|(one, became)| {
            may_be(became) && matches!(one, Try::Column(number) if column_name(*number) == name)
        })
    };
    match table.schema.columns.iter().find(|column| !tried(column.name.as_str())) {
        Some(column) => wrong(format!("nobody made column {}", column.name)),
        None => Ok(()),
    }
}

/// Clients that grow a table of their own, and the one that they share.
pub(super) fn start_tables(client: u64, nodes: &[NodeId], hall: &Arc<Hall>, book: &Arc<Book>) {
    let (nodes, hall, book) = (nodes.to_vec(), hall.clone(), book.clone());
    drop(simulated::spawn_of(CLIENTS, async move {
        let (own, mut number) = (format!("t{client}"), client * 1_000);
        while !book.is_over.load(Ordering::Relaxed) {
            tasks::sleep(Duration::from_micros(200 + simulated::below(80_000))).await;
            let Some(catalog) = read(&hall, &nodes, &book).await else { continue };
            number += 1;
            let name = if simulated::below(3) == 0 { SHARED } else { own.as_str() };
            let known = catalog.table(DB, name).map(|table| table.id);
            let (one, change) = match (simulated::below(8), known) {
                (0, Some(table)) if name != SHARED => (Try::Drop, Change::DropTable { table }),
                (1..=3, Some(table)) => range(table),
                _ => column(name, number),
            };
            let at = book.intend(name, one);
            let became = change_at_leader(&hall, &nodes, change).await;
            book.became(name, at, became);
        }
    }));
}

fn column_name(number: u64) -> String {
    format!("c{number}")
}

fn column(table: &str, number: u64) -> (Try, Change) {
    let name = |text: &str| Name::new(text).expect("a name");
    let spec = ColumnSpec {
        name: name(&column_name(number)),
        kind: ColumnKind::Field,
        column_type: ColumnType::Int,
        ints: Ints::Exact,
    };
    let (db, table) = (name(DB), name(table));
    (Try::Column(number), Change::EnsureColumns { db, table, columns: vec![spec] })
}

fn range(table: TableId) -> (Try, Change) {
    let start = simulated::below(1_000) as i64;
    let range = TimeRange::new(start, start + 1 + simulated::below(20) as i64);
    let (ranges, buckets) = (vec![range], 1 + simulated::below(2) as u32);
    (Try::Range(range), Change::CreateTablets { table, ranges, buckets, away: Vec::new() })
}

/// One that takes the connector now and then, and says how far it has got until another has taken it.
pub(super) fn start_runner(client: u64, nodes: &[NodeId], hall: &Arc<Hall>, book: &Arc<Book>) {
    let (nodes, hall, book) = (nodes.to_vec(), hall.clone(), book.clone());
    drop(simulated::spawn_of(CLIENTS, async move {
        while !book.is_over.load(Ordering::Relaxed) {
            tasks::sleep(Duration::from_micros(200 + simulated::below(300_000))).await;
            let node = NodeId(client as u32);
            let Some(epoch) = take_seat(&hall, &nodes, &book, node).await else { continue };
            let Some(catalog) = read(&hall, &nodes, &book).await else { continue };
            let mut place = place_of(&catalog);
            for _ in 0..1 + simulated::below(12) {
                tasks::sleep(Duration::from_micros(200 + simulated::below(40_000))).await;
                place += 1;
                if save(&hall, &nodes, &book, (epoch, place)).await == Became::NotStored {
                    break;
                }
            }
        }
    }));
}

async fn take_seat(
    hall: &Arc<Hall>,
    nodes: &[NodeId],
    book: &Arc<Book>,
    node: NodeId,
) -> Option<u64> {
    let connector = || Name::new(CONNECTOR).expect("a name");
    let before = read(hall, nodes, book).await?.seat_of(CONNECTOR);
    let after = before.map_or(0, |seat| seat.epoch);
    let change = Change::SeatConnector { connector: connector(), node, after };
    if change_at_leader(hall, nodes, change).await == Became::NotStored {
        return None;
    }
    let seat = read(hall, nodes, book).await?.seat_of(CONNECTOR)?;
    let mut known = book.connector.lock();
    known.epoch = known.epoch.max(seat.epoch);
    (seat.node == node && seat.epoch > after).then_some(seat.epoch)
}

async fn save(
    hall: &Arc<Hall>,
    nodes: &[NodeId],
    book: &Arc<Book>,
    (epoch, place): (u64, u64),
) -> Became {
    let newest = book.connector.lock().epoch;
    let connector = Name::new(CONNECTOR).expect("a name");
    let cursors = BTreeMap::from([(SOURCE.to_owned(), place)]);
    let change = Change::SaveCursors { connector, cursors, epoch: Some(epoch) };
    let became = change_at_leader(hall, nodes, change).await;
    if became == Became::Stored {
        if epoch < newest {
            book.told_wrong(format!("epoch {epoch} has saved {place} after epoch {newest}"));
        }
        let mut known = book.connector.lock();
        known.saved = known.saved.max(place);
        book.acked.fetch_add(1, Ordering::Relaxed);
    }
    became
}

/// The catalog of any node, with whatever was acked before.
async fn read(hall: &Arc<Hall>, nodes: &[NodeId], book: &Book) -> Option<Arc<Catalog>> {
    let leader = clients::leading(hall, nodes, CATALOG_GROUP);
    let node = nodes[simulated::below(nodes.len() as u64) as usize];
    // What is tried meanwhile may be in it or not.
    let before = book.tables.lock().clone();
    let saved = book.connector.lock().saved;
    let leading = hall.replica(leader, CATALOG_GROUP)?;
    let proof = async move { leading.read_index(PROOF_WAIT).await.ok() };
    let index = simulated::spawn_of(owner_of(leader), proof).await.ok()??;
    let (replica, machine) = (hall.replica(node, CATALOG_GROUP)?, hall.catalog(node)?);
    let reading = async move {
        match index {
            Some(index) if !replica.reaches(index, FOLLOW_WAIT).await => None,
            _ => Some(machine.current()),
        }
    };
    let catalog = simulated::spawn_of(owner_of(node), reading).await.ok()??;
    book.reads.fetch_add(1, Ordering::Relaxed);
    let after = book.tables.lock().clone();
    for (name, tries) in &before {
        // Those that began since, or ended, may be there.
        let mut tries = tries.clone();
        let later = after[name].iter().skip(tries.len());
        tries.extend(later.map(|(one, _)| (*one, Became::Unknown)));
        if let Err(what) = look_at_table(&catalog, name, &tries) {
            book.told_wrong(format!("asked at {node}, {leader} said how far to go: {what}"));
        }
    }
    if place_of(&catalog) < saved {
        let at = place_of(&catalog);
        book.told_wrong(format!("asked at {node}: the connector is at {at}, not {saved}"));
    }
    Some(catalog)
}

/// Changes the catalog at the node that seems to lead it, or at any.
async fn change_at_leader(hall: &Arc<Hall>, nodes: &[NodeId], change: Change) -> Became {
    let node = clients::leading(hall, nodes, CATALOG_GROUP);
    let (hall, command) = (hall.clone(), Command::change(change));
    let answer = simulated::spawn_of(owner_of(node), async move {
        let Some(replica) = hall.replica(node, CATALOG_GROUP) else { return Became::NotStored };
        match replica.write_within(command, LEADER_WAIT, CHANGE_WAIT).await {
            Ok(()) => Became::Stored,
            Err(Error::Refused(_)) => Became::NotStored,
            Err(error) if error.outcome() == WriteOutcome::NotStored => Became::NotStored,
            Err(_) => Became::Unknown,
        }
    });
    answer.await.unwrap_or(Became::Unknown)
}
