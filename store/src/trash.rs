//! Where files go that a tablet no longer needs, or that nobody knows: out of the way, but there
//! to be looked at until they have lain for a while.

use crate::{
    Error, Result,
    disk::{Disk, create_dir_durably},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A folder for what is to be deleted later, shared by the tablets of a node. It must lie on the
/// same file system as what is put into it.
pub struct Trash {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number that makes the next name unique; `None` until the folder was looked at.
    next: Option<u64>,
    /// When each name was first seen, in the milliseconds of [`Trash::empty`]'s caller.
    seen_ms: BTreeMap<String, u64>,
}

impl Trash {
    /// The trash in `dir`, which is made when something is first put into it.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Trash {
        Trash { disk, dir, state: Mutex::default() }
    }

    /// Moves a file or folder here, as `NUMBER-LABEL-NAME`. What is not there is fine.
    ///
    /// # Errors
    /// [`Error::Io`]; then it stays where it was, or its move is not durable.
    pub fn take(&self, path: &Path, label: &str) -> Result<()> {
        let mut state = self.state.lock();
        let number = match state.next {
            Some(next) => next,
            None => self.make()?,
        };
        state.next = Some(number + 1);
        let folder = self.disk.open_dir(&self.dir).map_err(Error::io("open", &self.dir))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let place = self.dir.join(format!("{number}-{label}-{name}"));
        match self.disk.rename(path, &place) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && !is_there(&*self.disk, path) =>
            {
                return Ok(());
            }
            Err(error) => {
                state.next = None;
                return Err(Error::io("move to the trash", path)(error));
            }
            Ok(()) => {}
        }
        folder.sync().map_err(Error::io("sync", &self.dir))
    }

    /// Deletes what was first seen here, by a call of this process, at least `age` before `now_ms`
    /// (milliseconds of any clock that only goes forward). Gives the bytes freed.
    ///
    /// # Errors
    /// [`Error::Io`]; what could not be deleted is tried again by the next call.
    pub fn empty(&self, now_ms: u64, age: Duration) -> Result<u64> {
        let old: Vec<String> = {
            let mut state = self.state.lock();
            let names = self.names()?;
            state.seen_ms.retain(|name, _| names.contains(name));
            let mut lain_ms = |name: &String| {
                now_ms.saturating_sub(*state.seen_ms.entry(name.clone()).or_insert(now_ms))
            };
            names.into_iter().filter(|name| u128::from(lain_ms(name)) >= age.as_millis()).collect()
        };
        let mut freed = 0;
        for name in old {
            let path = self.dir.join(name);
            let bytes = bytes_of(&*self.disk, &path)?;
            let is_folder = self.disk.list(&path).is_ok();
            let removed =
                if is_folder { self.disk.remove_dir_all(&path) } else { self.disk.remove(&path) };
            removed.map_err(Error::io("remove", &path))?;
            freed += bytes;
        }
        Ok(freed)
    }

    /// Bytes of what lies here.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bytes(&self) -> Result<u64> {
        self.names()?.iter().map(|name| bytes_of(&*self.disk, &self.dir.join(name))).sum()
    }

    /// Makes the folder durably, and gives a number above those in use.
    fn make(&self) -> Result<u64> {
        create_dir_durably(&*self.disk, &self.dir)?;
        let number = |name: &String| name.split('-').next()?.parse::<u64>().ok();
        Ok(self.names()?.iter().filter_map(number).max().map_or(1, |most| most + 1))
    }

    fn names(&self) -> Result<Vec<String>> {
        match self.disk.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(Error::io("list", &self.dir)),
        }
    }
}

fn is_there(disk: &dyn Disk, path: &Path) -> bool {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return false };
    disk.list(above).is_ok_and(|names| names.iter().any(|one| name == one.as_str()))
}

/// Bytes of a file, or of all files of a folder.
fn bytes_of(disk: &dyn Disk, path: &Path) -> Result<u64> {
    match disk.list(path) {
        Ok(names) => names.iter().map(|name| bytes_of(disk, &path.join(name))).sum(),
        Err(_) => {
            let file = disk.open(path).map_err(Error::io("open", path))?;
            file.len().map_err(Error::io("measure", path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn what_is_taken_keeps_its_bytes_until_it_is_old() {
        let disk = SimDisk::new();
        crate::disk::create_dir_durably(&disk, Path::new("/d/tablets/7")).unwrap();
        disk.put(Path::new("/d/tablets/7/00000003.seg"), vec![1; 10]);
        disk.put(Path::new("/d/tablets/7/MANIFEST"), vec![2; 5]);
        let trash = Trash::new(Arc::new(disk.clone()), "/d/trash".into());
        assert_eq!(trash.empty(0, Duration::ZERO).unwrap(), 0);
        trash.take(Path::new("/d/tablets/7/00000003.seg"), "tablet-7").unwrap();
        trash.take(Path::new("/d/tablets/7"), "dropped").unwrap();
        trash.take(Path::new("/d/tablets/7"), "dropped").unwrap();
        let there = Path::new("/d/trash/1-tablet-7-00000003.seg");
        assert_eq!(disk.bytes(there).unwrap(), vec![1; 10]);
        assert_eq!(disk.bytes(Path::new("/d/trash/2-dropped-7/MANIFEST")).unwrap(), vec![2; 5]);
        assert_eq!(trash.bytes().unwrap(), 15);
        // A later process goes on counting, and starts to count age anew.
        let trash = Trash::new(Arc::new(disk.clone()), "/d/trash".into());
        assert_eq!(trash.empty(5_000, Duration::from_secs(1)).unwrap(), 0);
        disk.put(Path::new("/d/x"), vec![3; 3]);
        trash.take(Path::new("/d/x"), "later").unwrap();
        assert_eq!(disk.list(Path::new("/d/trash")).unwrap().len(), 3);
        assert_eq!(trash.empty(6_000, Duration::from_secs(1)).unwrap(), 15);
        assert_eq!(disk.list(Path::new("/d/trash")).unwrap(), ["3-later-x"]);
        assert_eq!(trash.empty(6_000, Duration::ZERO).unwrap(), 3);
    }

    #[test]
    fn what_cannot_be_moved_stays() {
        let disk = SimDisk::new();
        crate::disk::create_dir_durably(&disk, Path::new("/d")).unwrap();
        disk.put(Path::new("/d/x"), vec![1]);
        let trash = Trash::new(Arc::new(disk.clone()), "/d/trash".into());
        disk.crash_at(disk.operations() + 3);
        assert!(trash.take(Path::new("/d/x"), "y").is_err());
        assert!(disk.reboot(0).bytes(Path::new("/d/x")).is_some());
    }
}
