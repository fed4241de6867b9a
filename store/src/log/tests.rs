//! The log against a map, and against power cuts at every operation of the disk.

mod failing;
mod formats;

use super::*;
use crate::{
    disk::{DiskDir, DiskFile, DiskLock, sim::SimDisk},
    testing::Random,
};
use frame::Header;
use std::path::Path;

const DIR: &str = "/data/log";

fn options() -> LogOptions {
    LogOptions { file_bytes: 700, ..LogOptions::default() }
}

fn open(disk: &SimDisk) -> Result<Log> {
    crate::disk::create_dir_durably(disk, Path::new("/data"))?;
    Log::open(Arc::new(disk.clone()), DIR.into(), options())
}

/// What each group should hold: its state, and the bodies of its entries. Beside them the ids that
/// are in use instead of 0, 1 and 2, which a group that is gone for good never gets back, and the
/// tombstones.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model(BTreeMap<GroupId, (GroupState, Bodies)>, [u64; 3], BTreeMap<GroupId, u32>);

type Bodies = Vec<Arc<[u8]>>;

impl Model {
    fn of(log: &Log) -> Model {
        let mut model = Model::default();
        for group in log.groups() {
            let state = log.group(group).unwrap();
            let read = log.read(group, 0..u64::MAX).unwrap();
            let indexes: Vec<u64> = read.iter().map(|(index, _)| *index).collect();
            assert_eq!(indexes, state.entries.clone().collect::<Vec<_>>());
            model.0.insert(group, (state, read.into_iter().map(|(_, bytes)| bytes).collect()));
        }
        model.2 = log.shared.index.read().tombstones().collect();
        model.normal()
    }

    /// Without what a log need not remember: groups with nothing, and where nothing would begin.
    fn normal(mut self) -> Model {
        for (state, _) in self.0.values_mut() {
            if state.entries.is_empty() && state.purged.is_none() {
                state.entries = 0..0;
            }
        }
        self.0.retain(|_, (state, _)| *state != GroupState::default());
        self.1 = [0; 3];
        self
    }

    fn apply(&mut self, group: GroupId, op: &Op) {
        match op {
            Op::Forget { tombstone: None } => {
                self.0.remove(&group);
                self.1[group.0 as usize % 3] += 3;
                return;
            }
            Op::Forget { tombstone: Some(upto) } => {
                self.0.remove(&group);
                self.2.insert(group, *upto);
                return;
            }
            Op::Lift => {
                self.2.remove(&group);
                return;
            }
            _ => {}
        }
        let (state, bodies) = self.0.entry(group).or_default();
        match op {
            Op::Append { first, entries } => {
                if bodies.is_empty() {
                    state.entries = *first..*first;
                }
                bodies.extend(entries.iter().cloned());
                state.entries.end += entries.len() as u64;
            }
            Op::Truncate { from } => {
                let kept = from.clamp(&state.entries.start, &state.entries.end);
                state.entries.end = *kept;
                bodies.truncate((state.entries.end - state.entries.start) as usize);
            }
            Op::Purge { upto, mark } => {
                if state.purged.as_ref().is_none_or(|(known, _)| known < upto) {
                    state.purged = Some((*upto, mark.clone()));
                    let gone = (upto + 1).saturating_sub(state.entries.start);
                    bodies.drain(..(gone as usize).min(bodies.len()));
                    state.entries = upto + 1..upto + 1 + bodies.len() as u64;
                }
            }
            Op::Vote(bytes) => state.vote = Some(bytes.clone()),
            Op::Committed(bytes) => state.committed = Some(bytes.clone()),
            Op::Forget { .. } | Op::Lift => {}
        }
    }

    fn random_op(&self, random: &mut Random) -> (GroupId, Op) {
        let slot = random.below(3);
        let group = GroupId(slot + self.1[slot as usize]);
        let known = self.0.get(&group).map(|(state, _)| state.clone()).unwrap_or_default();
        let bytes = |random: &mut Random| -> Arc<[u8]> {
            vec![random.below(256) as u8; random.below(60) as usize].into()
        };
        let within = |random: &mut Random| {
            known.entries.start + random.below(known.entries.end - known.entries.start + 1)
        };
        let op = match random.below(12) {
            0 => Op::Vote(bytes(random)),
            1 => Op::Committed(bytes(random)),
            2 => Op::Truncate { from: within(random) },
            3 | 4 if known.entries.end > 0 => {
                Op::Purge { upto: within(random).max(1) - 1, mark: bytes(random) }
            }
            5 if random.below(4) == 0 => Op::Forget { tombstone: None },
            5 if random.below(2) == 0 => {
                Op::Forget { tombstone: Some(self.2.get(&group).map_or(0, |upto| upto + 1)) }
            }
            5 => Op::Lift,
            _ => {
                let entries = (0..1 + random.below(4)).map(|_| bytes(random)).collect();
                Op::Append { first: known.entries.end, entries }
            }
        };
        (group, op)
    }
}

#[test]
fn the_log_holds_what_a_map_would() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let disk = SimDisk::new();
        let mut log = open(&disk).unwrap();
        let mut model = Model::default();
        for _ in 0..120 {
            match random.below(20) {
                0 => {
                    drop(log);
                    log = open(&disk).unwrap();
                }
                1 => log.rotate().unwrap(),
                2 => log.trim().unwrap(),
                _ => {
                    let (group, op) = model.random_op(&mut random);
                    model.apply(group, &op);
                    log.admit(group, u32::MAX).unwrap();
                    log.submit(group, op, Box::new(|outcome| outcome.unwrap()));
                }
            }
            assert_eq!(Model::of(&log), model.clone().normal());
        }
        let groups: Vec<GroupId> = model.0.keys().copied().collect();
        for group in groups {
            log.submit_and_wait(group, Op::Forget { tombstone: None }).unwrap();
        }
        log.rotate().unwrap();
        assert_eq!(log.stats().files, 1, "files that nobody needs are removed");
    }
}

/// Runs a script up to the first op that fails; gives how many ops were acked.
fn run(disk: &SimDisk, script: &[(GroupId, Op)]) -> Result<usize> {
    let log = open(disk)?;
    for (at, (group, op)) in script.iter().enumerate() {
        log.admit(*group, u32::MAX).unwrap();
        if matches!(op, Op::Committed(_)) {
            log.submit(*group, op.clone(), Box::new(|_| {}));
        } else if log.submit_and_wait(*group, op.clone()).is_err() {
            return Ok(at);
        }
    }
    Ok(script.len())
}

#[test]
fn a_crash_at_any_operation_keeps_what_was_acked() {
    let mut random = Random(11);
    let (mut model, mut script) = (Model::default(), Vec::new());
    for _ in 0..200 {
        let (group, op) = model.random_op(&mut random);
        model.apply(group, &op);
        script.push((group, op));
    }
    assert!(crash_everywhere(&script) > 1_000);
}

/// Entries and purges in turn: file after file is made of those before.
fn recycling(rounds: u64) -> Vec<(GroupId, Op)> {
    let ops = (0..rounds).flat_map(|at| {
        let entries = vec![vec![at as u8; 250].into()];
        let purge = Op::Purge { upto: at, mark: b"mark"[..].into() };
        [(GroupId(1), Op::Append { first: at, entries }), (GroupId(1), purge)]
    });
    ops.collect()
}

fn spares(disk: &SimDisk) -> usize {
    let names = disk.list(Path::new(DIR)).unwrap();
    names.iter().filter(|name| name.ends_with(".spare")).count()
}

#[test]
fn a_crash_while_files_are_made_of_others_keeps_what_was_acked() {
    assert!(crash_everywhere(&recycling(30)) > 300);
}

#[test]
fn files_are_made_of_others_and_only_what_is_new_is_written() {
    let disk = SimDisk::new();
    assert_eq!(run(&disk, &recycling(30)).unwrap(), 60);
    assert!((1..=2).contains(&spares(&disk)), "{}", spares(&disk));
    let log = open(&disk).unwrap();
    let (entry, rounds) = (vec![9; 250], 40);
    for first in 30..30 + rounds {
        let entries = vec![entry.clone().into()];
        log.submit_and_wait(GroupId(1), Op::Append { first, entries }).unwrap();
        let purge = Op::Purge { upto: first, mark: b"mark"[..].into() };
        log.submit_and_wait(GroupId(1), purge).unwrap();
        assert!(spares(&disk) <= 2);
    }
    // An entry and a purge with their heads, and a header with a checkpoint every other time.
    let each = 250 + 25 + 24 + 29 + 24 + (40 + 24 + 29);
    let written = log.stats().written_bytes;
    assert!(written <= rounds * each, "{written} bytes for {rounds} entries of 250");
    drop(log);
    let held = open(&disk).unwrap();
    assert_eq!(held.group(GroupId(1)).unwrap().entries, 70..70);
}

#[test]
fn a_trimmed_log_holds_its_frames_and_nothing_else() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    let append = |first| Op::Append { first, entries: vec![vec![1; 8].into()] };
    let purge = |upto| Op::Purge { upto, mark: b"m"[..].into() };
    for first in 0..3 {
        log.submit_and_wait(GroupId(1), append(first)).unwrap();
        log.rotate().unwrap();
        log.submit_and_wait(GroupId(1), purge(first)).unwrap();
    }
    log.submit_and_wait(GroupId(1), append(3)).unwrap();
    assert!(spares(&disk) > 0);
    log.trim().unwrap();
    let held: u64 = disk
        .list(Path::new(DIR))
        .unwrap()
        .iter()
        .map(|name| disk.bytes(&Path::new(DIR).join(name)).unwrap().len() as u64)
        .sum();
    assert_eq!((spares(&disk), held), (0, log.stats().bytes));
    log.submit_and_wait(GroupId(1), append(4)).unwrap();
    drop(log);
    assert_eq!(open(&disk).unwrap().group(GroupId(1)).unwrap().entries, 3..5);
}

#[test]
fn a_file_that_is_being_read_is_not_written_on() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    let entries = vec![vec![7; 250].into()];
    log.submit_and_wait(GroupId(1), Op::Append { first: 0, entries }).unwrap();
    let places = log.shared.index.read().places(GroupId(1), 0..1, usize::MAX);
    log.rotate().unwrap();
    log.submit_and_wait(GroupId(1), Op::Purge { upto: 0, mark: b"m"[..].into() }).unwrap();
    assert_eq!((log.stats().files, spares(&disk)), (1, 0));
    let Place::Stored { file, offset, length } = &places[0].1 else { panic!("it is stored") };
    let whose = (GroupId(1), 0);
    let read = frame::read_entry(&*file.file, &file.path, *offset, *length, whose).unwrap();
    assert_eq!(&read[..], [7; 250]);
}

/// Lets the power go at each operation of a script; gives how many there are.
fn crash_everywhere(script: &[(GroupId, Op)]) -> u64 {
    let calm = SimDisk::new();
    assert_eq!(run(&calm, script).unwrap(), script.len());
    println!("a log: the power went at {} operations", calm.operations());
    for at in 1..=calm.operations() {
        let disk = SimDisk::new();
        disk.crash_at(at);
        let acked = run(&disk, script).unwrap_or(0);
        for seed in [0, at, at + 1_000] {
            let log = open(&disk.reboot(seed)).unwrap();
            let found = Model::of(&log);
            // The op that failed may have become durable all the same; lazy ones may be lost.
            let matches = (acked.saturating_sub(3)..=(acked + 1).min(script.len())).any(|kept| {
                let mut model = Model::default();
                script[..kept].iter().for_each(|(group, op)| model.apply(*group, op));
                let lost = script[kept.min(acked)..acked].iter();
                let lazy = lost.clone().all(|(_, op)| matches!(op, Op::Committed(_)));
                lazy && model.normal() == found
            });
            assert!(matches, "after a crash at operation {at}, seed {seed}");
        }
    }
    calm.operations()
}

#[test]
fn damage_to_what_was_synced_is_refused() {
    let disk = SimDisk::new();
    let log = Log::open(Arc::new(disk.clone()), DIR.into(), LogOptions::default()).unwrap();
    for first in 0..6 {
        let entries = vec![vec![first as u8; 40].into()];
        log.submit_and_wait(GroupId(1), Op::Append { first, entries }).unwrap();
    }
    drop(log);
    let path = files::file_path(Path::new(DIR), 1);
    let good = disk.bytes(&path).unwrap();
    let format = Header::parse(&good, 1, &path).unwrap().unwrap().format;
    let last_frame = memchr::memmem::rfind(&good, &format.frame_magic()).unwrap();
    let (body, _) = frame::parse_frame(&good[last_frame..], format, |_| true).unwrap();
    let end = last_frame + frame::FRAME_HEAD_BYTES + body.len();
    for at in 0..end + 9 {
        let mut bad = good[..end + 9].to_vec();
        bad[at] ^= 1 << (at % 8);
        disk.put(&path, bad);
        match open(&disk) {
            Ok(log) => {
                assert!(at >= last_frame, "byte {at} is not covered");
                let kept = if at < end { 5 } else { 6 };
                assert_eq!(log.group(GroupId(1)).unwrap().entries, 0..kept);
            }
            Err(Error::Corrupt { .. } | Error::FutureFormat { .. }) => assert!(at < last_frame),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_group_that_was_forgotten_takes_nothing_more() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    let append = |first| Op::Append { first, entries: vec![vec![1; 8].into()] };
    log.submit_and_wait(GroupId(1), append(0)).unwrap();
    log.submit_and_wait(GroupId(1), Op::Forget { tombstone: None }).unwrap();
    for op in [append(0), append(1), Op::Vote(b"v"[..].into()), Op::Truncate { from: 0 }] {
        assert!(log.submit_and_wait(GroupId(1), op).is_err());
    }
    assert_eq!((log.group(GroupId(1)), log.failure()), (None, None));
    log.submit_and_wait(GroupId(2), append(0)).unwrap();
    log.submit_and_wait(GroupId(2), Op::Forget { tombstone: None }).unwrap();
    log.rotate().unwrap();
    assert_eq!(log.stats().files, 1);
}

#[test]
fn a_replica_that_was_removed_never_comes_back() {
    let disk = SimDisk::new();
    let group = GroupId(1);
    let append = |first| Op::Append { first, entries: vec![vec![1; 8].into()] };
    let log = open(&disk).unwrap();
    assert_eq!((log.admit(group, 0), log.tombstone(group)), (Ok(()), None));
    log.submit_and_wait(group, append(0)).unwrap();
    log.submit_and_wait(group, Op::Forget { tombstone: Some(3) }).unwrap();
    assert_eq!(log.admit(group, 3), Err(3));
    assert!(log.submit_and_wait(group, append(0)).is_err());
    log.rotate().unwrap();
    assert_eq!(log.stats().files, 1, "it is kept without the entries that it ended");
    drop(log);

    let log = open(&disk).unwrap();
    assert_eq!((log.admit(group, 3), log.tombstone(group)), (Err(3), Some(3)));
    assert!(log.submit_and_wait(group, append(0)).is_err());
    log.admit(group, 4).unwrap();
    log.submit_and_wait(group, append(0)).unwrap();
    log.rotate().unwrap();
    drop(log);

    let log = open(&disk).unwrap();
    assert_eq!(log.group(group).unwrap().entries, 0..1);
    log.submit_and_wait(group, Op::Lift).unwrap();
    log.submit_and_wait(group, append(1)).unwrap();
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!((log.tombstone(group), log.group(group).unwrap().entries), (None, 0..2));
}

#[test]
fn a_read_is_bounded_by_bytes() {
    let disk = SimDisk::new();
    let (log, group) = (open(&disk).unwrap(), GroupId(1));
    let entries: Vec<Arc<[u8]>> = (0..6).map(|at| vec![at; 100].into()).collect();
    log.submit_and_wait(group, Op::Append { first: 5, entries }).unwrap();
    let indexes = |range: Range<u64>, bytes_max| {
        let read = log.read_some(group, range, bytes_max).unwrap();
        read.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(indexes(0..u64::MAX, 300), [5, 6, 7]);
    assert_eq!(indexes(6..9, 299), [6, 7]);
    assert_eq!(indexes(9..u64::MAX, usize::MAX), [9, 10]);
    assert_eq!(indexes(7..9, 1), [7], "the first one however long it is");
    assert_eq!(indexes(11..20, 1_000), [0; 0]);
}

#[test]
fn one_sync_serves_what_waits() {
    let disk = SimDisk::new();
    let log = Log::open(Arc::new(disk.clone()), DIR.into(), LogOptions::default()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let before = log.stats().syncs;
    // The writer cannot take the queue while the index is held, so all of these wait together.
    let index = log.shared.index.read();
    let mut queue = log.shared.queue.lock();
    for group in 0..100 {
        let (sender, op) = (sender.clone(), Op::Vote(vec![7].into()));
        let done: Done = Box::new(move |outcome| sender.send(outcome).unwrap());
        let action = Action::Op { op, ticket: group };
        queue.waiting.push(Waiting { group: GroupId(group), action, done });
    }
    queue.urgent = true;
    drop((queue, index));
    log.shared.work.notify_one();
    assert!(receiver.iter().take(100).all(|outcome| outcome.is_ok()));
    assert_eq!(log.stats().syncs, before + 1);
}

#[test]
fn a_read_sees_what_is_still_waiting() {
    struct Slow(SimDisk, Arc<Mutex<()>>);
    struct SlowFile(Box<dyn DiskFile>, Arc<Mutex<()>>);
    impl DiskFile for SlowFile {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            self.0.read_at(buffer, offset)
        }
        fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
            self.0.write_at(bytes, offset)
        }
        fn sync(&self) -> std::io::Result<()> {
            drop(self.1.lock());
            self.0.sync()
        }
        fn len(&self) -> std::io::Result<u64> {
            self.0.len()
        }
        fn set_len(&self, bytes: u64) -> std::io::Result<()> {
            self.0.set_len(bytes)
        }
    }
    impl Disk for Slow {
        fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
            Ok(Box::new(SlowFile(self.0.create(path)?, self.1.clone())))
        }
        fn open(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
            self.0.open(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, path: &Path) -> std::io::Result<()> {
            self.0.remove(path)
        }
        fn create_dir_all(&self, path: &Path) -> std::io::Result<()> {
            self.0.create_dir_all(path)
        }
        fn remove_dir_all(&self, path: &Path) -> std::io::Result<()> {
            self.0.remove_dir_all(path)
        }
        fn list(&self, path: &Path) -> std::io::Result<Vec<String>> {
            self.0.list(path)
        }
        fn open_dir(&self, path: &Path) -> std::io::Result<Box<dyn DiskDir>> {
            self.0.open_dir(path)
        }
        fn free_bytes(&self, path: &Path) -> std::io::Result<u64> {
            self.0.free_bytes(path)
        }
        fn lock(&self, path: &Path) -> std::io::Result<Option<DiskLock>> {
            self.0.lock(path)
        }
    }
    let gate = Arc::new(Mutex::new(()));
    let disk = Slow(SimDisk::new(), gate.clone());
    let log = Log::open(Arc::new(disk), DIR.into(), LogOptions::default()).unwrap();
    let closed = gate.lock();
    let (sender, receiver) = std::sync::mpsc::channel();
    let entries = vec![b"now"[..].into()];
    let done: Done = Box::new(move |outcome| sender.send(outcome).unwrap());
    log.submit(GroupId(1), Op::Append { first: 1, entries }, done);
    assert_eq!(log.read(GroupId(1), 1..2).unwrap(), [(1, b"now"[..].into())]);
    assert!(receiver.try_recv().is_err(), "nothing is acked before the sync");
    drop(closed);
    receiver.recv().unwrap().unwrap();
}

#[test]
fn a_log_without_a_thread_writes_when_it_is_stepped() {
    let disk = SimDisk::new();
    let open = |disk: &SimDisk, waker: Waker| {
        let options = LogOptions::default();
        Log::open_stepped(Arc::new(disk.clone()), "/log".into(), options, waker).unwrap()
    };
    let woken = Arc::new(AtomicU64::new(0));
    let counter = woken.clone();
    let waker = move || {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let log = open(&disk, Box::new(waker));
    let (sender, receiver) = mpsc::channel();
    let group = GroupId(1);
    for index in 0..3 {
        let (sender, entries) = (sender.clone(), vec![vec![index as u8; 10].into()]);
        let done: Done = Box::new(move |outcome| sender.send(outcome).unwrap());
        log.submit(group, Op::Append { first: index, entries }, done);
    }
    assert_eq!(woken.load(Ordering::Relaxed), 3);
    assert!(receiver.try_recv().is_err(), "nothing is written before a step");
    let before = disk.reboot(0);
    log.step();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Ok(()), Ok(()), Ok(())]);
    assert_eq!((log.stats().syncs, log.bytes_of(group, 1..3)), (1, 20));
    assert_eq!(open(&before, Box::new(|| {})).group(group), None);
    let after = open(&disk.reboot(0), Box::new(|| {}));
    assert_eq!(after.group(group).unwrap().entries, 0..3);
    disk.crash_at(disk.operations() + 1);
    log.submit(group, Op::Vote([1].as_slice().into()), Box::new(|_| {}));
    log.step();
    assert!(log.failure().is_some());
}
