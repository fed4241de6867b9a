//! How a demo ended.

use super::text;
use std::{fmt, fs, io, path::Path, time::Duration};

/// What was sent, what came back, and what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// Rows sent.
    pub(super) sent: u64,
    /// Rows of which the PUBACK came.
    pub(super) acked: u64,
    /// Rows of this run that a query counts.
    pub(super) counted: u64,
    /// Bytes of all files of the data directory.
    pub(super) disk_bytes: u64,
    /// The longest time between two acks, where there are several nodes.
    pub(super) longest_pause: Option<Duration>,
}

impl Summary {
    /// Whether nothing was lost, refused or stored twice.
    pub(super) fn is_equal(&self) -> bool {
        self.sent == self.acked && self.acked == self.counted
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { sent, acked, counted, disk_bytes, longest_pause } = self;
        let disk = text::bytes(*disk_bytes);
        write!(f, "demo: sent {sent} rows, acked {acked}, counted {counted}, {disk} on disk")?;
        match longest_pause {
            Some(pause) => write!(f, ", longest pause between two acks {}", text::ms(*pause)),
            None => Ok(()),
        }
    }
}

/// Bytes of all files in a folder and its folders. Files that go away meanwhile do not count.
///
/// # Errors
/// Where a folder cannot be read.
pub(super) fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_and_knows_whether_the_counts_agree() {
        let summary = Summary {
            sent: 12,
            acked: 12,
            counted: 12,
            disk_bytes: 4_100_000,
            longest_pause: None,
        };
        assert_eq!(summary.to_string(), "demo: sent 12 rows, acked 12, counted 12, 4.1 MB on disk");
        let several = Summary { longest_pause: Some(Duration::from_millis(123)), ..summary };
        assert!(several.to_string().ends_with("on disk, longest pause between two acks 123 ms"));
        assert!(summary.is_equal());
        assert!(!Summary { acked: 11, ..summary }.is_equal());
        assert!(!Summary { counted: 13, ..summary }.is_equal());
    }

    #[test]
    fn all_files_of_a_folder_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("one"), [0; 3]).unwrap();
        fs::write(folder.path().join("a/b/two"), [0; 4]).unwrap();
        assert_eq!(folder_bytes(folder.path()).unwrap(), 7);
        assert!(folder_bytes(&folder.path().join("none")).is_err());
    }
}
