//! The side that has the files: what a replica holds for others.

use super::wire::{Piece, PieceWanted};
use crate::{
    Error, Result,
    machine::{Machine, Pinned},
    tasks,
};
use oribi_store::FileSum;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// For how long files are held that nobody asks for.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What a replica holds of its machine's files while others copy them.
pub(crate) struct Origin {
    machine: Arc<dyn Machine>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    pins: u64,
    /// When they were last asked for.
    used: Option<Instant>,
}

/// Files that are held.
pub(crate) struct Held {
    /// By which they are asked for.
    pub(crate) number: u64,
    pub(crate) pin: Arc<dyn Pinned>,
    pub(crate) sums: Vec<FileSum>,
}

impl Held {
    /// The last entry that is in the files.
    pub(crate) fn index(&self) -> u64 {
        self.pin.flushed().index.0
    }
}

impl Origin {
    pub(crate) fn new(machine: Arc<dyn Machine>) -> Origin {
        Origin { machine, state: Mutex::default() }
    }

    /// Files that have the entries up to `at_least`: those that are held, or what is flushed now.
    /// Blocks.
    ///
    /// # Errors
    /// Files that are damaged, or none.
    pub(crate) fn hold(&self, at_least: u64) -> Result<Arc<Held>> {
        if let Some(held) = self.held().filter(|held| held.index() >= at_least) {
            return Ok(held);
        }
        let nothing = || Error::Refused("nothing was flushed that could be copied".into());
        let pin = self.machine.pin()?.ok_or_else(nothing)?;
        // It may take long to read them through, while others ask.
        let sums = pin.sums()?;
        let mut state = self.state.lock();
        if let Some(held) = state.held.as_ref().filter(|held| held.index() >= at_least) {
            return Ok(held.clone());
        }
        state.pins += 1;
        // A later run of the node must not take the number for one of its own.
        let number = u64::from(std::process::id()) << 32 | state.pins;
        let held = Arc::new(Held { number, pin, sums });
        (state.held, state.used) = (Some(held.clone()), Some(tasks::now()));
        Ok(held)
    }

    /// Reads a piece. Blocks.
    pub(crate) fn read(&self, wanted: &PieceWanted) -> Piece {
        let held = self.held().filter(|held| held.number == wanted.pin);
        let Some(held) = held else { return Piece::Gone };
        match held.pin.read(wanted.file as usize, wanted.bytes.clone()) {
            Ok(bytes) => Piece::Bytes(bytes.into()),
            Err(error) => Piece::Failed(error.to_string()),
        }
    }

    /// The last entry of the files that are held, behind which the log is needed.
    pub(crate) fn held_index(&self) -> Option<u64> {
        self.expire();
        self.state.lock().held.as_ref().map(|held| held.index())
    }

    /// Lets go of what nobody has asked for lately. Gives when to look again.
    pub(crate) fn expire(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let due = state.used? + IDLE_MAX;
        if due > tasks::now() {
            return Some(due);
        }
        (state.held, state.used) = (None, None);
        None
    }

    /// Has what is held let go of once nobody asks for it any more. To be called on a runtime.
    pub(crate) fn expire_later(self: &Arc<Self>) {
        let origin = Arc::downgrade(self);
        tasks::spawn(async move {
            while let Some(due) = origin.upgrade().and_then(|origin| origin.expire()) {
                tasks::sleep_until(due).await;
            }
        });
    }

    /// Lets go of what is held, since the log does not go on behind it any more.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        (state.held, state.used) = (None, None);
    }

    /// What is held, which counts as asked for now.
    fn held(&self) -> Option<Arc<Held>> {
        self.expire();
        let mut state = self.state.lock();
        let held = state.held.clone()?;
        state.used = Some(tasks::now());
        Some(held)
    }
}
