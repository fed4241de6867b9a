//! What must hold at any time, and what must in the end.

use super::{
    changes,
    clients::{Became, RowKey, VALUE},
    host::{GROUPS, Run},
    scene::Scene,
};
use crate::{Catalog, MemberId, node::CATALOG_GROUP};
use oribi_model::{
    ColumnRead, ColumnType, LogIndex, NodeId, RowsWanted, ScanSpec, SeriesFilter, TimeRange, Value,
};
use oribi_store::{Tablet, log::GroupId};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

pub(super) type Held = BTreeMap<RowKey, i64>;

#[derive(Default)]
pub(super) struct Judge {
    /// In which run of its node each vote led.
    led: BTreeMap<(GroupId, u64, MemberId), u64>,
    /// What was held where so much was applied.
    held: BTreeMap<(GroupId, LogIndex), u64>,
    /// How far a source was seen, by a run of a node.
    marks: BTreeMap<(NodeId, u64, GroupId, String), u64>,
    looks: u64,
}

impl Judge {
    pub(super) fn look(&mut self, scene: &Scene) -> Result<(), String> {
        self.looks += 1;
        for wrong in [&scene.ledger.wrong, &scene.book.wrong] {
            if let Some(wrong) = wrong.lock().take() {
                return Err(wrong);
            }
        }
        for (node, host) in &scene.hosts {
            let Some(run) = &host.run else { continue };
            if run.catalog.is_some() {
                self.look_at_leader(scene, *node, host.boot, CATALOG_GROUP)?;
                look_at_copies(scene, *node, CATALOG_GROUP)?;
                self.look_at_catalog(scene, (*node, host.boot), run)?;
            }
            for (group, tablet) in &run.tablets {
                self.look_at_leader(scene, *node, host.boot, *group)?;
                look_at_copies(scene, *node, *group)?;
                self.look_at_marks(scene, (*node, host.boot, *group), tablet)?;
                if self.looks.is_multiple_of(10) && !host.disk.crashed() {
                    self.look_at_rows(*node, *group, tablet)?;
                }
            }
        }
        Ok(())
    }

    /// A vote leads in one run of one node.
    fn look_at_leader(
        &mut self,
        scene: &Scene,
        node: NodeId,
        boot: u64,
        group: GroupId,
    ) -> Result<(), String> {
        let Some(replica) = scene.hall.replica(node, group) else { return Ok(()) };
        let standing = replica.standing();
        let Some(vote) = standing.vote.filter(|_| standing.leads) else { return Ok(()) };
        if vote.member != standing.own {
            // It has just voted for another one.
            return Ok(());
        }
        let first = *self.led.entry((group, vote.term, vote.member)).or_insert(boot);
        match first == boot {
            true => Ok(()),
            false => {
                Err(format!("{group:?}: node {node} leads with {vote:?} in runs {first}, {boot}"))
            }
        }
    }

    fn look_at_marks(
        &mut self,
        scene: &Scene,
        (node, boot, group): (NodeId, u64, GroupId),
        tablet: &Tablet,
    ) -> Result<(), String> {
        let stored = scene.ledger.stored.lock();
        for (_, source) in stored.keys().filter(|(of, _)| *of == group) {
            let now = tablet.next_of(source);
            let before = self.marks.insert((node, boot, group, source.clone()), now).unwrap_or(0);
            if now < before {
                return Err(format!("{group:?} at {node}: {source} went from {before} to {now}"));
            }
        }
        Ok(())
    }

    /// Catalogs that have applied as much are the same, and keep what all catalogs keep.
    fn look_at_catalog(
        &mut self,
        scene: &Scene,
        (node, boot): (NodeId, u64),
        run: &Run,
    ) -> Result<(), String> {
        let replica = scene.hall.replica(node, CATALOG_GROUP);
        let applied = replica.and_then(|replica| replica.applied_index());
        let (Some(applied), Some(machine)) = (applied, &run.catalog) else { return Ok(()) };
        let catalog = machine.current();
        let told = |what: String| format!("the catalog of node {node} at {applied:?}: {what}");
        changes::look_at_form(&catalog).map_err(told)?;
        let source = "connector".to_owned();
        let now = changes::place_of(&catalog);
        let before = self.marks.insert((node, boot, CATALOG_GROUP, source), now).unwrap_or(0);
        if now < before {
            return Err(told(format!("the connector went from {before} to {now}")));
        }
        let mut hasher = DefaultHasher::new();
        form_of(&catalog)?.hash(&mut hasher);
        let held = hasher.finish();
        let known = *self.held.entry((CATALOG_GROUP, applied)).or_insert(held);
        match known == held {
            true => Ok(()),
            false => Err(told("another one was there with as much".into())),
        }
    }

    /// All catalogs are the same, and have what was acked. Gives one in short.
    fn look_at_catalogs_at_end(scene: &Scene) -> Result<u64, String> {
        let mut first = None;
        for (node, host) in &scene.hosts {
            let run = host.run.as_ref().ok_or("a node does not run in the end")?;
            let Some(machine) = &run.catalog else { return Ok(0) };
            let replica = scene.hall.replica(*node, CATALOG_GROUP);
            let applied = replica.and_then(|replica| replica.applied_index());
            let found = (applied, form_of(&machine.current())?);
            scene.book.look_at(&machine.current())?;
            if *first.get_or_insert_with(|| found.clone()) != found {
                return Err(format!("node {node} has another catalog in the end, at {applied:?}"));
            }
        }
        let mut hasher = DefaultHasher::new();
        first.hash(&mut hasher);
        Ok(hasher.finish())
    }

    /// Replicas that have applied as much hold the same.
    fn look_at_rows(
        &mut self,
        node: NodeId,
        group: GroupId,
        tablet: &Tablet,
    ) -> Result<(), String> {
        let Some(applied) = tablet.applied() else { return Ok(()) };
        let held = digest_of(&read(tablet)?);
        let known = *self.held.entry((group, applied)).or_insert(held);
        match known == held {
            true => Ok(()),
            false => Err(format!("{group:?}: node {node} holds other rows at {applied:?}")),
        }
    }

    /// All replicas hold the same, all of what was acked, and nothing that nobody wrote. Gives it
    /// in short.
    pub(super) fn look_at_end(&mut self, scene: &Scene) -> Result<u64, String> {
        let mut digest = Judge::look_at_catalogs_at_end(scene)?;
        let runs = || scene.hosts.values().filter_map(|host| host.run.as_ref());
        for group in GROUPS {
            if runs().all(|run| !run.tablets.contains_key(&group)) {
                continue;
            }
            let mut all: Vec<(NodeId, Option<LogIndex>, Held)> = Vec::new();
            for (node, host) in &scene.hosts {
                let run = host.run.as_ref().ok_or("a node does not run in the end")?;
                let tablet = &run.tablets[&group];
                all.push((*node, tablet.applied(), read(tablet)?));
            }
            let (_, applied, held) = &all[0];
            for (node, other_applied, other) in &all {
                if (other_applied, other) != (applied, held) {
                    return Err(format!(
                        "{group:?}: node {node} is at {other_applied:?}, another at {applied:?}, \
                         and holds {}",
                        if other == held { "the same" } else { "other rows" }
                    ));
                }
            }
            look_at_ledger(scene, group, held)?;
            let run = scene.hosts.values().next().and_then(|host| host.run.as_ref());
            let tablet = &run.ok_or("a node does not run in the end")?.tablets[&group];
            for ((of, source), stored) in &*scene.ledger.stored.lock() {
                if *of == group && tablet.next_of(source) < *stored {
                    return Err(format!("{group:?}: {source} was stored up to {stored}"));
                }
            }
            digest = digest.wrapping_mul(31).wrapping_add(digest_of(held));
        }
        Ok(digest)
    }
}

/// The log behind what others copy is there.
fn look_at_copies(scene: &Scene, node: NodeId, group: GroupId) -> Result<(), String> {
    // What is kept is bounded, too tightly in some runs.
    let is_kept = scene.copies.kept_bytes_max > 0;
    let replica = scene.hall.replica(node, group).filter(|_| is_kept);
    match replica.and_then(|replica| replica.missing_for_copies()) {
        None => Ok(()),
        Some(first) => Err(format!("{group:?}: node {node} lacks entry {first} for a copy")),
    }
}

/// Of each row the last value that was acked is there, or one that was tried after it and not
/// refused.
fn look_at_ledger(scene: &Scene, group: GroupId, held: &Held) -> Result<(), String> {
    let tries = scene.ledger.tries.lock();
    for ((_, key), tries) in tries.iter().filter(|((of, _), _)| *of == group) {
        let acked = tries.iter().rposition(|(_, became)| *became == Became::Stored);
        let found = held.get(key);
        let may = match found {
            None => acked.is_none(),
            Some(found) => tries[acked.unwrap_or(0)..]
                .iter()
                .any(|(value, became)| value == found && *became != Became::NotStored),
        };
        if !may {
            let last = &tries[acked.unwrap_or(0)..];
            return Err(format!("{group:?}: {key:?} is {found:?}, and was tried as {last:?}"));
        }
    }
    let unknown = held.keys().find(|key| !tries.contains_key(&(group, (*key).clone())));
    match unknown {
        Some(key) => Err(format!("{group:?}: nobody wrote {key:?}")),
        None => Ok(()),
    }
}

/// All that a catalog holds; not what is computed from it for look-ups.
fn form_of(catalog: &Catalog) -> Result<String, String> {
    serde_json::to_string(catalog).map_err(|error| error.to_string())
}

fn digest_of(held: &Held) -> u64 {
    let mut hasher = DefaultHasher::new();
    for ((series, time_ns), value) in held {
        (series.as_bytes(), time_ns, value).hash(&mut hasher);
    }
    hasher.finish()
}

pub(super) fn read(tablet: &Tablet) -> Result<Held, String> {
    let spec = ScanSpec {
        columns: vec![ColumnRead { id: VALUE, column_type: ColumnType::Int }],
        time: TimeRange::ALL,
        series: SeriesFilter::All,
        rows: RowsWanted::All,
    };
    let text = |error: &dyn std::fmt::Display| format!("rows cannot be read: {error}");
    let mut held = Held::new();
    for block in tablet.scan(&spec, 1).map_err(|error| text(&error))?.into_iter().flatten() {
        let block = block.map_err(|error| text(&error))?;
        for (series, rows) in block.runs() {
            for row in rows {
                if let Some(Value::Int(value)) = block.columns[0].get(row) {
                    held.insert((series.clone(), block.times[row]), value);
                }
            }
        }
    }
    Ok(held)
}
