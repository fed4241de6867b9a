//! How a consensus instance is set.

use super::types::StoredMembership;
use crate::planted::{Fault, is_planted};
use openraft::{Config, ConfigError, SnapshotPolicy};
use std::sync::Arc;

/// A leader of several voters never gives up by the clock, and a voter never lets another stand:
/// who is dead is decided outside.
const LEASE_MS: u64 = 24 * 3_600_000;
/// How long an append to another member may take; nothing beats by it.
const APPEND_MS: u64 = 1_000;
/// Steps that wait for an instance. A node runs thousands of instances, so it is small.
const WAITING_MAX: u64 = 256;

/// Snapshots and purges happen when a flush says so, never by themselves (openraft issue 2116),
/// and no instance has a clock of its own. `newest` is the newest membership in the log.
///
/// # Errors
/// Figures that contradict one another.
pub(super) fn config(newest: &StoredMembership) -> Result<Arc<Config>, ConfigError> {
    let config = Config {
        api_batch_capacity: WAITING_MAX,
        api_channel_size: Some(WAITING_MAX),
        notification_channel_size: Some(WAITING_MAX),
        state_machine_channel_size: Some(WAITING_MAX),
        log_stage_capacity: Some(1),
        cluster_name: "oribi".into(),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        heartbeat_interval: APPEND_MS,
        // A member whose disk lost what it had said was synced is sent all of it again; else it would never
        // follow before the next election. In tests the leader breaks off instead: no disk lies there.
        allow_log_reversion: Some(!cfg!(test)),
        election_timeout_min: LEASE_MS - 1,
        election_timeout_max: LEASE_MS,
        // What it led with before it ended, it may have lost since to others who were asked.
        enable_leader_restore: Some(is_alone(newest) || is_planted(Fault::LeaderRestored)),
        ..Config::default()
    };
    config.validate().map(Arc::new)
}

/// Whether the group has one voter, whose log alone says what is committed.
pub(super) fn is_alone(membership: &StoredMembership) -> bool {
    membership.voter_ids().count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::Membership;
    use std::collections::BTreeSet;

    fn of(voters: &[&[u64]]) -> StoredMembership {
        let sets: Vec<BTreeSet<u64>> =
            voters.iter().map(|set| set.iter().copied().collect()).collect();
        let all: BTreeSet<u64> = sets.iter().flatten().copied().collect();
        StoredMembership::new(None, Membership::new_with_defaults(sets, all))
    }

    #[test]
    fn only_the_only_voter_leads_again_by_itself() {
        for (voters, may) in [
            (of(&[&[1]]), true),
            (of(&[&[1, 2, 3]]), false),
            (of(&[&[1], &[1, 2, 3]]), false),
            (StoredMembership::default(), false),
        ] {
            assert_eq!(config(&voters).unwrap().enable_leader_restore, Some(may));
        }
    }
}
