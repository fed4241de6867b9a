//! Lets the log forget what a flush has made durable.

use super::{
    Raft, Replica,
    applied::Applied,
    instance::{Instance, Running},
};
use crate::{
    Result,
    planted::{Fault, is_planted},
    tasks,
};
use oribi_store::log::Op;
use std::time::Duration;

/// How long the flush may take to become the instance's snapshot, which no other member has a say
/// in.
const SNAPSHOT_WAIT: Duration = Duration::from_millis(500);
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How many times as much is kept behind files that are being copied as for a member that is only
/// behind: without it the copy would be of no use.
const COPY_SHARE: u64 = 8;

/// Whether entries that are flushed are kept for members that lack them, within the bound of the
/// node's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// For members that are behind, and for copies under way.
    ForMembers,
    /// For copies under way: the log is too long.
    ForCopies,
}

/// How far a purge got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purge {
    /// The log has let go of everything that may go.
    Done,
    /// The instance knows of the wish. It may need an entry for another member still, for as long
    /// as that one is slow.
    Asked,
}

impl Replica {
    /// Asks the log to forget what neither the machine nor others need, and waits no more than
    /// `wait` for it to be done.
    ///
    /// # Errors
    /// An instance that has ended.
    pub(crate) async fn purge(&self, wait: Duration) -> Result<Purge> {
        self.purge_but(Keeping::ForMembers, wait).await
    }

    /// As [`Replica::purge`], and says for whom entries are kept.
    ///
    /// # Errors
    /// As [`Replica::purge`].
    pub(crate) async fn purge_but(&self, keeping: Keeping, wait: Duration) -> Result<Purge> {
        let Some(flushed) = self.machine.purgeable() else { return Ok(Purge::Done) };
        let upto = flushed.index.0;
        if is_planted(Fault::PurgedBeyondFlush) {
            self.purge_applied();
        }
        if self.is_purged(upto) {
            return Ok(Purge::Done);
        }
        let running = match &*self.instance.lock() {
            Instance::Running(running) => Some(running.clone()),
            Instance::Closed => return Ok(Purge::Done),
            Instance::Resting => None,
        };
        let needed = self.needed_from(running.as_deref(), upto, keeping);
        if let Some(running) = running {
            return match needed {
                None => self.purge_running(&running.raft, upto, wait).await,
                Some(0) => Ok(Purge::Asked),
                Some(first) => {
                    self.purge_running(&running.raft, first - 1, wait).await?;
                    Ok(Purge::Asked)
                }
            };
        }
        if needed.is_some() {
            return Ok(Purge::Asked);
        }
        let applied = Applied::decode(&flushed.raft_state);
        let applied = applied.map_err(|reason| self.unavailable(reason))?;
        // An instance that starts reads what the log holds, so none may start between.
        let Ok(_one) = self.switching.try_lock() else { return Ok(Purge::Asked) };
        let is_resting = matches!(*self.instance.lock(), Instance::Resting);
        match applied.last_mark() {
            Some(mark) if is_resting => {
                // The log's writer runs on its own thread, and nobody waits for this step.
                self.log.submit(self.group, Op::Purge { upto, mark }, Box::new(|_| {}));
                Ok(Purge::Done)
            }
            Some(_) => Ok(Purge::Asked),
            None => Ok(Purge::Done),
        }
    }

    /// Has the log forget what is applied.
    fn purge_applied(&self) {
        let applied = self.applied.lock().clone();
        if let (Some(index), Some(mark)) = (applied.index(), applied.last_mark()) {
            self.log.submit(self.group, Op::Purge { upto: index.0, mark }, Box::new(|_| {}));
        }
    }

    async fn purge_running(&self, raft: &Raft, upto: u64, wait: Duration) -> Result<Purge> {
        raft.trigger().snapshot().await.map_err(|error| self.unavailable(error))?;
        let waiting = raft.wait(Some(SNAPSHOT_WAIT));
        let built = waiting.metrics(
            |metrics| metrics.snapshot.as_ref().is_some_and(|last| last.index >= upto),
            "the flush is the snapshot",
        );
        if built.await.is_err() {
            return Ok(Purge::Asked);
        }
        raft.trigger().purge_log(upto).await.map_err(|error| self.unavailable(error))?;
        let asked = tasks::now();
        while !self.is_purged(upto) {
            if tasks::now() - asked >= wait {
                return Ok(Purge::Asked);
            }
            tasks::sleep(RETRY_PAUSE).await;
        }
        Ok(Purge::Done)
    }

    /// The first entry that is kept for others although it is flushed, as all are up to `upto`;
    /// `None` where nobody needs one, or where it would be too many.
    fn needed_from(&self, running: Option<&Running>, upto: u64, keeping: Keeping) -> Option<u64> {
        let held = self.origin.held_index().filter(|_| !is_planted(Fault::PurgedWhileCopying));
        let copied = held.map(|index| index + 1);
        let behind = running.filter(|_| keeping == Keeping::ForMembers);
        let behind = behind.and_then(|running| running.least_matched());
        let known = self.log.group(self.group).unwrap_or_default();
        let within = |first: u64, bytes_max: u64| {
            // Who lacks what is gone already needs a copy.
            let is_there = known.entries.contains(&first) && first <= upto;
            let is_short = || self.log.bytes_of(self.group, first..upto + 1) <= bytes_max;
            (is_there && is_short()).then_some(first)
        };
        let kept_bytes_max = self.instances.copies().options().kept_bytes_max;
        let for_copies = kept_bytes_max.saturating_mul(COPY_SHARE);
        let copied = copied.and_then(|first| within(first, for_copies));
        let behind = behind.and_then(|first| within(first, kept_bytes_max));
        copied.into_iter().chain(behind).min()
    }

    /// What the log must have for others: the entries behind those of the files that are held, as
    /// far as there is no bound in the way. Gives the first one that is missing.
    #[cfg(test)]
    pub(crate) fn missing_for_copies(&self) -> Option<u64> {
        let first = self.origin.held_index()? + 1;
        let known = self.log.group(self.group).unwrap_or_default();
        (known.entries.start > first).then_some(first)
    }

    fn is_purged(&self, upto: u64) -> bool {
        let known = self.log.group(self.group).unwrap_or_default();
        known.purged.is_some_and(|(purged, _)| purged >= upto)
    }
}
