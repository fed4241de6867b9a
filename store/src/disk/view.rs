//! A disk that shows what is there and keeps every change to itself, for those who only look.

use super::{Disk, DiskDir, DiskFile, DiskLock};
use parking_lot::Mutex;
use std::{io, path::Path, sync::Arc};

/// Reads from the disk underneath. Changes succeed and are not made; a file that was created can
/// be read as long as it is open.
pub struct ReadOnly(pub Arc<dyn Disk>);

/// A file of the disk underneath.
struct Shown(Box<dyn DiskFile>);

/// A file that was never there.
#[derive(Default)]
struct Scratch(Mutex<Vec<u8>>);

impl Disk for ReadOnly {
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Scratch::default()))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Shown(self.0.open(path)?)))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// A folder that is not there is empty, as one that was just made would be.
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.0.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names,
        }
    }

    fn open_dir(&self, _: &Path) -> io::Result<Box<dyn DiskDir>> {
        Ok(Box::new(Scratch::default()))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        self.0.lock(path)
    }
}

impl DiskDir for Scratch {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Shown {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Scratch {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0.lock();
        let wanted = usize::try_from(offset).ok().and_then(|start| {
            let end = start.checked_add(buffer.len())?;
            bytes.get(start..end)
        });
        buffer.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let end = offset as usize + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(written);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().resize(bytes as usize, 0);
        Ok(())
    }
}
