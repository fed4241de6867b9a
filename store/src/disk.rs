//! The only door to the file system, small enough that a test can stand in for the disk and
//! crash it at every write, sync and rename.

#[doc(hidden)]
pub mod sim;
pub mod view;

use crate::{Error, Result};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
};

/// A file system as the store uses it.
///
/// # Contract
/// - Bytes written are durable only after [`DiskFile::sync`]; a file's existence or name only
///   after [`Disk::sync_dir`] of its folder.
/// - A failed sync leaves unknown what is durable: the caller stops using the file.
/// - What a change cannot do without is opened before it: a lack of descriptors then leaves
///   everything as it was.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new file for reading and writing; fails where the path exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file a new name, replacing what had it, or a folder one that nothing has.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and those above it, for the eyes of the process's own user only.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Opens a folder, for the sake of its names.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.open_dir(path)?.sync()
    }
    /// Bytes that may still be written to the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Takes the lock file at `path`, made where it is missing, for as long as the answer lives;
    /// `None` while another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>>;
    /// A number that nobody outside can guess, and that is another one each time.
    fn salt(&self) -> u64 {
        // The standard library keys it with random bytes of the operating system.
        RandomState::new().build_hasher().finish()
    }
}

/// Whether the process or the system has no descriptor left, which closing files mends.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// Makes a folder and those above it where they are missing, and makes their names durable.
///
/// # Errors
/// What the disk answers.
pub fn create_dir_durably(disk: &dyn Disk, path: &Path) -> Result<()> {
    let is_missing = |dir: &Path| {
        disk.list(dir).err().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let missing = path.ancestors().take_while(|dir| is_missing(dir)).count();
    disk.create_dir_all(path).map_err(Error::io("make", path))?;
    // The last one is synced even where it was there: whoever made it may not have got so far.
    for dir in path.ancestors().take(missing.max(1)) {
        let Some(above) = dir.parent() else { break };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        disk.sync_dir(above).map_err(Error::io("sync", above))?;
    }
    Ok(())
}

/// A lock file that is held.
pub type DiskLock = Box<dyn Send + Sync>;

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset`; an end of file before that is an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable, the length included.
    fn sync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// An open folder.
pub trait DiskDir: Send + Sync {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        Ok(Box::new(RealDir(File::open(path)?)))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealDir(File);

impl DiskDir for RealDir {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }
}
