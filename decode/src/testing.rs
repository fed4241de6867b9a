//! What tests work with.

use crate::{FileError, SchemaFiles, mapping::SchemaPlaces};
use oribi_model::{ArrivalClock, SystemClock};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files as they lie there.
pub(crate) struct Disk;

impl SchemaFiles for Disk {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
        match std::fs::read(path) {
            Ok(bytes) if bytes.len() as u64 > bytes_max => {
                Err(FileError::TooLong(bytes.len() as u64))
            }
            Ok(bytes) => Ok(bytes),
            Err(wrong) if wrong.kind() == ErrorKind::NotFound => {
                Err(FileError::Missing(wrong.to_string()))
            }
            Err(wrong) => Err(FileError::Unreadable(wrong.to_string())),
        }
    }
}

/// Files, and no registry.
pub(crate) fn places() -> SchemaPlaces {
    SchemaPlaces { files: Arc::new(Disk), registry: None }
}

/// The machine's clock.
pub(crate) fn arrival() -> ArrivalClock {
    ArrivalClock::new(Arc::new(SystemClock))
}

/// A file below `tests/data/payloads`.
pub(crate) fn sample(path: &str) -> Vec<u8> {
    let path = samples_dir().join(path);
    std::fs::read(&path).unwrap_or_else(|wrong| panic!("cannot read {}: {wrong}", path.display()))
}

/// Compares what became of a sample with the file of rows beside it, whose name ends in `.rows`.
pub(crate) fn assert_rows(sample: &str, shown: &str) {
    let path = samples_dir().join(sample).with_extension("rows");
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let (shown, expected) = (shown.trim_end(), expected.trim_end());
    assert!(shown == expected, "{} differs; now it is\n{shown}", path.display());
}

fn samples_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/payloads")
}
