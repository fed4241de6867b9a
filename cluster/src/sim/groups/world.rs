//! What happens to whom.

use super::{
    changes, clients,
    host::{Content, Host, owner_of},
    judge::Judge,
    readers,
    scene::Scene,
};
use crate::{CopyOptions, sim::timeline::Random, tasks::simulated::Simulation};
use oribi_model::NodeId;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

const CLIENTS: u64 = 4;
const ARRIVAL_CLIENTS: u64 = 2;
/// Those that take a connector from each other.
const RUNNERS: u64 = 3;
/// How long faults befall the cluster.
const FAULTS_MS: u64 = 6_000;
/// Within this all is well after the last of them.
const PEACE_MS: u64 = 60_000;
const LOOK_MS: u64 = 20;
const HOUR_NS: u64 = 3_600_000_000_000;

pub(super) struct World {
    simulation: Simulation,
    random: Random,
    content: Content,
    scene: Scene,
    nodes: Vec<NodeId>,
    now_ms: u64,
    /// When a node goes on, or ends.
    resumes_ms: BTreeMap<NodeId, u64>,
    ends_ms: BTreeMap<NodeId, u64>,
    starts_ms: BTreeMap<NodeId, u64>,
    /// When the ways are open again.
    opens_ms: u64,
    faults: usize,
}

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) stored: usize,
    pub(super) faults: usize,
    /// Offers of copies, and pieces.
    pub(super) segments: usize,
    /// How often replicas fell asleep, as far as their nodes did not end.
    pub(super) sleeps: u64,
    /// Questions that were answered.
    pub(super) reads: usize,
    /// What the replicas hold in the end, in short.
    pub(super) digest: u64,
}

/// Runs a seed.
pub(super) fn run(content: Content, seed: u64) -> Result<Outcome, String> {
    let mut world = World::new(content, seed);
    let mut judge = Judge::default();
    let outcome = world.live(&mut judge);
    let told = outcome.map_err(|what| format!("seed {seed}, at {} ms: {what}", world.now_ms));
    let digest = told?;
    let (stored, faults, reads) = (world.scene.stored_count(), world.faults, world.scene.reads());
    let runs = world.scene.hosts.values().filter_map(|host| host.run.as_ref());
    let sleeps = runs.map(|run| run.instances.wakes_and_sleeps().1).sum();
    let segments = world.scene.hall.segments();
    Ok(Outcome { stored, faults, segments, sleeps, reads, digest })
}

impl World {
    fn new(content: Content, seed: u64) -> World {
        let simulation = Simulation::new(seed);
        let mut random = Random::new(seed);
        let count = if random.one_in(4) { 5 } else { 3 };
        let nodes: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let kept_bytes_max = if random.one_in(2) { 0 } else { 1 << 20 };
        let copies = CopyOptions { kept_bytes_max, ..CopyOptions::default() };
        let hosts: BTreeMap<NodeId, Host> =
            nodes.iter().map(|node| (*node, Host::new(*node, &nodes, content))).collect();
        for host in hosts.values() {
            // Half of the clusters have clocks that are apart.
            let ahead_ns = random.below(2) * random.below(2 * HOUR_NS);
            host.ahead_ns.store(ahead_ns as i64, Ordering::Relaxed);
        }
        let (hall, ledger, book) = Default::default();
        World {
            simulation,
            random,
            content,
            scene: Scene { hall, hosts, ledger, book, copies },
            nodes,
            now_ms: 0,
            resumes_ms: BTreeMap::new(),
            ends_ms: BTreeMap::new(),
            starts_ms: BTreeMap::new(),
            opens_ms: u64::MAX,
            faults: 0,
        }
    }

    fn live(&mut self, judge: &mut Judge) -> Result<u64, String> {
        for node in self.nodes.clone() {
            self.start(node)?;
        }
        self.scene.hall.weather(2_000, 0);
        match self.content {
            Content::Tablets => self.start_writers(),
            Content::Catalog => self.start_changers(),
        }
        let mut next_ms = 500;
        while self.now_ms < FAULTS_MS {
            self.pass(judge)?;
            if self.now_ms >= next_ms {
                self.befall();
                next_ms = self.now_ms + self.random.within((1, 500));
            }
        }
        self.heal()?;
        let stored = self.scene.stored_count();
        let peace_ms = self.now_ms + PEACE_MS;
        // All groups take writes again before it is over.
        while self.scene.stored_count() < stored + 40 {
            self.pass(judge)?;
            if self.now_ms > peace_ms {
                return Err("nobody writes after a minute of peace".into());
            }
        }
        self.scene.end();
        loop {
            for _ in 0..10 {
                self.pass(judge)?;
            }
            match judge.look_at_end(&self.scene) {
                Ok(digest) => return Ok(digest),
                Err(what) if self.now_ms > peace_ms + PEACE_MS => return Err(what),
                Err(_) => {}
            }
        }
    }

    fn start_writers(&self) {
        for client in 1..=CLIENTS {
            clients::start(client, &self.nodes, &self.scene.hall, &self.scene.ledger);
        }
        for client in CLIENTS + 1..=CLIENTS + ARRIVAL_CLIENTS {
            clients::start_arrivals(client, &self.nodes, &self.scene.hall, &self.scene.ledger);
        }
        readers::start(&self.nodes, &self.scene.hall, &self.scene.ledger);
    }

    fn start_changers(&self) {
        for client in 1..=CLIENTS {
            changes::start_tables(client, &self.nodes, &self.scene.hall, &self.scene.book);
        }
        for client in 1..=RUNNERS {
            changes::start_runner(client, &self.nodes, &self.scene.hall, &self.scene.book);
        }
    }

    /// Lets a while pass.
    fn pass(&mut self, judge: &mut Judge) -> Result<(), String> {
        self.simulation.run_for(Duration::from_millis(LOOK_MS));
        self.now_ms += LOOK_MS;
        let due = |times: &mut BTreeMap<NodeId, u64>, now_ms| -> Vec<NodeId> {
            times.extract_if(.., |_, at_ms| *at_ms <= now_ms).map(|(node, _)| node).collect()
        };
        for node in due(&mut self.resumes_ms, self.now_ms) {
            self.resume(node);
        }
        for node in due(&mut self.ends_ms, self.now_ms) {
            self.kill(node);
        }
        for node in due(&mut self.starts_ms, self.now_ms) {
            self.start(node)?;
        }
        if self.opens_ms <= self.now_ms {
            self.opens_ms = u64::MAX;
            self.scene.hall.open_all();
        }
        judge.look(&self.scene)
    }

    fn befall(&mut self) {
        self.faults += 1;
        let node = self.random.pick(&self.nodes);
        let others: Vec<_> = self.nodes.iter().copied().filter(|other| *other != node).collect();
        let other = self.random.pick(&others);
        match self.random.below(15) {
            0 | 1 => self.kill(node),
            2 => self.nodes.clone().into_iter().for_each(|node| self.kill(node)),
            3 | 4 => self.cut_power_soon(node),
            5 => self.pause(node),
            6..=8 => self.stall(node),
            9 => {
                self.scene.hall.shut(node, other);
                self.opens_ms = self.now_ms + self.random.within((100, 2_500));
            }
            10 => {
                for other in others {
                    self.scene.hall.shut(node, other);
                    self.scene.hall.shut(other, node);
                }
                self.opens_ms = self.now_ms + self.random.within((100, 2_500));
            }
            11 => self.scene.hall.reset(node, other),
            12 => self.scene.hall.open_all(),
            13 => {
                // Never back: a node that has ended forgets which times it has given.
                let jump_ns = self.random.below(HOUR_NS) as i64;
                self.scene.hosts[&node].ahead_ns.fetch_add(jump_ns, Ordering::Relaxed);
            }
            _ => {
                let rough = self.random.one_in(2);
                self.scene
                    .hall
                    .weather(if rough { 60_000 } else { 2_000 }, if rough { 200 } else { 0 });
            }
        }
    }

    /// The disk syncs nothing for a while, in which the power may go.
    fn stall(&mut self, node: NodeId) {
        let for_ms = self.random.within((1, 3_000));
        self.scene.hosts[&node].stall(Duration::from_millis(for_ms));
        if self.random.one_in(2) {
            self.ends_ms.insert(node, self.now_ms + self.random.within((1, for_ms)));
        }
    }

    fn heal(&mut self) -> Result<(), String> {
        self.scene.hall.open_all();
        self.scene.hall.weather(2_000, 0);
        for node in self.nodes.clone() {
            // A disk that has lost its power does not serve.
            if self.scene.hosts[&node].disk.crashed() || self.ends_ms.contains_key(&node) {
                self.kill(node);
            }
            self.resume(node);
            self.start(node)?;
        }
        // No more of what was to befall a node that did not run.
        self.ends_ms.clear();
        Ok(())
    }

    fn start(&mut self, node: NodeId) -> Result<(), String> {
        let Some(host) = self.scene.hosts.get_mut(&node) else { return Ok(()) };
        if host.run.is_some() {
            return Ok(());
        }
        host.start(&self.scene.hall, &self.scene.copies)?;
        for (_, host) in self.scene.hosts.iter().filter(|(other, _)| **other != node) {
            if let Some(run) = &host.run {
                run.supervisor.restarted(node);
            }
        }
        Ok(())
    }

    /// Ends a node as a power cut does.
    fn kill(&mut self, node: NodeId) {
        let seed = self.random.below(u64::MAX);
        let Some(host) = self.scene.hosts.get_mut(&node) else { return };
        let Some(run) = host.run.take() else { return };
        self.ends_ms.remove(&node);
        self.resumes_ms.remove(&node);
        self.starts_ms.insert(node, self.now_ms + self.random.within((1, 2_000)));
        // Whatever its destructors write goes to a disk that is gone.
        host.disk = host.disk.reboot(seed);
        self.scene.hall.close(node);
        self.simulation.kill(owner_of(node));
        drop(run);
        self.look_now();
    }

    /// The disk loses its power within one of its next operations, the node soon after.
    fn cut_power_soon(&mut self, node: NodeId) {
        let (after, wait_ms) = (self.random.within((1, 12)), self.random.within((1, 300)));
        let Some(host) = self.scene.hosts.get(&node).filter(|host| host.run.is_some()) else {
            return;
        };
        host.disk.crash_at(host.disk.operations() + after);
        self.ends_ms.insert(node, self.now_ms + wait_ms);
    }

    fn pause(&mut self, node: NodeId) {
        let for_ms = self.random.within((1, 3_000));
        if self.scene.hosts[&node].run.is_some() && !self.resumes_ms.contains_key(&node) {
            self.simulation.pause(owner_of(node));
            self.scene.hall.stand_still(node);
            self.resumes_ms.insert(node, self.now_ms + for_ms);
        }
    }

    fn resume(&mut self, node: NodeId) {
        self.resumes_ms.remove(&node);
        self.simulation.resume(owner_of(node));
        self.scene.hall.go_on(node);
    }

    fn look_now(&self) {
        let runs = self.scene.hosts.values().filter_map(|host| host.run.as_ref());
        runs.for_each(|run| run.supervisor.look_now());
    }
}
