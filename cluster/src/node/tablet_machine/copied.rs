//! A tablet's files, as another replica takes them over, and as this one takes over another's.

use super::TabletMachine;
use crate::{
    Result,
    machine::{Pinned, Staged},
};
use oribi_store::{FileSum, Flushed, Gap, Pin, Staging};
use std::{ops::Range, sync::Arc};

impl Pinned for Pin {
    fn flushed(&self) -> &Flushed {
        Pin::flushed(self)
    }

    fn sums(&self) -> Result<Vec<FileSum>> {
        Ok(Pin::sums(self)?)
    }

    fn read(&self, file: usize, piece: Range<u64>) -> Result<Vec<u8>> {
        Ok(Pin::read(self, file, piece)?)
    }
}

/// What is copied for a tablet.
pub(super) struct TabletCopy {
    pub(super) machine: Arc<TabletMachine>,
    pub(super) staging: Staging,
}

impl Staged for TabletCopy {
    fn gap(&self) -> Option<Gap> {
        self.staging.gap()
    }

    fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.staging.write(file, offset, bytes)?)
    }

    fn go_over(self: Box<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        let TabletCopy { machine, staging } = *self;
        let staging = machine.tablet.stage(sums, Some(staging))?;
        Ok(Box::new(TabletCopy { machine, staging }))
    }

    fn install(self: Box<Self>) -> Result<Flushed> {
        let TabletCopy { machine, staging } = *self;
        let before = machine.tablet.memtable_bytes();
        let flushed = machine.tablet.install(staging)?;
        machine.memtables.shrink(before.saturating_sub(machine.tablet.memtable_bytes()));
        Ok(flushed)
    }
}
