//! Where backups lie: files by name, each written once and whole.

use anyhow::Result;
use std::io::Read;

/// Files by name. Names are relative, with `/` between their parts.
pub(in crate::commands) trait Vault {
    /// Where it is, for a person.
    fn place(&self) -> String;

    /// The names below a folder, in no order; none where there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// The length of a file; `None` where there is none.
    fn bytes_of(&self, name: &str) -> Result<Option<u64>>;

    /// Writes a file. Durable once this returns; nothing of it is there before.
    fn put(&self, name: &str, content: &mut dyn Read) -> Result<()>;

    /// Reads a file.
    fn get(&self, name: &str) -> Result<Box<dyn Read>>;

    /// Removes a file that nothing needs any more.
    fn remove(&self, name: &str) -> Result<()>;
}
