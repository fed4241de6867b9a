//! A tablet as the state machine of its group.

mod copied;

use crate::{
    Result,
    command::{Body, Command, Delete},
    machine::{Machine, Pinned, Staged},
};
use copied::TabletCopy;
use oribi_model::LogIndex;
use oribi_store::{FileSum, Flushed, Tablet};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

pub(crate) struct TabletMachine {
    pub(crate) tablet: Arc<Tablet>,
    /// Bytes of all memtables of the node: grows here, and is counted anew after each flush and drop.
    pub(crate) memtable_bytes: Arc<AtomicUsize>,
}

impl Machine for TabletMachine {
    fn apply(&self, index: LogIndex, command: &Command) -> Result<(), String> {
        match command.body() {
            Body::Rows(batch) => {
                let before = self.tablet.memtable_bytes();
                self.tablet.apply(index, batch.clone());
                let grown = self.tablet.memtable_bytes().saturating_sub(before);
                self.memtable_bytes.fetch_add(grown, Ordering::Relaxed);
            }
            Body::Delete(Delete { time, tags }) => self.tablet.delete(index, *time, tags.clone()),
            Body::Change(_) => return Err(format!("a tablet has no use for {command}")),
        }
        Ok(())
    }

    fn flushed(&self) -> Option<Flushed> {
        self.tablet.flushed()
    }

    fn pin(&self) -> Result<Option<Arc<dyn Pinned>>> {
        Ok(self.tablet.pin()?.map(|pin| Arc::new(pin) as Arc<dyn Pinned>))
    }

    fn stage(self: Arc<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        let staging = self.tablet.stage(sums, None)?;
        Ok(Box::new(TabletCopy { machine: self, staging }))
    }
}
