//! Whoever writes, and the ledger of what was tried and what was answered.

use super::{
    hall::Hall,
    host::{GROUPS, owner_of},
};
use crate::{
    WriteOutcome,
    command::Command,
    tasks::{
        self,
        simulated::{self, Owner},
    },
};
use arrow_array::Int64Array;
use oribi_model::{
    ColumnId, ColumnValues, Cursor, NodeId, RowBatch, SeriesKey, SeriesKeys, TableId,
};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Whose tasks the clients are.
pub(super) const CLIENTS: Owner = 1_000_001;
const KEYS: u64 = 3;
const LEADER_WAIT: Duration = Duration::from_millis(200);
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// The column of the values.
pub(super) const VALUE: ColumnId = ColumnId(10);

/// What became of a try to write a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Stored,
    NotStored,
    Unknown,
}

/// A row: its series, and its time in ns.
pub(super) type RowKey = (SeriesKey, i64);
/// The time of the rows that are written again and again.
const AGAIN_NS: i64 = 0;

/// A row and the tries to give it a value, in order. A try stands here before it is sent.
pub(super) type Tries = BTreeMap<(GroupId, RowKey), Vec<(i64, Became)>>;

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) tries: Mutex<Tries>,
    /// The first record of each source that was not stored for sure.
    pub(super) stored: Mutex<BTreeMap<(GroupId, String), u64>>,
    pub(super) is_over: AtomicBool,
    /// What a question was answered that must not be.
    pub(super) wrong: Mutex<Option<String>>,
    pub(super) reads: AtomicUsize,
}

impl Ledger {
    pub(super) fn stored_count(&self) -> usize {
        let tries = self.tries.lock();
        tries.values().flatten().filter(|(_, became)| *became == Became::Stored).count()
    }

    /// Notes a try before it is sent; gives its place.
    fn intend(&self, of: (GroupId, RowKey), value: i64) -> usize {
        let (time_ns, mut tries) = (of.1.1, self.tries.lock());
        let tries = tries.entry(of).or_default();
        tries.push((value, Became::Unknown));
        if time_ns != AGAIN_NS && tries.len() > 1 {
            let wrong = format!("{time_ns} ns was given to several rows: {tries:?}");
            self.wrong.lock().get_or_insert(wrong);
        }
        tries.len() - 1
    }

    fn became(&self, of: &(GroupId, RowKey), at: usize, became: Became) {
        if let Some(tries) = self.tries.lock().get_mut(of) {
            tries[at].1 = became;
        }
    }
}

/// A client that writes until it is over.
pub(super) fn start(client: u64, nodes: &[NodeId], hall: &Arc<Hall>, ledger: &Arc<Ledger>) {
    let (nodes, hall, ledger) = (nodes.to_vec(), hall.clone(), ledger.clone());
    drop(simulated::spawn_of(CLIENTS, async move {
        let mut value = client as i64 * 1_000_000;
        let mut offsets = BTreeMap::<GroupId, u64>::new();
        while !ledger.is_over.load(Ordering::Relaxed) {
            tasks::sleep(Duration::from_micros(200 + simulated::below(60_000))).await;
            value += 1;
            let group = GROUPS[simulated::below(GROUPS.len() as u64) as usize];
            let offset = offsets.entry(group).or_default();
            // Half of the clients read from a source that can be read again.
            let source = (client.is_multiple_of(2)).then(|| format!("source{client}"));
            let of = (group, (key_of(client, simulated::below(KEYS)), AGAIN_NS));
            let batch = batch_of(&of.1, value, source.clone().map(|source| (source, *offset)));
            *offset += 1;
            let at = ledger.intend(of.clone(), value);
            let became = write(&hall, &nodes, group, batch).await;
            ledger.became(&of, at, became);
            if let (Became::Stored, Some(source)) = (became, source) {
                ledger.stored.lock().insert((group, source), *offset);
            }
        }
    }));
}

/// A client that sends rows without a time of their own, all of the same series, which get one
/// where they come in.
pub(super) fn start_arrivals(
    client: u64,
    nodes: &[NodeId],
    hall: &Arc<Hall>,
    ledger: &Arc<Ledger>,
) {
    let (nodes, hall, ledger) = (nodes.to_vec(), hall.clone(), ledger.clone());
    drop(simulated::spawn_of(CLIENTS, async move {
        let mut value = client as i64 * 1_000_000;
        while !ledger.is_over.load(Ordering::Relaxed) {
            tasks::sleep(Duration::from_micros(200 + simulated::below(100_000))).await;
            value += 1;
            let node = nodes[simulated::below(nodes.len() as u64) as usize];
            let Some(arrival) = hall.arrival(node) else { continue };
            let group = GROUPS[0];
            let of = (group, (key_of(0, 0), arrival.next_ns()));
            let batch = batch_of(&of.1, value, None);
            let at = ledger.intend(of.clone(), value);
            let became = write(&hall, &nodes, group, batch).await;
            ledger.became(&of, at, became);
        }
    }));
}

fn key_of(client: u64, key: u64) -> SeriesKey {
    SeriesKey::from_tags([(ColumnId(1), format!("{client}-{key}").as_str())])
}

fn batch_of((key, time_ns): &RowKey, value: i64, record: Option<(String, u64)>) -> RowBatch {
    let mut series = SeriesKeys::default();
    series.push_bytes(key.as_bytes());
    let columns = vec![(VALUE, ColumnValues::Int([value].into_iter().collect::<Int64Array>()))];
    let cursor = record
        .map(|(source, offset)| Cursor { source: source.as_str().into(), offsets: vec![offset] });
    RowBatch {
        table: TableId(3),
        schema_version: 1,
        series,
        row_series: vec![0],
        times: vec![*time_ns],
        columns,
        cursor,
    }
}

/// A node that seems to lead, or any.
pub(super) fn leading(hall: &Hall, nodes: &[NodeId], group: GroupId) -> NodeId {
    let leads = |node: &&NodeId| {
        hall.replica(**node, group).is_some_and(|replica| replica.standing().leads)
    };
    let leading: Vec<&NodeId> = nodes.iter().filter(leads).collect();
    let any = nodes[simulated::below(nodes.len() as u64) as usize];
    match leading.len() {
        0 => any,
        count => *leading[simulated::below(count as u64) as usize],
    }
}

/// Writes at the node that seems to lead, or at any.
async fn write(hall: &Arc<Hall>, nodes: &[NodeId], group: GroupId, batch: RowBatch) -> Became {
    let node = leading(hall, nodes, group);
    let (hall, command) = (hall.clone(), Command::rows(batch));
    // The node does it; it ends with the node.
    let answer = simulated::spawn_of(owner_of(node), async move {
        let Some(replica) = hall.replica(node, group) else { return Became::NotStored };
        match replica.write_within(command, LEADER_WAIT, WRITE_WAIT).await {
            Ok(()) => Became::Stored,
            Err(error) if error.outcome() == WriteOutcome::NotStored => Became::NotStored,
            Err(_) => Became::Unknown,
        }
    });
    answer.await.unwrap_or(Became::Unknown)
}
