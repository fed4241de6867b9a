//! What was committed before the node ended, applied again.

use super::{applied::Applied, forms, types::StoredMembership};
use crate::{
    Assignment, Error, MemberId, Result,
    machine::Machine,
    planted::{Fault, is_planted},
};
use openraft::EntryPayload;
use oribi_model::{LogIndex, Marks};
use oribi_store::{
    Flushed,
    log::{GroupId, GroupState, Log, Op},
};
use std::{ops::Range, sync::Arc};

/// Bytes of entries read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Applies what lies in the log behind the machine's last flush, as far as it is known to be
/// committed: all of it in a group whose only voter is this replica. Gives how far that is, and
/// the newest membership in the log.
pub(super) fn recover(
    member: MemberId,
    group: GroupId,
    log: &Log,
    machine: &dyn Machine,
) -> Result<(Applied, StoredMembership)> {
    let fail = |reason: String| Error::Unavailable { group: group.0, reason };
    let mut applied = match machine.flushed() {
        Some(flushed) => Applied::decode(&flushed.raft_state).map_err(fail)?,
        None => Applied::default(),
    };
    settle(group, log, &applied).map_err(fail)?;
    let state = log.group(group).unwrap_or_default();
    let start = applied.index().map_or(0, |index| index.0 + 1);
    if state.entries.start > start {
        return Err(fail(format!(
            "entries {start} to {} are neither flushed nor in the log",
            state.entries.start - 1
        )));
    }
    // What a member knows to be committed may outlive a power cut that its own copy does not: it
    // had not said that it has it, and gets it again.
    let committed = match &state.committed {
        Some(bytes) => forms::decode_log_id(bytes).map_err(fail)?.index + 1,
        None => start,
    };
    let is_alone = |membership: &StoredMembership| {
        membership.voter_ids().eq([member.to_u64()]) || is_planted(Fault::AppliedBeyondCommit)
    };
    let mut membership = applied.membership.clone();
    let (mut next, mut behind) = (start, None);
    while next < state.entries.end {
        for (index, bytes) in read(log, group, next..state.entries.end)? {
            if let Some(newest) = forms::decode_membership_entry(index, &bytes) {
                membership = newest;
            }
            // What a group's only voter has appended is committed.
            if behind.is_none() && (index < committed || is_alone(&membership)) {
                apply(machine, &mut applied, index, &bytes).map_err(fail)?;
            } else {
                behind.get_or_insert(index);
            }
            next = index + 1;
        }
    }
    // The other voters have left it since.
    let mut next = behind.filter(|_| is_alone(&membership)).unwrap_or(state.entries.end);
    while next < state.entries.end {
        for (index, bytes) in read(log, group, next..state.entries.end)? {
            apply(machine, &mut applied, index, &bytes).map_err(fail)?;
            next = index + 1;
        }
    }
    Ok((applied, membership))
}

/// The next entries of a range; at least one.
fn read(log: &Log, group: GroupId, entries: Range<u64>) -> Result<Vec<(u64, Arc<[u8]>)>> {
    let first = entries.start;
    let chunk = log.read_some(group, entries, CHUNK_BYTES)?;
    if chunk.is_empty() {
        let reason = format!("entry {first} was appended but is not in the log");
        return Err(Error::Unavailable { group: group.0, reason });
    }
    Ok(chunk)
}

fn apply(
    machine: &dyn Machine,
    applied: &mut Applied,
    index: u64,
    bytes: &[u8],
) -> std::result::Result<(), String> {
    let entry = forms::decode_entry(index, bytes)
        .map_err(|reason| format!("entry {index} cannot be read: {reason}"))?;
    let membership = match entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Membership(membership) => Some(membership),
        EntryPayload::Normal(command) => {
            // A refusal was the answer then, and is again.
            drop(machine.apply(LogIndex(index), &command));
            None
        }
    };
    applied.advance(entry.log_id, membership);
    Ok(())
}

/// Has the log begin behind what the machine has taken over of another replica, where it ends
/// before that, or has other entries there: what is in the machine was committed. Does nothing
/// where the log has what was flushed.
pub(super) fn settle(group: GroupId, log: &Log, flushed: &Applied) -> Result<(), String> {
    let (Some(last), Some(mark)) = (flushed.last, flushed.last_mark()) else { return Ok(()) };
    let upto = last.index;
    let state = log.group(group).unwrap_or_default();
    if state.purged.is_some_and(|(purged, _)| purged >= upto) {
        return Ok(());
    }
    let known = log.read(group, upto..upto + 1).map_err(|error| error.to_string())?;
    let known = known.first().map(|(index, bytes)| forms::decode_entry_id(*index, bytes));
    if known.transpose()? == Some(last) {
        return Ok(());
    }
    // What comes later in the log waits for these, and nothing else has to.
    if state.entries.end > upto {
        log.submit(group, Op::Truncate { from: upto }, Box::new(|_| {}));
    }
    log.submit(group, Op::Purge { upto, mark }, Box::new(|_| {}));
    Ok(())
}

/// What the flush has stored up to which the log was purged, without what was seen of sources.
pub(super) fn purged(
    group: GroupId,
    assignment: &Assignment,
    log: &Log,
) -> Result<Option<Flushed>> {
    let fail = |reason: String| Error::Unavailable { group: group.0, reason };
    let state = log.group(group).unwrap_or_default();
    let Some((upto, mark)) = &state.purged else {
        if state.entries.start > 0 {
            let first = state.entries.start;
            return Err(fail(format!("the log begins with entry {first} and says not why")));
        }
        return Ok(None);
    };
    let last = forms::decode_log_id(mark).map_err(fail)?;
    let applied = Applied { last: Some(last), membership: Applied::first(assignment) };
    let (index, raft_state) = (LogIndex(*upto), applied.encode());
    Ok(Some(Flushed { index, raft_state, marks: Marks::default() }))
}

/// Memberships count from the moment they are appended.
pub(super) fn newest_membership(
    group: GroupId,
    log: &Log,
    state: &GroupState,
    applied: &Applied,
) -> Result<StoredMembership> {
    let mut newest = applied.membership.clone();
    let start = applied.index().map_or(0, |index| index.0 + 1);
    let mut next = start.max(state.entries.start);
    while next < state.entries.end {
        for (index, bytes) in log.read_some(group, next..state.entries.end, CHUNK_BYTES)? {
            if let Some(membership) = forms::decode_membership_entry(index, &bytes) {
                newest = membership;
            }
            next = index + 1;
        }
    }
    Ok(newest)
}
