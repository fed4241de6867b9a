//! How far the feeds of a sink have got.

use crate::{Error, Result, connector::RunContext};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// How often cursors are kept: each time is a change of the catalog.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Cursors by name, of which those that have moved of late are not kept yet: what lies behind a kept
/// one is sent again after a crash.
pub(super) struct Cursors {
    all: BTreeMap<String, u64>,
    moved: BTreeMap<String, u64>,
    kept: Instant,
}

impl Cursors {
    /// Those that are kept.
    pub(super) fn of(context: &RunContext) -> Cursors {
        let all = context.parts.store.cursors(&context.name);
        Cursors { all, moved: BTreeMap::new(), kept: Instant::now() }
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.all.get(name).copied()
    }

    /// Moves a cursor that is not worth a change of the catalog by itself.
    pub(super) fn note(&mut self, name: String, cursor: u64) {
        self.all.insert(name, cursor);
    }

    /// Moves a cursor, which is kept soon.
    pub(super) fn advance(&mut self, name: String, cursor: u64) {
        self.moved.insert(name.clone(), cursor);
        self.all.insert(name, cursor);
    }

    /// Keeps what has moved, if that is due.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(super) fn keep_now_and_then(
        &mut self,
        context: &RunContext,
        runtime: &Handle,
    ) -> Result<()> {
        if self.kept.elapsed() < KEEP_EVERY { Ok(()) } else { self.keep(context, runtime) }
    }

    /// Keeps what has moved.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(super) fn keep(&mut self, context: &RunContext, runtime: &Handle) -> Result<()> {
        self.kept = Instant::now();
        if self.moved.is_empty() {
            return Ok(());
        }
        let saving = context.save_cursors(self.moved.clone());
        runtime.block_on(saving).map_err(Error::Store)?;
        self.moved.clear();
        Ok(())
    }
}
