//! One tablet on one disk, and the node's log: synchronous, no network, no runtime.

pub mod aside;
mod bits;
mod checksum;
pub mod codec;
pub mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub mod forms;
mod gather;
pub mod log;
mod manifest;
mod memtable;
mod open_files;
mod page_cache;
mod scan;
mod segment;
pub mod small_file;
pub mod tablet;
#[cfg(test)]
mod testing;
mod text;
mod trash;

pub use error::{Error, Result};
pub use open_files::OpenFiles;
pub use page_cache::PageCache;
pub use tablet::{
    Consent, FileSum, Flushed, Gap, Lost, Pin, Recalled, Repair, Repaired, Staging, Tablet,
    TabletOptions, TabletStats,
};
pub use trash::Trash;
