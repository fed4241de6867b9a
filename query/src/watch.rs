//! What one running query may still do: cancellation, time and memory.

use crate::{Error, QueryOptions, Result};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Shared by all threads of a query, asked once a block.
#[derive(Debug)]
pub(crate) struct Watch {
    cancelled: AtomicBool,
    /// Why, where it is not that the asker has gone.
    failure: OnceLock<Error>,
    started: Instant,
    time_ms_max: u64,
    held_bytes: AtomicUsize,
    memory_bytes_max: usize,
}

impl Watch {
    /// A watch with the limits of `options` that starts now.
    pub(crate) fn new(options: &QueryOptions) -> Watch {
        Watch {
            cancelled: AtomicBool::new(false),
            failure: OnceLock::new(),
            started: Instant::now(),
            time_ms_max: options.time_ms_max,
            held_bytes: AtomicUsize::new(0),
            memory_bytes_max: options.memory_bytes_max,
        }
    }

    /// Tells all threads to stop at their next block.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Tells all threads to stop at their next block, and the asker why. The first cause stays.
    pub(crate) fn fail(&self, error: Error) {
        let _ = self.failure.set(error);
        self.cancel();
    }

    /// When the query began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// How long the query may still run.
    pub(crate) fn remaining(&self) -> Duration {
        Duration::from_millis(self.time_ms_max).saturating_sub(self.started.elapsed())
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::TimeLimit`], or what failed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(self.failure.get().cloned().unwrap_or(Error::Cancelled));
        }
        if self.remaining().is_zero() {
            return Err(self.time_limit());
        }
        Ok(())
    }

    /// The error of a query that ran too long.
    pub(crate) fn time_limit(&self) -> Error {
        Error::TimeLimit { time_ms_max: self.time_ms_max }
    }

    /// Accounts for `bytes` more.
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] where the query then holds too much.
    pub(crate) fn grow(&self, bytes: usize) -> Result<()> {
        let held = self.held_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > self.memory_bytes_max {
            return Err(Error::MemoryLimit { memory_bytes_max: self.memory_bytes_max });
        }
        Ok(())
    }
}
