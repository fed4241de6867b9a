//! A file that is removed again unless it comes to count.

use crate::{
    Error, Result,
    disk::{Disk, DiskFile},
};
use std::{io, path::PathBuf};

/// The name of a file that was just made. Whatever ends the work on it, an error or a panic,
/// removes it, unless [`NewFile::keep`] was called.
pub(super) struct NewFile<'a> {
    disk: &'a dyn Disk,
    /// Empty once the file counts.
    path: PathBuf,
}

impl<'a> NewFile<'a> {
    pub(super) fn create(
        disk: &'a dyn Disk,
        path: PathBuf,
    ) -> Result<(NewFile<'a>, Box<dyn DiskFile>)> {
        let file = disk.create(&path).map_err(Error::io("create", &path))?;
        Ok((NewFile { disk, path }, file))
    }

    /// Leaves the file where it is.
    pub(super) fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "an unfinished segment stays in its folder");
            }
            _ => {}
        }
    }
}
