//! What a consensus group's committed commands are applied to.

use crate::{Result, command::Command};
use oribi_model::LogIndex;
use oribi_store::{FileSum, Flushed, Gap};
use std::{ops::Range, sync::Arc};

/// The state of one group on one node.
pub(crate) trait Machine: Send + Sync + 'static {
    /// Applies a command; indexes ascend. A text says why it changed nothing.
    fn apply(&self, index: LogIndex, command: &Command) -> Result<(), String>;

    /// Whether there is memory for more of what other members send. It never waits for them.
    fn has_room(&self) -> bool {
        true
    }

    /// What is durable without the log: an index, and what the replica gave to be stored with it.
    fn flushed(&self) -> Option<Flushed>;

    /// Up to where the log is not needed any more; never beyond [`Machine::flushed`].
    fn purgeable(&self) -> Option<Flushed> {
        self.flushed()
    }

    /// Holds what is flushed, so that another replica can take it over; `None` where nothing is.
    /// May read a file.
    ///
    /// # Errors
    /// What the disk answers.
    fn pin(&self) -> Result<Option<Arc<dyn Pinned>>>;

    /// Begins to take over what another replica has pinned, beside what is here. Blocks.
    ///
    /// # Errors
    /// Too little room, or what the disk answers.
    fn stage(self: Arc<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>>;
}

/// The files of a replica, as they were when they were pinned.
pub(crate) trait Pinned: Send + Sync {
    /// What they have.
    fn flushed(&self) -> &Flushed;

    /// Their lengths and checksums. May read them through; blocks.
    ///
    /// # Errors
    /// One that is damaged.
    fn sums(&self) -> Result<Vec<FileSum>>;

    /// A piece of one. Blocks.
    ///
    /// # Errors
    /// A piece that is not there, or what the disk answers.
    fn read(&self, file: usize, piece: Range<u64>) -> Result<Vec<u8>>;
}

/// Another replica's files, as far as they are here. What was put together goes with it, unless it
/// is installed. All methods but [`Staged::gap`] block.
pub(crate) trait Staged: Send {
    /// What is missing next.
    fn gap(&self) -> Option<Gap>;

    /// Writes the first bytes of a gap.
    ///
    /// # Errors
    /// A file that is whole and not what was announced, which begins anew; or what the disk answers.
    fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Goes over to other files, and keeps those that are the same.
    ///
    /// # Errors
    /// As [`Machine::stage`].
    fn go_over(self: Box<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>>;

    /// Puts the files in the place of all that the machine has. Nothing is applied meanwhile.
    ///
    /// # Errors
    /// Files that are none of this group's, or what the disk answers: the machine has what it had.
    fn install(self: Box<Self>) -> Result<Flushed>;
}
