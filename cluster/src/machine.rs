//! What a consensus group's committed commands are applied to.

use crate::command::Command;
use oribi_model::LogIndex;
use oribi_store::Flushed;

/// The state of one group on one node.
pub(crate) trait Machine: Send + Sync + 'static {
    /// Applies a command; indexes ascend. A text says why it changed nothing.
    fn apply(&self, index: LogIndex, command: &Command) -> Result<(), String>;

    /// What is durable without the log: an index, and what the replica gave to be stored with it.
    fn flushed(&self) -> Option<Flushed>;

    /// Up to where the log is not needed any more; never beyond [`Machine::flushed`].
    fn purgeable(&self) -> Option<Flushed> {
        self.flushed()
    }
}
