//! Faults that the simulation must find, each put in for a run of it. No build but that of this
//! crate's own tests can have one.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Fault {
    /// An entry counts as stored before it is synced.
    AckBeforeSync,
    /// A vote is given before it is synced.
    VoteNotSynced,
    /// A leader that starts anew goes on to lead.
    LeaderRestored,
    /// Each member founds the group.
    FoundedByEach,
    /// A member that starts anew applies what may not be committed.
    AppliedBeyondCommit,
    /// The log goes while a member copies what lies before it.
    PurgedWhileCopying,
    /// What is copied takes its place while an instance runs.
    TakenOverLive,
    /// A leader answers questions without asking a majority whether it still leads.
    ReadWithoutMajority,
    /// The connection whose place another has taken is read on.
    SupersededStillRead,
    /// A replica that falls asleep forgets for whom it has voted.
    VoteSleptAway,
    /// Nodes give times of arrival without regard to each other.
    ArrivalWithoutSlot,
    /// A member is read before it has applied what the leader said.
    ReadBeforeApplied,
    /// The log goes up to what is applied, flushed or not.
    PurgedBeyondFlush,
    /// A write of which nobody knows is told to be surely not stored.
    UnknownAsNotStored,
    /// What another leader has overruled stays in the log.
    NotTruncated,
    /// What was copied does not count as applied.
    CopyNotCounted,
    /// A replica that is removed takes a copy over.
    CopyTakenWhenClosed,
    /// Of a replica that is removed votes and entries are kept.
    NothingBuried,
    /// The log forgets a replica before its files are put away.
    BuriedBeforeFiles,
    /// A replica takes what is for another one on its node.
    OtherReplicaHeard,
    /// Who runs a connector no more still says how far it has got.
    OldEpochTaken,
    /// Ranges are made that overlap others of their table.
    RangesOverlap,
}

/// Names a fault that is planted in the whole process of a test, on all of its threads.
#[cfg(test)]
pub(crate) const VARIABLE: &str = "PLANTED_FAULT";

#[cfg(test)]
static NAMED: std::sync::LazyLock<Option<String>> =
    std::sync::LazyLock::new(|| std::env::var(VARIABLE).ok());

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault on this thread, or takes it out.
#[cfg(test)]
pub(crate) fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether it is planted.
#[cfg(test)]
pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault) || NAMED.as_ref().is_some_and(|name| *name == format!("{fault:?}"))
}

/// Whether it is planted.
#[cfg(not(test))]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs one test of this crate in a process of its own. Whether it passes, and what it says.
    fn run(test: &str, fault: Option<Fault>) -> (bool, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--include-ignored"]).env_remove(VARIABLE);
        if let Some(fault) = fault {
            command.env(VARIABLE, format!("{fault:?}"));
        }
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(said.contains("running 1 test"), "{test} is not there: {said}");
        (done.status.success(), said)
    }

    #[test]
    fn faults_of_replicas_that_come_and_go_are_found() {
        let begins = "node::tests::moved::a_replica_begins_with_nothing_of_the_one_before_wherever_power_goes";
        for (fault, test) in [
            (Fault::NothingBuried, begins),
            (Fault::BuriedBeforeFiles, begins),
            (
                Fault::OtherReplicaHeard,
                "replica::tests::several::what_is_for_another_replica_changes_nothing",
            ),
            (
                Fault::CopyTakenWhenClosed,
                "replica::tests::copies::a_replica_that_is_closed_takes_nothing_over",
            ),
        ] {
            let (passes, said) = run(test, None);
            assert!(passes, "{test} fails without a fault: {said}");
            let (passes, _) = run(test, Some(fault));
            assert!(!passes, "{test} does not find {fault:?}");
        }
    }
}
