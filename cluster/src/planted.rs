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
}

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
    PLANTED.get() == Some(fault)
}

/// Whether it is planted.
#[cfg(not(test))]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}
