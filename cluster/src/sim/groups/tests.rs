//! Seeds.

use super::{host::Content, world::run};
use crate::planted::{Fault, plant};
use std::collections::BTreeSet;

/// Seeds that have found something before: a copy that counted before it was synced, a power cut
/// after which a member knew of more than it had, and planted faults that few find.
const TRIED_FIRST: [u64; 4] = [33, 39, 6, 19];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs a seed; where it panics, says which one it was.
fn run_seed(content: Content, seed: u64) -> Result<super::world::Outcome, String> {
    let outcome = std::panic::catch_unwind(|| run(content, seed));
    outcome.unwrap_or_else(|panic| Err(format!("seed {seed}: {}", crate::tasks::panic_text(panic))))
}

/// The seed that is asked for, or else so many.
fn seeds(count: u64) -> BTreeSet<u64> {
    match number("SIM_SEED") {
        Some(seed) => BTreeSet::from([seed]),
        None => (1..=number("SIM_SEEDS").unwrap_or(count)).collect(),
    }
}

#[test]
fn groups_lose_nothing_and_agree_whatever_befalls_them() {
    let mut seeds = seeds(24);
    if seeds.len() > 1 {
        seeds.extend(TRIED_FIRST);
    }
    let (mut segments, mut sleeps) = (0, 0);
    for seed in &seeds {
        let outcome = run_seed(Content::Tablets, *seed).unwrap_or_else(|what| panic!("{what}"));
        println!("seed {seed}: {outcome:?}");
        assert!(
            outcome.faults > 10 && outcome.stored > 40 && outcome.reads > 20,
            "seed {seed}: {outcome:?}"
        );
        segments += outcome.segments;
        sleeps += outcome.sleeps;
    }
    assert!(sleeps >= seeds.len() as u64, "they slept {sleeps} times");
    assert!(segments > 0 || seeds.len() == 1, "nothing was copied");
}

#[test]
fn the_catalog_loses_nothing_and_is_one_whatever_befalls_its_nodes() {
    for seed in seeds(12) {
        let outcome = run_seed(Content::Catalog, seed).unwrap_or_else(|what| panic!("{what}"));
        println!("seed {seed}: {outcome:?}");
        assert!(
            outcome.faults > 10 && outcome.stored > 40 && outcome.reads > 20,
            "seed {seed}: {outcome:?}"
        );
    }
}

#[test]
fn a_seed_decides_all_that_groups_do() {
    for (content, seed) in [(Content::Tablets, 2), (Content::Tablets, 3), (Content::Catalog, 2)] {
        assert_eq!(run_seed(content, seed), run_seed(content, seed));
    }
}

/// The first seed that finds a fault.
fn found(content: Content, fault: Fault) -> Option<(u64, String)> {
    plant(Some(fault));
    let mut seeds = TRIED_FIRST.into_iter().chain(1..=number("SIM_SEEDS").unwrap_or(24));
    let found = seeds.find_map(|seed| Some((seed, run_seed(content, seed).err()?)));
    plant(None);
    found
}

#[test]
fn planted_faults_are_found() {
    for fault in [
        Fault::AckBeforeSync,
        Fault::VoteNotSynced,
        Fault::LeaderRestored,
        Fault::FoundedByEach,
        Fault::AppliedBeyondCommit,
        Fault::PurgedWhileCopying,
        Fault::TakenOverLive,
        Fault::ReadWithoutMajority,
        Fault::VoteSleptAway,
        Fault::ArrivalWithoutSlot,
        Fault::ReadBeforeApplied,
        Fault::PurgedBeyondFlush,
        Fault::UnknownAsNotStored,
        Fault::NotTruncated,
        Fault::CopyNotCounted,
    ] {
        must_find(Content::Tablets, fault);
    }
}

#[test]
fn planted_faults_of_the_catalog_are_found() {
    for fault in [Fault::OldEpochTaken, Fault::RangesOverlap, Fault::ReadWithoutMajority] {
        must_find(Content::Catalog, fault);
    }
}

fn must_find(content: Content, fault: Fault) {
    let (seed, what) = found(content, fault).unwrap_or_else(|| panic!("nothing finds {fault:?}"));
    println!("{fault:?}: found by seed {seed}: {what}");
}
