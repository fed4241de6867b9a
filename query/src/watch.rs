//! What one running query may still do: cancellation, time and memory.

use crate::{Error, QueryOptions, Result, allotment::Allotment, turns::Turns};
use futures::future::{Either, select};
use oribi_model::{Consistency, NodeId, Pressure};
use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Shared by all threads of a query, asked once a block.
#[derive(Debug)]
pub(crate) struct Watch {
    cancelled: AtomicBool,
    told: Notify,
    /// Why, where it is not that the asker has gone.
    failure: OnceLock<Error>,
    started: Instant,
    time_ms_max: u64,
    unread_ms_max: u64,
    sending_ms_max: u64,
    /// Time in which the answer waited for its reader, ns.
    unread_ns: AtomicU64,
    /// Since when it waits, ns after the start; 0 while it does not.
    unread_since_ns: AtomicU64,
    held_bytes: AtomicUsize,
    memory_bytes_max: usize,
    allotment: Arc<Allotment>,
    turns: Arc<Turns>,
    has_turn: AtomicBool,
    served_by: Option<NodeId>,
    consistency: Consistency,
}

/// A query that waits for the reader of its answer, during which its own time stands still.
pub(crate) struct Unread<'a>(&'a Watch);

impl Watch {
    /// A watch with the limits of `options` that starts now.
    pub(crate) fn new(options: &QueryOptions) -> Watch {
        Watch {
            cancelled: AtomicBool::new(false),
            told: Notify::new(),
            failure: OnceLock::new(),
            started: Instant::now(),
            time_ms_max: options.time_ms_max,
            unread_ms_max: options.unread_ms_max,
            sending_ms_max: options.sending_ms_max,
            unread_ns: AtomicU64::new(0),
            unread_since_ns: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
            memory_bytes_max: options.memory_bytes_max,
            allotment: Arc::new(Allotment::new(usize::MAX)),
            turns: Arc::new(Turns::new(Pressure::default(), options.running_max)),
            has_turn: AtomicBool::new(false),
            served_by: None,
            consistency: Consistency::default(),
        }
    }

    /// The watch of a query whose memory is part of that of all.
    pub(crate) fn within_all(mut self, allotment: Arc<Allotment>) -> Watch {
        self.allotment = allotment;
        self
    }

    /// The watch of a query that gives way where it has no turn.
    pub(crate) fn in_turn(mut self, turns: Arc<Turns>) -> Watch {
        self.turns = turns;
        self
    }

    /// The memory of all queries.
    pub(crate) fn allotment(&self) -> &Allotment {
        &self.allotment
    }

    /// The watch of a query that this node answers.
    pub(crate) fn on(mut self, node: Option<NodeId>) -> Watch {
        self.served_by = node;
        self
    }

    /// The watch of a query that may read what is so old.
    pub(crate) fn reading(mut self, consistency: Consistency) -> Watch {
        self.consistency = consistency;
        self
    }

    /// How old what is read may be.
    pub(crate) fn consistency(&self) -> Consistency {
        self.consistency
    }

    /// Which node answers, where that was said.
    pub(crate) fn served_by(&self) -> Option<NodeId> {
        self.served_by
    }

    /// Tells all threads to stop at their next block.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.told.notify_waiters();
    }

    /// Tells all threads to stop at their next block, and the asker why. The first cause stays.
    pub(crate) fn fail(&self, error: Error) {
        let _ = self.failure.set(error);
        self.cancel();
    }

    /// Why the query failed, where it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }

    /// When the query began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// How long the query may still run.
    pub(crate) fn remaining(&self) -> Duration {
        let elapsed_ns = self.elapsed_ns();
        let since_ns = match self.unread_since_ns.load(Ordering::Relaxed) {
            0 => elapsed_ns,
            since_ns => since_ns,
        };
        let unread_ns = self.unread_ns.load(Ordering::Relaxed);
        let worked_ns = since_ns.min(elapsed_ns).saturating_sub(unread_ns);
        Duration::from_millis(self.time_ms_max).saturating_sub(Duration::from_nanos(worked_ns))
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::TimeLimit`], [`Error::Shed`], or what failed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(self.failure().unwrap_or(Error::Cancelled));
        }
        if self.remaining().is_zero() {
            return Err(self.time_limit());
        }
        self.give_way()
    }

    /// As [`Watch::check`], of a thread that has done a block and goes on to the next: while writes wait
    /// for room, it blocks for a moment.
    ///
    /// # Errors
    /// As [`Watch::check`].
    pub(crate) fn check_between(&self) -> Result<()> {
        self.check()?;
        self.turns.rest();
        Ok(())
    }

    /// Ends the query where questions are to give way and others go on.
    fn give_way(&self) -> Result<()> {
        if !self.turns.are_needed() {
            return Ok(());
        }
        if self.turns.most() == 0 {
            return Err(Error::Shed);
        }
        if self.has_turn.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        if self.turns.take() {
            return Ok(());
        }
        self.has_turn.store(false, Ordering::Relaxed);
        Err(Error::Shed)
    }

    /// Waits for `future`, but no longer than the query may run.
    ///
    /// # Errors
    /// As [`Watch::check`].
    pub(crate) async fn within<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        let mut told = pin!(self.told.notified());
        told.as_mut().enable();
        self.check()?;
        match select(told, pin!(tokio::time::timeout(self.remaining(), future))).await {
            Either::Left(_) => Err(self.failure().unwrap_or(Error::Cancelled)),
            Either::Right((done, _)) => done.map_err(|_| self.time_limit()),
        }
    }

    /// The error of a query that ran too long.
    fn time_limit(&self) -> Error {
        Error::TimeLimit { time_ms_max: self.time_ms_max }
    }

    /// Stops the query's time while its answer waits for its reader.
    pub(crate) fn unread(&self) -> Unread<'_> {
        self.unread_since_ns.store(self.elapsed_ns().max(1), Ordering::Relaxed);
        Unread(self)
    }

    /// Accounts for `bytes` more.
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] where the query then holds too much, [`Error::Crowded`] where all
    /// together do.
    pub(crate) fn grow(&self, bytes: usize) -> Result<()> {
        self.allotment.take(bytes)?;
        let held = self.held_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > self.memory_bytes_max {
            return Err(Error::MemoryLimit { memory_bytes_max: self.memory_bytes_max });
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.allotment.give_back(*self.held_bytes.get_mut());
        if *self.has_turn.get_mut() {
            self.turns.give_back();
        }
    }
}

impl Unread<'_> {
    /// How long this wait may last.
    pub(crate) fn remaining(&self) -> Duration {
        let unread_ns = self.0.unread_ns.load(Ordering::Relaxed);
        let all = Duration::from_millis(self.0.sending_ms_max);
        let rest = all.saturating_sub(Duration::from_nanos(unread_ns));
        Duration::from_millis(self.0.unread_ms_max).min(rest)
    }

    /// The error of a wait that lasted too long.
    pub(crate) fn error(&self) -> Error {
        let one = Duration::from_millis(self.0.unread_ms_max);
        match self.remaining() < one {
            true => Error::Unread { name: "sending_ms_max", limit: self.0.sending_ms_max },
            false => Error::Unread { name: "unread_ms_max", limit: self.0.unread_ms_max },
        }
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        let since_ns = self.0.unread_since_ns.load(Ordering::Relaxed);
        let waited_ns = self.0.elapsed_ns().saturating_sub(since_ns);
        self.0.unread_ns.fetch_add(waited_ns, Ordering::Relaxed);
        self.0.unread_since_ns.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_question_holds_another_lacks_until_it_ends() {
        let all = Arc::new(Allotment::new(100));
        let options = QueryOptions { memory_bytes_max: 80, ..QueryOptions::default() };
        let watch = || Arc::new(Watch::new(&options).within_all(all.clone()));
        let (first, second) = (watch(), watch());
        first.grow(60).unwrap();
        assert!(matches!(second.grow(50), Err(Error::Crowded { .. })));
        assert!(matches!(first.grow(30), Err(Error::MemoryLimit { .. })));
        drop((first, second));
        assert_eq!(all.held_bytes(), 0);
    }

    #[test]
    fn under_pressure_one_goes_on_and_the_others_end() {
        let options = QueryOptions { running_max: 3, ..QueryOptions::default() };
        let pressure = Pressure::default();
        let turns = Arc::new(Turns::new(pressure.clone(), options.running_max));
        let watch = || Watch::new(&options).in_turn(turns.clone());
        let (first, second) = (watch(), watch());
        assert!(first.check().is_ok() && second.check().is_ok());
        pressure.look(750, 800);
        assert!(first.check().is_ok() && first.check().is_ok());
        assert!(matches!(second.check(), Err(Error::Shed)));
        drop(first);
        assert!(second.check().is_ok());
        pressure.look(800, 800);
        assert!(matches!(second.check(), Err(Error::Shed)));
        pressure.look(0, 800);
        assert!(second.check().is_ok() && watch().check().is_ok());
    }
}
