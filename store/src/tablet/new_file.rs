//! A file that is removed again unless it comes to count.

use crate::{
    Error, Result,
    disk::{Disk, DiskFile},
};
use std::{
    io,
    path::{Path, PathBuf},
};

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

    /// Gives a file that nobody knows yet this name.
    pub(super) fn rename(disk: &'a dyn Disk, from: &Path, path: PathBuf) -> Result<NewFile<'a>> {
        disk.rename(from, &path).map_err(Error::io("rename", from))?;
        Ok(NewFile { disk, path })
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
