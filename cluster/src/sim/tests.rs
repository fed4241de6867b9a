//! Seeds, and the judge.

use super::{faults::Fault, wire::Weather, world::World};
use crate::{
    liveness::{Action, Doubt, SUSPECT_MS, UNHEARD_MS},
    planted::{self, plant},
};
use oribi_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

const MS: u64 = 1_000;
/// After so long in peace everybody trusts everybody: a way that was shut is tried again within
/// 0.5 s, a connection that got lost meanwhile is given up after 2 s, and three pings prove it.
const PEACE_US: u64 = 4_000 * MS;
/// A node that moves and listens knows of a peer that does not within this.
const NOTICE_US: u64 = (SUSPECT_MS + 50) * MS;
/// As above, where it hears a peer that does not hear it.
const UNHEARD_US: u64 = (UNHEARD_MS + 50) * MS;
/// A piece may be on its way for so long in bad weather.
const SLOW_US: u64 = 500 * MS;
/// As above, where the system has closed the connections.
const CLOSED_US: u64 = 60 * MS;
/// A node that stood still suspects nobody for a while.
const BLIND_US: u64 = (SUSPECT_MS + 100) * MS;

/// What a node thinks, and when it last did not trust.
#[derive(Default)]
struct Judge {
    distrusted_us: BTreeMap<(NodeId, NodeId), u64>,
}

fn elapsed(since: Option<u64>, now_us: u64) -> Option<u64> {
    since.map(|at_us| now_us - at_us)
}

impl Judge {
    fn look(&mut self, world: &World) -> Result<(), String> {
        let ids = world.ids();
        for one in &ids {
            for other in ids.iter().filter(|other| *other != one) {
                self.look_at(world, *one, *other)?;
            }
        }
        for one in &ids {
            self.look_at_deaths(world, *one)?;
            look_at_order(world, *one)?;
        }
        Ok(())
    }

    fn look_at(&mut self, world: &World, one: NodeId, other: NodeId) -> Result<(), String> {
        let now_us = world.now_us();
        let (own, of) = (world.since[&one], world.since[&other]);
        let process = world.machines[&one].process.as_ref();
        let trusts = process.is_some_and(|process| process.liveness.trusts(other));
        if !trusts {
            self.distrusted_us.insert((one, other), now_us);
        }
        let Some(awake_us) = elapsed(own.awake, now_us) else { return Ok(()) };
        let ways = [world.ways[&(one, other)], world.ways[&(other, one)]];
        let open_us = ways.iter().map(|(open, at_us)| if *open { now_us - at_us } else { 0 }).min();
        let shut = |(open, at_us): (bool, u64)| (!open).then_some(now_us - at_us);
        let [unheard_us, silent_us] = ways.map(shut);
        let calm_us = elapsed(world.calm_since_us, now_us).unwrap_or(0);
        let sound_us = if of.stalled.is_some() { 0 } else { now_us - of.sound };
        let peace = [awake_us, elapsed(of.awake, now_us).unwrap_or(0), open_us.unwrap_or(0)];
        let peace_us = peace.into_iter().chain([calm_us, sound_us]).min().unwrap_or(0);
        if peace_us > PEACE_US && !trusts {
            return Err(format!("{one} does not trust {other} after {peace_us} us of peace"));
        }
        let still_us = elapsed(of.still, now_us);
        for (since_us, notice_us) in
            [(still_us.max(silent_us), NOTICE_US), (unheard_us, UNHEARD_US)]
        {
            let bad_us = since_us.unwrap_or(0);
            // What was said before may have been long on its way.
            let is_slow = calm_us < bad_us + SLOW_US;
            let notice_us = if is_slow { UNHEARD_US } else { notice_us };
            let bad_us = bad_us.min(awake_us.saturating_sub(BLIND_US));
            if bad_us > notice_us && trusts {
                return Err(format!("{one} trusts {other} after {bad_us} us without an answer"));
            }
        }
        // A process that starts counts the disk as proved.
        let running = world.machines[&other].process.as_ref();
        let running_us = running.map_or(0, |process| now_us - process.start_us);
        let stalled_us = elapsed(of.stalled, now_us).unwrap_or(0).min(running_us);
        if stalled_us.min(awake_us.saturating_sub(BLIND_US)) > 2_700 * MS && trusts {
            return Err(format!("{one} trusts {other} whose disk stalls for {stalled_us} us"));
        }
        let is_dead = world.machines[&other].process.is_none();
        let heard_of =
            open_us.unwrap_or(0).min(calm_us) > PEACE_US && awake_us > BLIND_US + PEACE_US;
        if is_dead && heard_of && trusts && still_us.unwrap_or(0) > CLOSED_US {
            return Err(format!("{one} trusts {other}, which was killed {still_us:?} us ago"));
        }
        Ok(())
    }

    /// Who is said to be dead was lately trusted by no majority.
    fn look_at_deaths(&self, world: &World, one: NodeId) -> Result<(), String> {
        const LATELY_US: u64 = (UNHEARD_MS + SUSPECT_MS + 100) * MS;
        let now_us = world.now_us();
        let awake_us = elapsed(world.since[&one].awake, now_us).unwrap_or(0);
        let Some(process) = world.machines[&one].process.as_ref() else { return Ok(()) };
        let voters: BTreeSet<NodeId> = world.ids().into_iter().collect();
        if awake_us < 1_000 * MS {
            return Ok(());
        }
        for node in voters.iter().filter(|node| **node != one) {
            let lately = |voter: &&NodeId| {
                let at_us = self.distrusted_us.get(&(**voter, *node));
                at_us.is_some_and(|at_us| now_us - at_us <= LATELY_US)
            };
            let suspecting = voters.iter().filter(lately).count();
            if process.liveness.is_dead(*node, &voters) && suspecting <= voters.len() / 2 {
                return Err(format!("{one} says that {node} is dead, {suspecting} suspected it"));
            }
        }
        Ok(())
    }
}

/// Nothing of a connection is heard after something of the one that took its place.
fn look_at_order(world: &World, one: NodeId) -> Result<(), String> {
    let process = world.machines[&one].process.as_ref();
    match process.and_then(|process| process.disorder.as_ref()) {
        Some(disorder) => Err(format!("at {one}: {disorder}")),
        None => Ok(()),
    }
}

type Trace = Vec<(u64, NodeId, Action)>;

fn run(seed: u64) -> Result<(Trace, usize), String> {
    const FAULTS_US: u64 = 40_000 * MS;
    let nodes = if seed.is_multiple_of(3) { 5 } else { 3 };
    let mut world = World::new(seed, nodes, FAULTS_US);
    let mut judge = Judge::default();
    while world.now_us() < FAULTS_US + 12_000 * MS {
        world.run_to_look();
        let verdict = judge.look(&world);
        verdict.map_err(|what| format!("seed {seed}, at {} us: {what}", world.now_us()))?;
    }
    for one in world.ids() {
        let process = world.machines[&one].process.as_ref().ok_or("a node did not start")?;
        if !world.ids().into_iter().all(|other| process.liveness.trusts(other)) {
            return Err(format!("seed {seed}: node {one} does not trust all at the end"));
        }
    }
    Ok((world.trace, world.faults))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whoever_lives_is_trusted_and_whoever_does_not_is_suspected() {
    let seeds: Vec<u64> = match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(40)).collect(),
    };
    for seed in seeds {
        let (trace, faults) = run(seed).unwrap_or_else(|what| panic!("{what}"));
        assert!(faults > 20 && !trace.is_empty(), "seed {seed}: nothing happened");
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in [5, 6] {
        assert_eq!(run(seed).unwrap().0, run(seed).unwrap().0);
    }
}

#[test]
fn a_connection_that_is_read_on_is_found() {
    plant(Some(planted::Fault::SupersededStillRead));
    let seeds = 1..=number("SIM_SEEDS").unwrap_or(40);
    let found = seeds.into_iter().find_map(|seed| Some((seed, run(seed).err()?)));
    plant(None);
    let (seed, what) = found.expect("nothing finds it");
    println!("SupersededStillRead: {seed} seeds: {what}");
}

#[test]
fn in_peace_nobody_is_ever_suspected() {
    let mut world = World::new(99, 5, 0);
    while world.now_us() < 30_000 * MS {
        world.run_to_look();
    }
    assert_eq!(world.trace, []);
}

/// How long it takes from a fault to the suspicion of each other node.
fn noticed(fault: Fault) -> Vec<(u64, Doubt)> {
    let mut world = World::new(7, 3, 0);
    while world.now_us() < 5_000 * MS {
        world.run_to_look();
    }
    let start_us = world.now_us();
    world.befall(fault);
    while world.now_us() < start_us + 4_000 * MS {
        world.run_to_look();
    }
    let suspected = world.trace.iter().filter_map(|(at_us, _, action)| match action {
        Action::Suspect(_, doubt) => Some(((at_us - start_us) / MS, *doubt)),
        _ => None,
    });
    suspected.collect()
}

#[test]
fn each_way_to_fail_is_noticed_in_its_time() {
    let node = NodeId(1);
    for (fault, within_ms, doubt, count) in [
        (Fault::Kill(node), 10, Doubt::Gone, 2),
        (Fault::Pause(node, u64::from(u32::MAX)), 410, Doubt::Silent, 2),
        (Fault::Shut(node, NodeId(2)), UNHEARD_MS + 10, Doubt::Silent, 2),
        (Fault::ShutBoth(node, NodeId(2)), 410, Doubt::Silent, 2),
        (Fault::Stall(node, u64::from(u32::MAX)), 2_150, Doubt::Stalled, 2),
        (Fault::Reset(node, NodeId(2)), 0, Doubt::Gone, 0),
        (Fault::Weather(Weather::CALM), 0, Doubt::Gone, 0),
    ] {
        let noticed = noticed(fault);
        assert_eq!(noticed.len(), count, "{fault:?}: {noticed:?}");
        for (after_ms, found) in noticed {
            assert!(after_ms <= within_ms && found == doubt, "{fault:?}: {after_ms} {found:?}");
        }
    }
}
