//! Files that are opened when they are read and closed when others are: thousands of segments
//! within a bound of descriptors.

use crate::{
    Error, Result,
    disk::{Disk, DiskFile, is_out_of_descriptors},
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// The descriptors that the tablets of a node keep open. Files read again since they were opened
/// or last looked at stay; of the others the oldest are closed first (the CLOCK algorithm).
pub struct OpenFiles {
    files_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Entry>,
    clock: VecDeque<u64>,
}

struct Entry {
    file: Arc<dyn DiskFile>,
    used: bool,
}

impl OpenFiles {
    /// Keeps at most so many files open, apart from those that a read is just using.
    pub fn new(files_max: usize) -> OpenFiles {
        OpenFiles { files_max: files_max.max(1), state: Mutex::default() }
    }

    /// How many files are kept open.
    pub fn count(&self) -> usize {
        self.state.lock().open.len()
    }

    fn get(&self, number: u64) -> Option<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let entry = state.open.get_mut(&number)?;
        entry.used = true;
        Some(entry.file.clone())
    }

    fn put(&self, number: u64, file: Arc<dyn DiskFile>) {
        let mut state = self.state.lock();
        if state.open.insert(number, Entry { file, used: false }).is_none() {
            state.clock.push_back(number);
        }
        while state.open.len() > self.files_max && state.close_one() {}
    }

    fn forget(&self, number: u64) {
        let mut state = self.state.lock();
        if state.open.remove(&number).is_some() {
            state.clock.retain(|one| *one != number);
        }
    }

    fn close_all(&self) {
        *self.state.lock() = State::default();
    }
}

impl State {
    fn close_one(&mut self) -> bool {
        while let Some(number) = self.clock.pop_front() {
            let Some(entry) = self.open.get_mut(&number) else { continue };
            if std::mem::take(&mut entry.used) {
                self.clock.push_back(number);
                continue;
            }
            self.open.remove(&number);
            return true;
        }
        false
    }
}

/// A file that is open only while it is read often enough.
pub(crate) struct FileOnDemand {
    disk: Arc<dyn Disk>,
    files: Arc<OpenFiles>,
    path: PathBuf,
    /// None other of this process has or had it.
    number: u64,
    /// The file itself, once its name no longer leads to it.
    pinned: OnceLock<Arc<dyn DiskFile>>,
}

impl FileOnDemand {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        files: Arc<OpenFiles>,
        path: PathBuf,
        number: u64,
    ) -> FileOnDemand {
        FileOnDemand { disk, files, path, number, pinned: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn get(&self) -> Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.pinned.get().cloned().or_else(|| self.files.get(self.number)) {
            return Ok(file);
        }
        let opened = match self.disk.open(&self.path) {
            Err(error) if is_out_of_descriptors(&error) => {
                self.files.close_all();
                self.disk.open(&self.path)
            }
            opened => opened,
        };
        let file: Arc<dyn DiskFile> = opened.map_err(Error::io("open", &self.path))?.into();
        self.files.put(self.number, file.clone());
        Ok(file)
    }

    /// Has the next read open whatever file has the name then, unless the file is pinned.
    pub(crate) fn reopen(&self) {
        self.files.forget(self.number);
    }

    /// Keeps the file open from now on: it may lose its name afterwards.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn pin(&self) -> Result<()> {
        let file = self.get()?;
        self.pinned.get_or_init(|| file);
        self.files.forget(self.number);
        Ok(())
    }
}

impl Drop for FileOnDemand {
    fn drop(&mut self) {
        self.files.forget(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn the_bound_holds_and_a_pinned_file_outlives_its_name() {
        let disk = SimDisk::new();
        crate::disk::create_dir_durably(&disk, Path::new("/d")).unwrap();
        let files = Arc::new(OpenFiles::new(3));
        let on_demand = |number: u64| {
            let path = PathBuf::from(format!("/d/{number}"));
            disk.put(&path, vec![number as u8]);
            FileOnDemand::new(Arc::new(disk.clone()), files.clone(), path, number)
        };
        let all: Vec<FileOnDemand> = (0..10).map(on_demand).collect();
        for _ in 0..2 {
            for (at, one) in all.iter().enumerate() {
                let mut byte = [0];
                one.get().unwrap().read_at(&mut byte, 0).unwrap();
                assert_eq!(byte, [at as u8]);
                assert!(files.count() <= 3);
            }
        }
        all[4].pin().unwrap();
        disk.remove(Path::new("/d/4")).unwrap();
        disk.remove(Path::new("/d/0")).unwrap();
        assert!(all[4].get().is_ok() && all[0].get().is_err());
        drop(all);
        assert_eq!(files.count(), 0);
    }
}
