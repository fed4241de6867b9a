//! The cluster as a whole: what happens to whom, one thing after another.

use super::{
    faults::Fault,
    node::{Done, Process},
    timeline::{Random, Timeline},
    wire::{Weather, Wire, Wires},
};
use crate::{
    Boot,
    liveness::{Action, Event},
};
use oribi_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

const MS: u64 = 1_000;

/// What is to happen.
enum Happening {
    /// The liveness of a node's run is due.
    Step(NodeId, Boot),
    /// A node connects to another one.
    Dial(NodeId, Boot, NodeId),
    Arrive(NodeId, Wire, Vec<u8>),
    Break(NodeId, Wire),
    Resume(NodeId, u64),
    Sound(NodeId, u64),
    Fault,
    Look,
}

/// A machine, whether a process runs on it or not.
pub(super) struct Machine {
    pub(super) process: Option<Process>,
    pub(super) boot: Boot,
    paused_until_us: u64,
    stalled_until_us: u64,
    /// What came while the process stood still.
    held: Vec<Happening>,
}

/// Since when something has been as it is, for the judge, µs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// The process runs, and did not stand still.
    pub(super) awake: Option<u64>,
    /// It does neither run nor move.
    pub(super) still: Option<u64>,
    /// The disk stalls.
    pub(super) stalled: Option<u64>,
    /// When it last did.
    pub(super) sound: u64,
}

pub(super) struct World {
    timeline: Timeline<Happening>,
    random: Random,
    pub(super) wires: Wires,
    pub(super) machines: BTreeMap<NodeId, Machine>,
    pub(super) since: BTreeMap<NodeId, Since>,
    /// Since when a way is open or shut.
    pub(super) ways: BTreeMap<(NodeId, NodeId), (bool, u64)>,
    pub(super) calm_since_us: Option<u64>,
    faults_until_us: u64,
    /// What was done, in short, so that two runs can be compared.
    pub(super) trace: Vec<(u64, NodeId, Action)>,
    pub(super) faults: usize,
}

impl World {
    pub(super) fn new(seed: u64, nodes: u32, faults_until_us: u64) -> World {
        let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let machine = |_| Machine {
            process: None,
            boot: Boot(0),
            paused_until_us: 0,
            stalled_until_us: 0,
            held: Vec::new(),
        };
        let idle = Since { awake: None, still: Some(0), stalled: None, sound: 0 };
        let pairs = ids.iter().flat_map(|from| ids.iter().map(move |to| (*from, *to)));
        let mut world = World {
            timeline: Timeline::new(seed),
            random: Random::new(seed),
            wires: Wires::new(),
            machines: ids.iter().map(|id| (*id, machine(id))).collect(),
            since: ids.iter().map(|id| (*id, idle)).collect(),
            ways: pairs.map(|pair| (pair, (true, 0))).collect(),
            calm_since_us: Some(0),
            faults_until_us,
            trace: Vec::new(),
            faults: 0,
        };
        for id in ids {
            world.befall(Fault::Start(id));
        }
        world.timeline.at(0, Happening::Look);
        world.timeline.at(2_000 * MS, Happening::Fault);
        world
    }

    pub(super) fn now_us(&self) -> u64 {
        self.timeline.now_us()
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    /// Goes on to the next look of the judge.
    pub(super) fn run_to_look(&mut self) {
        const LOOK_US: u64 = 20 * MS;
        while let Some(happening) = self.timeline.next() {
            match happening {
                Happening::Look => {
                    let at_us = self.now_us() + LOOK_US;
                    self.timeline.at(at_us, Happening::Look);
                    return;
                }
                Happening::Fault => self.draw_fault(),
                other => self.happen(other),
            }
        }
    }

    fn draw_fault(&mut self) {
        let now_us = self.now_us();
        if now_us < self.faults_until_us {
            let ids = self.ids();
            let fault = Fault::draw(&mut self.random, &ids);
            self.faults += 1;
            self.befall(fault);
            let pause_us = self.random.within((1, 1_500)) * MS;
            self.timeline.at(now_us + pause_us, Happening::Fault);
        } else {
            self.heal();
        }
    }

    fn heal(&mut self) {
        self.befall(Fault::OpenAll);
        self.befall(Fault::Weather(Weather::CALM));
        for id in self.ids() {
            self.befall(Fault::Start(id));
        }
    }

    pub(super) fn befall(&mut self, fault: Fault) {
        let now_us = self.now_us();
        match fault {
            Fault::Kill(node) => self.kill(node),
            Fault::Start(node) => self.start(node),
            Fault::Pause(node, for_us) => {
                let machine = self.machine(node);
                if machine.process.is_some() && machine.paused_until_us <= now_us {
                    let until_us = now_us + for_us;
                    machine.paused_until_us = until_us;
                    self.timeline.at(until_us, Happening::Resume(node, until_us));
                    let since = self.since.get_mut(&node).unwrap();
                    (since.awake, since.still) = (None, Some(now_us));
                }
            }
            Fault::Stall(node, for_us) => {
                let machine = self.machine(node);
                if machine.stalled_until_us <= now_us {
                    let until_us = now_us + for_us;
                    machine.stalled_until_us = until_us;
                    self.timeline.at(until_us, Happening::Sound(node, until_us));
                    self.since.get_mut(&node).unwrap().stalled = Some(now_us);
                }
            }
            Fault::Shut(from, to) => self.shut(from, to),
            Fault::ShutBoth(one, other) => {
                self.shut(one, other);
                self.shut(other, one);
            }
            Fault::Reset(one, other) => {
                for wire in self.wires.between(one, other) {
                    self.close(wire, None);
                }
            }
            Fault::OpenAll => self.open_all(),
            Fault::Weather(weather) => {
                let is_calm = weather.slow_one_in == Weather::CALM.slow_one_in;
                self.wires.weather = weather;
                self.calm_since_us = is_calm.then(|| self.calm_since_us.unwrap_or(now_us));
            }
        }
    }

    fn shut(&mut self, from: NodeId, to: NodeId) {
        if !self.wires.is_shut(from, to) {
            self.wires.shut(from, to);
            self.ways.insert((from, to), (false, self.now_us()));
        }
    }

    fn open_all(&mut self) {
        let now_us = self.now_us();
        for (at_us, wire, sender, bytes) in self.wires.open_all(now_us, &mut self.random) {
            if let Some(to) = self.wires.other(wire, sender) {
                self.timeline.at(at_us, Happening::Arrive(to, wire, bytes));
            }
        }
        for way in self.ways.values_mut().filter(|way| !way.0) {
            *way = (true, now_us);
        }
    }

    fn kill(&mut self, node: NodeId) {
        let now_us = self.now_us();
        let machine = self.machine(node);
        if machine.process.take().is_none() {
            return;
        }
        (machine.paused_until_us, machine.held) = (0, Vec::new());
        for wire in self.wires.of(node) {
            self.close(wire, Some(node));
        }
        let since = self.since.get_mut(&node).unwrap();
        since.awake = None;
        since.still.get_or_insert(now_us);
    }

    fn start(&mut self, node: NodeId) {
        let (now_us, ids) = (self.now_us(), self.ids());
        let nodes: BTreeSet<NodeId> = ids.iter().copied().collect();
        let machine = self.machine(node);
        if machine.process.is_some() {
            return;
        }
        machine.boot = Boot(machine.boot.0 + 1);
        let boot = machine.boot;
        machine.process = Some(Process::start(node, boot, &nodes, now_us));
        self.timeline.at(now_us, Happening::Step(node, boot));
        for other in ids.into_iter().filter(|id| *id != node) {
            let at_us = now_us + self.random.below(5 * MS);
            self.timeline.at(at_us, Happening::Dial(node, boot, other));
        }
        let since = self.since.get_mut(&node).unwrap();
        (since.awake, since.still) = (Some(now_us), None);
    }

    fn happen(&mut self, happening: Happening) {
        let now_us = self.now_us();
        match happening {
            Happening::Resume(node, until_us) => {
                let machine = self.machine(node);
                if machine.paused_until_us == until_us {
                    machine.paused_until_us = 0;
                    let held = std::mem::take(&mut machine.held);
                    let since = self.since.get_mut(&node).unwrap();
                    (since.awake, since.still) = (Some(now_us), None);
                    for one in held {
                        self.happen(one);
                    }
                }
                return;
            }
            Happening::Sound(node, until_us) => {
                if self.machine(node).stalled_until_us == until_us {
                    let since = self.since.get_mut(&node).unwrap();
                    (since.stalled, since.sound) = (None, now_us);
                }
                return;
            }
            _ => {}
        }
        let node = match &happening {
            Happening::Step(node, _) | Happening::Dial(node, ..) => *node,
            Happening::Arrive(node, ..) | Happening::Break(node, _) => *node,
            Happening::Resume(..) | Happening::Sound(..) => return,
            Happening::Fault | Happening::Look => return,
        };
        let machine = self.machine(node);
        if machine.paused_until_us > now_us {
            return machine.held.push(happening);
        }
        let is_sound = machine.stalled_until_us <= now_us;
        let Some(process) = machine.process.as_mut() else { return };
        let boot = process.identity.boot;
        let done = match happening {
            Happening::Step(_, of) if of == boot => {
                let event = if is_sound { Event::DiskProved } else { Event::Tick };
                let done = process.step(now_us, event);
                let due_us = process.due_us();
                self.timeline.at(due_us, Happening::Step(node, boot));
                done
            }
            Happening::Dial(_, of, to) if of == boot => self.dial(node, boot, to),
            Happening::Arrive(_, wire, bytes) => process.received(now_us, wire, &bytes),
            Happening::Break(_, wire) => process.broken(now_us, wire),
            _ => return,
        };
        self.carry_out(node, boot, done);
    }

    fn dial(&mut self, from: NodeId, boot: Boot, to: NodeId) -> Vec<Done> {
        let now_us = self.now_us();
        let is_open = !self.wires.is_shut(from, to) && !self.wires.is_shut(to, from);
        let is_running = self.machine(to).process.is_some();
        let process = self.machine(from).process.as_mut().expect("it dials");
        if process.is_speaking_to(to) {
            return Vec::new();
        }
        if !is_open {
            self.timeline.at(now_us + 500 * MS, Happening::Dial(from, boot, to));
            return Vec::new();
        }
        if !is_running {
            let done = process.step(now_us, Event::Refused(to));
            self.timeline.at(now_us + 50 * MS, Happening::Dial(from, boot, to));
            return done;
        }
        let wire = self.wires.open(from, to);
        let done = self.machine(from).process.as_mut().expect("it dials").call(to, wire);
        // The system takes the call, whether the process moves or not.
        self.machine(to).process.as_mut().expect("it runs").called(wire);
        done
    }

    fn carry_out(&mut self, node: NodeId, boot: Boot, done: Vec<Done>) {
        let now_us = self.now_us();
        for one in done {
            match one {
                Done::Send(wire, bytes) => {
                    let end = (wire, node);
                    let sent = self.wires.send(end, bytes, now_us, &mut self.random);
                    if let (Some((at_us, bytes)), Some(to)) = (sent, self.wires.other(wire, node)) {
                        self.arrive_in_pieces(at_us, to, wire, bytes);
                    }
                }
                Done::Close(wire) => self.close(wire, Some(node)),
                Done::Connect(to) => {
                    let at_us = now_us + self.random.below(MS);
                    self.timeline.at(at_us, Happening::Dial(node, boot, to));
                }
                Done::View(action) => self.trace.push((now_us, node, action)),
            }
        }
    }

    /// Bytes come as the network likes to cut them.
    fn arrive_in_pieces(&mut self, at_us: u64, to: NodeId, wire: Wire, mut bytes: Vec<u8>) {
        if self.random.one_in(4) {
            let rest = bytes.split_off(self.random.below(bytes.len() as u64) as usize);
            // One happening after the other, at times that keep their order.
            self.timeline.at(at_us.saturating_sub(1), Happening::Arrive(to, wire, bytes));
            bytes = rest;
        }
        self.timeline.at(at_us, Happening::Arrive(to, wire, bytes));
    }

    /// Breaks a connection; the ends that did not do it hear of it once all else has arrived.
    fn close(&mut self, wire: Wire, by: Option<NodeId>) {
        let now_us = self.now_us();
        let Some(ends) = self.wires.close(wire) else { return };
        for (node, last_us) in ends {
            if by == Some(node) {
                continue;
            }
            let other = ends[usize::from(ends[0].0 == node)].0;
            // Where nothing gets through, the system gives up after a while.
            let wait_us = if self.wires.is_shut(other, node) { 2_000 * MS } else { 0 };
            let at_us = last_us.max(now_us) + wait_us + self.random.within((50, 2_000));
            self.timeline.at(at_us, Happening::Break(node, wire));
        }
    }

    fn machine(&mut self, node: NodeId) -> &mut Machine {
        self.machines.get_mut(&node).expect("the node is one of the cluster")
    }
}
