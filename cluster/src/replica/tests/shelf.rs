//! Files of the machine that remembers: the first says how far it is, each other one has a few of
//! the entries applied.

use super::*;
use oribi_store::{
    Gap,
    small_file::{self, Kind},
};
use std::ops::Range;

const ENTRIES: usize = 4;
const KIND: Kind = Kind { magic: *b"ORIBITST", version: 1 };
const DIR: &str = "/data";

struct Shelved {
    flushed: Flushed,
    files: Vec<Vec<u8>>,
}

/// What is copied of another.
pub(super) struct Copied {
    machine: Arc<Memory>,
    sums: Vec<FileSum>,
    files: Vec<Vec<u8>>,
}

fn sum_of(file: &[u8]) -> FileSum {
    FileSum { bytes: file.len() as u64, crc: crc32c::crc32c(file) }
}

impl Memory {
    /// As the disk has it.
    pub(super) fn on(disk: &SimDisk) -> Memory {
        create_dir_durably(disk, Path::new(DIR)).unwrap();
        let files = small_file::read(disk, Path::new(DIR), "SHELF", KIND).unwrap();
        let memory = Memory { disk: Some(disk.clone()), ..Memory::default() };
        if let Some(body) = files {
            let files: Vec<Vec<u8>> = serde_json::from_slice(&body).unwrap();
            memory.set(&files);
        }
        memory
    }

    /// Makes durable what was applied.
    pub(super) fn flush(&self, replica: &Replica) {
        replica.seal(|index, raft_state| {
            *self.flushed.lock() = Some(Flushed { index, raft_state, marks: Marks::default() });
        });
        let files = self.files();
        self.write(&files).unwrap();
    }

    pub(super) fn shelved(&self) -> Option<Arc<dyn Pinned>> {
        let flushed = self.flushed.lock().clone()?;
        let files = self.files();
        Some(Arc::new(Shelved { flushed, files }))
    }

    fn files(&self) -> Vec<Vec<u8>> {
        let flushed = self.flushed.lock().clone().unwrap();
        let applied = self.applied.lock();
        let has = applied.iter().filter(|(index, _)| *index <= flushed.index.0);
        let has: Vec<_> = has.cloned().collect();
        let chunks = has.chunks(ENTRIES).map(|chunk| serde_json::to_vec(chunk).unwrap());
        std::iter::once(serde_json::to_vec(&flushed).unwrap()).chain(chunks).collect()
    }

    fn write(&self, files: &[Vec<u8>]) -> oribi_store::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let body = serde_json::to_vec(files).unwrap();
        small_file::replace(disk, Path::new(DIR), "SHELF", KIND, &body)
    }

    fn set(&self, files: &[Vec<u8>]) -> Flushed {
        let flushed: Flushed = serde_json::from_slice(&files[0]).unwrap();
        let entries = files[1..]
            .iter()
            .flat_map(|file| serde_json::from_slice::<Vec<(u64, String)>>(file).unwrap());
        // Who sees the one sees the other.
        let mut applied = self.applied.lock();
        *self.flushed.lock() = Some(flushed.clone());
        *applied = entries.collect();
        flushed
    }
}

impl Pinned for Shelved {
    fn flushed(&self) -> &Flushed {
        &self.flushed
    }

    fn sums(&self) -> Result<Vec<FileSum>> {
        Ok(self.files.iter().map(|file| sum_of(file)).collect())
    }

    fn read(&self, file: usize, piece: Range<u64>) -> Result<Vec<u8>> {
        Ok(self.files[file][piece.start as usize..piece.end as usize].to_vec())
    }
}

impl Copied {
    pub(super) fn begin(machine: Arc<Memory>, sums: &[FileSum]) -> Copied {
        Copied { machine, sums: sums.to_vec(), files: vec![Vec::new(); sums.len()] }
    }
}

impl Staged for Copied {
    fn gap(&self) -> Option<Gap> {
        let mut files = self.files.iter().zip(&self.sums).enumerate();
        files.find_map(|(file, (have, sum))| {
            let bytes = have.len() as u64..sum.bytes;
            (!bytes.is_empty()).then_some(Gap { file, bytes })
        })
    }

    fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        assert_eq!(self.files[file].len() as u64, offset);
        self.files[file].extend_from_slice(bytes);
        Ok(())
    }

    fn go_over(self: Box<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        let mut next = Copied::begin(self.machine.clone(), sums);
        for (at, sum) in sums.iter().enumerate() {
            if let Some(same) = self.files.iter().find(|file| sum_of(file) == *sum) {
                next.files[at].clone_from(same);
            }
        }
        Ok(Box::new(next))
    }

    fn install(self: Box<Self>) -> Result<Flushed> {
        assert_eq!(self.files.iter().map(|file| sum_of(file)).collect::<Vec<_>>(), self.sums);
        self.machine.write(&self.files)?;
        Ok(self.machine.set(&self.files))
    }
}
