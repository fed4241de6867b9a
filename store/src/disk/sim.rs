//! A disk in memory that loses power on command, for tests of everything above [`Disk`].

use super::{Disk, DiskDir, DiskFile, DiskLock};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A simulated disk. Clones share the same disk.
///
/// Every change (create, write, cut, sync, rename, remove, folder changes) counts as one
/// operation. After a crash every call fails, until [`SimDisk::reboot`] gives the disk that a
/// restarted machine would find. Files take the bytes of their length.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    dirs_durable: BTreeSet<PathBuf>,
    /// Folders that were renamed since the folder above was synced.
    moved: Vec<(PathBuf, PathBuf)>,
    operations: u64,
    /// Salts given so far, also before a reboot.
    salts: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Operations that fail once, with the reason.
    failing: BTreeMap<u64, io::ErrorKind>,
    /// What all files may take, bytes.
    size: u64,
}

/// What a disk writes as a whole, bytes.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl SimDisk {
    /// An empty disk of 1 TiB.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Gives the disk another size, bytes. What does not fit fails with
    /// [`io::ErrorKind::StorageFull`] and has no effect.
    pub fn resize(&self, bytes: u64) {
        self.0.lock().size = bytes;
    }

    /// Lets operation `at` (counted from 1 over the life of the disk) and all later calls fail.
    pub fn crash_at(&self, at: u64) {
        self.0.lock().crash_at = Some(at);
    }

    /// Lets operation `at` fail for this reason, with no effect, and later ones work.
    pub fn fail_at(&self, at: u64, reason: io::ErrorKind) {
        self.0.lock().failing.insert(at, reason);
    }

    /// Operations counted so far.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Whether the crash has happened.
    pub fn crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// The disk after a power cut now: what was synced, and, as `seed` has it, some of what was
    /// not: of each file's later writes some sectors, whichever, the last of them torn, or none
    /// after the first that was lost, and later names of some folders. Seed 0 keeps only what was
    /// durable. Open files stay with the old disk.
    pub fn reboot(&self, seed: u64) -> SimDisk {
        let old = self.0.lock();
        let mut random = Random(seed);
        let mut names = old.names_durable.clone();
        let mut dirs_durable = old.dirs_durable.clone();
        let (mut later_names, mut later_dirs) = (old.names.clone(), old.dirs.clone());
        let kept = if seed == 0 { 0 } else { random.below(old.moved.len() as u64 + 1) as usize };
        for (from, to) in &old.moved[..kept] {
            move_folder(&mut names, &mut dirs_durable, from, to);
        }
        for (from, to) in old.moved[kept..].iter().rev() {
            move_folder(&mut later_names, &mut later_dirs, to, from);
        }
        let mut dirs: BTreeSet<PathBuf> = dirs_durable.union(&later_dirs).cloned().collect();
        dirs.retain(|dir| match (dirs_durable.contains(dir), later_dirs.contains(dir)) {
            (true, true) => true,
            (durable, _) => {
                if seed == 0 {
                    durable
                } else {
                    random.below(2) == 1
                }
            }
        });
        for dir in &later_dirs {
            if seed != 0 && random.below(2) == 1 {
                names.retain(|path, _| path.parent() != Some(dir));
                let later = later_names.iter().filter(|(path, _)| path.parent() == Some(dir));
                names.extend(later.map(|(path, inode)| (path.clone(), *inode)));
            }
        }
        let above_are_kept = |path: &Path, dirs: &BTreeSet<PathBuf>| {
            path.ancestors().skip(1).all(|up| dirs.contains(up))
        };
        let all = dirs.clone();
        dirs.retain(|dir| above_are_kept(dir, &all));
        names.retain(|path, _| above_are_kept(path, &dirs));
        let inodes = old.inodes.iter().map(|inode| inode.after_crash(seed, &mut random)).collect();
        SimDisk(Arc::new(Mutex::new(State {
            inodes,
            names_durable: names.clone(),
            names,
            dirs_durable: dirs.clone(),
            dirs,
            salts: old.salts,
            size: old.size,
            ..State::default()
        })))
    }

    /// The bytes of a file as a reader sees them now.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        state.names.get(path).map(|inode| state.inodes[*inode].current.clone())
    }

    /// Puts a durable file in place without counting an operation.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        state.inodes.push(Inode { durable: bytes.clone(), current: bytes, unsynced: Vec::new() });
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        state.names_durable.insert(path.to_owned(), inode);
    }
}

impl Default for State {
    fn default() -> State {
        State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            dirs: BTreeSet::from(["/".into()]),
            dirs_durable: BTreeSet::from(["/".into()]),
            moved: Vec::new(),
            operations: 0,
            salts: 0,
            crash_at: None,
            crashed: false,
            failing: BTreeMap::new(),
            size: 1 << 40,
        }
    }
}

impl State {
    fn free(&self) -> u64 {
        let lengths = self.names.values().map(|inode| self.inodes[*inode].current.len() as u64);
        self.size.saturating_sub(lengths.sum())
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the simulated disk has crashed")) } else { Ok(()) }
    }

    /// Counts an operation; the one that crashes fails.
    fn step(&mut self) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        self.crashed = self.crash_at == Some(self.operations);
        self.alive()?;
        let failing = self.failing.remove(&self.operations);
        failing.map_or(Ok(()), |reason| Err(reason.into()))
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.alive()?;
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    fn after_crash(&self, seed: u64, random: &mut Random) -> Inode {
        let mut bytes = self.durable.clone();
        if seed != 0 {
            match random.below(2) {
                0 => self.keep_first(&mut bytes, random),
                _ => self.keep_some(&mut bytes, random),
            }
        }
        Inode { durable: bytes.clone(), current: bytes, unsynced: Vec::new() }
    }

    /// Keeps the first changes, and a part of the next one.
    fn keep_first(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let kept = random.below(self.unsynced.len() as u64 + 1) as usize;
        for change in &self.unsynced[..kept] {
            apply(bytes, change);
        }
        if let Some(Change::Write(offset, torn)) = self.unsynced.get(kept) {
            let part = random.below(torn.len() as u64 + 1) as usize;
            if part > 0 {
                apply(bytes, &Change::Write(*offset, torn[..part].to_vec()));
            }
        }
    }

    /// Keeps some sectors of all changes, and their lengths: what lies between is zeros, or what
    /// it was.
    fn keep_some(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        for change in &self.unsynced {
            let Change::Write(offset, written) = change else {
                apply(bytes, change);
                continue;
            };
            let first = SECTOR - *offset as usize % SECTOR;
            let mut at = 0;
            while at < written.len() {
                let next = if at == 0 { first } else { at + SECTOR }.min(written.len());
                if random.below(2) == 1 {
                    let sector = written[at..next].to_vec();
                    apply(bytes, &Change::Write(offset + at as u64, sector));
                }
                at = next;
            }
        }
    }
}

/// Gives a folder and all in it another path.
fn move_folder(
    names: &mut BTreeMap<PathBuf, usize>,
    dirs: &mut BTreeSet<PathBuf>,
    from: &Path,
    to: &Path,
) {
    let moved = |path: PathBuf| match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path,
    };
    *names = std::mem::take(names).into_iter().map(|(path, at)| (moved(path), at)).collect();
    *dirs = std::mem::take(dirs).into_iter().map(moved).collect();
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(length) => bytes.resize(*length as usize, 0),
        Change::Write(offset, written) => {
            let end = *offset as usize + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset as usize..end].copy_from_slice(written);
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

struct SimDir {
    disk: SimDisk,
    path: PathBuf,
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.step()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if path.parent().is_some_and(|dir| !state.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.0.lock().find(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut guard = self.0.lock();
        guard.step()?;
        let state = &mut *guard;
        if state.dirs.contains(from) {
            move_folder(&mut state.names, &mut state.dirs, from, to);
            state.moved.push((from.to_owned(), to.to_owned()));
            return Ok(());
        }
        let inode = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.find(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        if !state.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.retain(|name, _| !name.starts_with(path));
        state.dirs.retain(|dir| !dir.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.alive()?;
        if !state.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().chain(state.dirs.iter());
        let inside = inside.filter(|name| name.parent() == Some(path));
        let names = inside.filter_map(|name| name.file_name()?.to_str().map(str::to_owned));
        let sorted: BTreeSet<String> = names.collect();
        Ok(sorted.into_iter().collect())
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        let state = self.0.lock();
        state.alive()?;
        if !state.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(SimDir { disk: self.clone(), path: path.to_owned() }))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        state.alive().map(|()| state.free())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<DiskLock>> {
        Ok(Some(Box::new(())))
    }

    fn salt(&self) -> u64 {
        let mut state = self.0.lock();
        state.salts += 1;
        Random(state.salts).below(u64::MAX)
    }
}

impl DiskDir for SimDir {
    fn sync(&self) -> io::Result<()> {
        let path = self.path.as_path();
        let mut guard = self.disk.0.lock();
        guard.step()?;
        let state = &mut *guard;
        if !state.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = |folder: &PathBuf| folder.parent() == Some(path);
        for (from, to) in state.moved.extract_if(.., |(_, to)| here(to)) {
            move_folder(&mut state.names_durable, &mut state.dirs_durable, &from, &to);
        }
        let gone: Vec<PathBuf> = state
            .dirs_durable
            .iter()
            .filter(|dir| dir.parent() == Some(path) && !state.dirs.contains(*dir))
            .cloned()
            .collect();
        for dir in gone {
            state.dirs_durable.retain(|name| !name.starts_with(&dir));
            state.names_durable.retain(|name, _| !name.starts_with(&dir));
        }
        let inside = state.dirs.iter().filter(|dir| dir.parent() == Some(path));
        state.dirs_durable.extend(inside.cloned());
        state.names_durable.retain(|name, _| name.parent() != Some(path));
        let inside = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        state.names_durable.extend(inside.map(|(name, inode)| (name.clone(), *inode)));
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.0.lock();
        state.alive()?;
        let bytes = &state.inodes[self.inode].current;
        let end = offset.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let wanted = bytes.get(offset as usize..end as usize);
        buffer.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.step()?;
        let inode = &mut state.inodes[self.inode];
        for change in std::mem::take(&mut inode.unsynced) {
            apply(&mut inode.durable, &change);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        state.alive()?;
        Ok(state.inodes[self.inode].current.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(Change::SetLen(bytes))
    }
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let mut outcome = state.step();
        let length = state.inodes[self.inode].current.len() as u64;
        let end = match &change {
            Change::Write(offset, bytes) => offset + bytes.len() as u64,
            Change::SetLen(bytes) => *bytes,
        };
        if outcome.is_ok() && end.saturating_sub(length) > state.free() {
            outcome = Err(io::ErrorKind::StorageFull.into());
        }
        if outcome.is_ok() || state.crash_at == Some(state.operations) {
            let inode = &mut state.inodes[self.inode];
            apply(&mut inode.current, &change);
            inode.unsynced.push(change);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_synced_bytes_under_synced_names_survive() {
        let disk = SimDisk::new();
        let dir = Path::new("/d");
        disk.create_dir_all(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let file = disk.create(&dir.join("a")).unwrap();
        file.write_at(b"one", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(disk.reboot(0).bytes(&dir.join("a")), None);
        disk.sync_dir(dir).unwrap();
        file.write_at(b"two", 3).unwrap();
        assert_eq!(disk.reboot(0).bytes(&dir.join("a")).unwrap(), b"one");
        for seed in 1..50 {
            let after = disk.reboot(seed).bytes(&dir.join("a")).unwrap();
            assert!(b"onetwo".starts_with(&after) && after.len() >= 3);
        }
        disk.crash_at(disk.operations() + 1);
        assert!(disk.rename(&dir.join("a"), &dir.join("b")).is_err());
        assert!(disk.list(dir).is_err() && file.len().is_err());
    }

    #[test]
    fn sectors_are_lost_before_kept_ones() {
        let disk = SimDisk::new();
        let path = Path::new("/a");
        let file = disk.create(path).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_at(&[1; 2000], 100).unwrap();
        let kept_behind_lost = |seed| {
            let bytes = disk.reboot(seed).bytes(path).unwrap();
            let is_kept = |at: usize| bytes.get(at) == Some(&1);
            !is_kept(200) && is_kept(700)
        };
        assert!((1..50).any(kept_behind_lost));
    }

    #[test]
    fn folders_need_a_sync_of_the_folder_above() {
        let disk = SimDisk::new();
        let dir = Path::new("/a/b");
        disk.create_dir_all(dir).unwrap();
        disk.sync_dir(Path::new("/a")).unwrap();
        assert!(disk.reboot(0).list(dir).is_err());
        super::super::create_dir_durably(&disk, Path::new("/a/b/c")).unwrap();
        assert!(disk.reboot(0).list(dir).is_err(), "whoever made /a did not sync /");
        super::super::create_dir_durably(&disk, Path::new("/d/e")).unwrap();
        assert!(disk.reboot(0).list(Path::new("/d/e")).is_ok());
    }

    #[test]
    fn a_full_disk_takes_no_more_until_it_grows() {
        let disk = SimDisk::new();
        let file = disk.create(Path::new("/a")).unwrap();
        disk.resize(10);
        file.write_at(b"1234567890", 0).unwrap();
        assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 0);
        let full = file.write_at(b"x", 10).unwrap_err();
        assert_eq!((full.kind(), file.len().unwrap()), (io::ErrorKind::StorageFull, 10));
        file.write_at(b"y", 0).unwrap();
        disk.resize(11);
        file.write_at(b"x", 10).unwrap();
    }
}
