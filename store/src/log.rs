//! The node's log: one ordered, synced stream of what all consensus groups must not forget.
//!
//! Groups hand over [`Op`]s; one thread merges what is waiting into a frame, writes it, syncs once
//! and reports to each. An op is seen by readers as soon as it is submitted. The byte layout
//! stands in docs/formats/log.md.

mod check;
mod failure;
mod files;
mod frame;
mod index;
mod recover;
#[cfg(test)]
mod tests;
mod writer;

pub use check::{LogDamage, check};

use crate::{Error, Result, disk::Disk};
use index::{Index, Place};
use parking_lot::{Condvar, Mutex, RwLock};
use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often who waits for a rotation looks whether the log can be written at all.
const STALL_LOOK: Duration = Duration::from_millis(100);

/// A consensus group; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GroupId(pub u64);

/// Bounds of the log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Size at which a file is closed and the next one begun, bytes.
    pub file_bytes: u64,
    /// Bytes of one frame, unless a single op is longer.
    pub frame_bytes_max: usize,
    /// Bytes that wait to be written; past it [`Log::submit`] blocks.
    pub queue_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { file_bytes: 32 << 20, frame_bytes_max: 8 << 20, queue_bytes_max: 256 << 20 }
    }
}

/// One step of one group. What the bytes mean is the group's own affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Entries from `first` on, directly after the last one.
    Append {
        /// Index of the first entry.
        first: u64,
        /// At least one.
        entries: Vec<Arc<[u8]>>,
    },
    /// Forgets the entries from this index on.
    Truncate {
        /// First index that goes.
        from: u64,
    },
    /// Forgets the entries up to this index; the next one is the first that is kept.
    Purge {
        /// Last index that goes; may lie beyond the last entry.
        upto: u64,
        /// What the group wants to know of it later.
        mark: Arc<[u8]>,
    },
    /// Replaces the group's vote.
    Vote(Arc<[u8]>),
    /// Replaces the group's note of what is committed. Not synced on its own: it goes with
    /// whatever is written next.
    Committed(Arc<[u8]>),
    /// Forgets the group: entries, vote and all. Its id is used again only after [`Log::admit`].
    Forget {
        /// The replica that goes, where another may follow it here: no replica up to this one ever
        /// comes back, not even after a restart. `None` where the group itself is gone for good.
        tombstone: Option<u32>,
    },
    /// Nobody asks for the replicas any more that a tombstone names; it need not be kept.
    Lift,
}

impl Op {
    fn bytes(&self) -> usize {
        const HEAD_BYTES: usize = 64;
        let body = match self {
            Op::Append { entries, .. } => entries.iter().map(|one| one.len() + HEAD_BYTES).sum(),
            Op::Purge { mark: bytes, .. } | Op::Vote(bytes) | Op::Committed(bytes) => bytes.len(),
            Op::Truncate { .. } | Op::Forget { .. } | Op::Lift => 0,
        };
        body + HEAD_BYTES
    }

    fn is_lazy(&self) -> bool {
        matches!(self, Op::Committed(_))
    }
}

/// Called once an op is durable, or with the reason why it never will be.
pub type Done = Box<dyn FnOnce(Result<(), String>) + Send>;

/// What the log knows of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The newest [`Op::Vote`].
    pub vote: Option<Arc<[u8]>>,
    /// The newest [`Op::Committed`].
    pub committed: Option<Arc<[u8]>>,
    /// Index and mark of the newest [`Op::Purge`].
    pub purged: Option<(u64, Arc<[u8]>)>,
    /// Indexes of the entries kept; empty at the end of what was purged where there is none.
    pub entries: Range<u64>,
}

/// Figures of the log; totals count since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes of all files, up to their last frames; without those kept to make others of.
    pub bytes: u64,
    /// Files.
    pub files: usize,
    /// Frames written, each with one sync.
    pub syncs: u64,
    /// Bytes written, those that only allocate blocks included.
    pub written_bytes: u64,
    /// Time spent writing and syncing, µs.
    pub sync_us: u64,
    /// Why nothing can be written at present, while that is tried again and again.
    pub stalled: Option<String>,
}

/// The log of a node. Shared by all its groups.
pub struct Log {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writing>>,
}

/// Who writes.
enum Writing {
    Thread(JoinHandle<()>),
    /// Whoever calls [`Log::step`].
    Steps(Box<writer::Writer>),
}

/// Called when something waits to be written, from whichever thread handed it over.
pub type Waker = Box<dyn Fn() + Send + Sync>;

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    index: RwLock<Index>,
    queue: Mutex<Queue>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait for room.
    room: Condvar,
    /// Wakes the writer where it pauses after a failed write.
    closing: Condvar,
    stalled: Mutex<Option<String>>,
    /// Of a log without a thread.
    waker: Option<Waker>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    sync_us: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    bytes: usize,
    /// Whether something waits that wants to be synced.
    urgent: bool,
    state: WriterState,
}

struct Waiting {
    group: GroupId,
    action: Action,
    done: Done,
}

enum Action {
    Op {
        op: Op,
        ticket: u64,
    },
    /// Begins a new file.
    Rotate,
    /// Gives back to the disk what is only kept for later.
    Trim,
}

#[derive(Default)]
enum WriterState {
    #[default]
    Running,
    /// Writes what waits, then ends.
    Stopping,
    Failed(String),
}

impl Log {
    /// Opens the log in `dir`, or begins one, and drops what a crash left half-written at its end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where something that was synced is damaged or missing.
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf, options: LogOptions) -> Result<Log> {
        let (shared, writer) = Log::begin(disk, dir, options, None)?;
        let (name, watched) = ("oribi-log".to_owned(), shared.clone());
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let _watch = writer::Watch(watched);
                writer.run();
            })
            .map_err(Error::io("start the writer of", &shared.dir))?;
        Ok(Log { shared, writer: Mutex::new(Some(Writing::Thread(handle))) })
    }

    /// As [`Log::open`], without a thread: what waits is written by [`Log::step`], and `waker` is
    /// called when something does. A write that fails ends such a log. For simulations, where one
    /// thread does everything; [`Log::rotate`], [`Log::trim`] and [`Log::submit_and_wait`] would wait
    /// for ever.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        waker: Waker,
    ) -> Result<Log> {
        let (shared, writer) = Log::begin(disk, dir, options, Some(waker))?;
        Ok(Log { shared, writer: Mutex::new(Some(Writing::Steps(Box::new(writer)))) })
    }

    /// Writes and syncs what waits, and reports to each, where the log has no thread that does.
    pub fn step(&self) {
        if let Some(Writing::Steps(writer)) = &mut *self.writer.lock() {
            writer.step();
        }
    }

    fn begin(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        waker: Option<Waker>,
    ) -> Result<(Arc<Shared>, writer::Writer)> {
        let recovered = recover::recover(&*disk, &dir)?;
        let shared = Arc::new(Shared {
            disk,
            dir,
            options,
            index: RwLock::new(recovered.index),
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            closing: Condvar::new(),
            stalled: Mutex::default(),
            waker,
            counters: Counters::default(),
        });
        let writer = writer::Writer::new(shared.clone(), recovered.tail, recovered.spares)?;
        Ok((shared, writer))
    }

    /// Takes the next step of a group. It is seen by every later call at once; `done` is called
    /// from the writer's thread once it is durable, in the order of submission. Blocks while too
    /// much is waiting.
    ///
    /// A group that was forgotten takes nothing more, until another replica of it is admitted.
    ///
    /// # Panics
    /// If entries are appended anywhere but directly after the last one.
    pub fn submit(&self, group: GroupId, op: Op, done: Done) {
        let shared = &self.shared;
        let bytes = op.bytes();
        let mut queue = shared.queue.lock();
        while queue.bytes > shared.options.queue_bytes_max && queue.is_running() {
            shared.room.wait(&mut queue);
        }
        if let Some(reason) = queue.refusal() {
            drop(queue);
            return done(Err(reason));
        }
        // Both locks are held, so that ops are applied in the order in which they are written.
        let mut index = shared.index.write();
        if index.is_forgotten(group) && op != Op::Lift {
            drop((index, queue));
            return done(Err(format!("group {} is gone", group.0)));
        }
        let ticket = index.apply(group, &op);
        drop(index);
        queue.urgent |= !op.is_lazy();
        queue.bytes += bytes;
        queue.waiting.push(Waiting { group, action: Action::Op { op, ticket }, done });
        let urgent = queue.urgent;
        drop(queue);
        if urgent {
            shared.wake();
        }
    }

    /// As [`Log::submit`], and waits until the op is durable. For threads that may block.
    ///
    /// # Errors
    /// [`Error::Poisoned`] where the log has stopped.
    pub fn submit_and_wait(&self, group: GroupId, op: Op) -> Result<()> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(group, op, Box::new(move |outcome| drop(sender.send(outcome))));
        outcome(receiver.recv().ok())
    }

    /// Closes the current file and begins the next, so that the closed one can be purged.
    ///
    /// # Errors
    /// [`Error::Stalled`] where that is not possible now, [`Error::Poisoned`] where the log has
    /// stopped.
    pub fn rotate(&self) -> Result<()> {
        self.ask(Action::Rotate)
    }

    /// Gives back to the disk what is only kept so that later writes are quicker: spare files, and
    /// what is allocated behind the last frame. The next writes make it again.
    ///
    /// # Errors
    /// As [`Log::rotate`].
    pub fn trim(&self) -> Result<()> {
        self.ask(Action::Trim)
    }

    /// Has the writer do something that goes alone, and waits for it.
    fn ask(&self, action: Action) -> Result<()> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |outcome| drop(sender.send(outcome)));
        {
            let mut queue = self.shared.queue.lock();
            if let Some(reason) = queue.refusal() {
                return Err(Error::Poisoned(reason));
            }
            queue.urgent = true;
            queue.waiting.push(Waiting { group: GroupId(0), action, done });
        }
        self.shared.wake();
        loop {
            match receiver.recv_timeout(STALL_LOOK) {
                // What waits before it may not be written for long.
                Err(RecvTimeoutError::Timeout) => match self.stats().stalled {
                    Some(reason) => return Err(Error::Stalled(reason)),
                    None => continue,
                },
                Ok(Err(reason)) if self.shared.queue.lock().is_running() => {
                    return Err(Error::Stalled(reason));
                }
                received => return outcome(received.ok()),
            }
        }
    }

    /// What is known of a group; `None` where nothing is.
    pub fn group(&self, group: GroupId) -> Option<GroupState> {
        self.shared.index.read().group(group)
    }

    /// The vote of a group, alone: the same bytes in the same place until it changes.
    pub fn vote(&self, group: GroupId) -> Option<Arc<[u8]>> {
        self.shared.index.read().vote(group)
    }

    /// The last replica of a group that may not come back, where one was removed.
    pub fn tombstone(&self, group: GroupId) -> Option<u32> {
        self.shared.index.read().tombstone(group)
    }

    /// Lets a replica of a group begin here, also where an earlier one was forgotten.
    ///
    /// # Errors
    /// The tombstone that forbids it.
    pub fn admit(&self, group: GroupId, incarnation: u32) -> Result<(), u32> {
        self.shared.index.write().admit(group, incarnation)
    }

    /// The groups that the log knows.
    pub fn groups(&self) -> Vec<GroupId> {
        self.shared.index.read().groups()
    }

    /// The entries of a group within `range` that it has, in order, with their indexes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`].
    pub fn read(&self, group: GroupId, range: Range<u64>) -> Result<Vec<(u64, Arc<[u8]>)>> {
        self.read_some(group, range, usize::MAX)
    }

    /// As [`Log::read`], but no more than `bytes_max`; the first entry however long it is.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_some(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Arc<[u8]>)>> {
        let places = self.shared.index.read().places(group, range, bytes_max);
        let mut entries = Vec::with_capacity(places.len());
        for (index, place) in places {
            let bytes = match place {
                Place::Waiting { bytes, .. } => bytes,
                Place::Stored { file, offset, length } => {
                    frame::read_entry(&*file.file, &file.path, offset, length, (group, index))?
                }
            };
            entries.push((index, bytes));
        }
        Ok(entries)
    }

    /// Bytes of the entries of a group within `range` that it has.
    pub fn bytes_of(&self, group: GroupId, range: Range<u64>) -> u64 {
        self.shared.index.read().bytes_of(group, range)
    }

    /// The groups whose entries keep the oldest file, once there are more files than one.
    pub fn pinning(&self) -> Vec<GroupId> {
        self.shared.index.read().pinning()
    }

    /// Figures as of now.
    pub fn stats(&self) -> LogStats {
        let (files, bytes) = self.shared.index.read().files();
        let counters = &self.shared.counters;
        LogStats {
            bytes,
            files,
            syncs: counters.syncs.load(Ordering::Relaxed),
            written_bytes: counters.written_bytes.load(Ordering::Relaxed),
            sync_us: counters.sync_us.load(Ordering::Relaxed),
            stalled: self.shared.stalled.lock().clone(),
        }
    }

    /// Why the log has stopped, if it has.
    pub fn failure(&self) -> Option<String> {
        match &self.shared.queue.lock().state {
            WriterState::Failed(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

impl Log {
    /// Writes and syncs what waits, and takes nothing from then on. Blocks.
    pub fn close(&self) {
        {
            let mut queue = self.shared.queue.lock();
            if queue.is_running() {
                queue.state = WriterState::Stopping;
            }
        }
        self.shared.work.notify_one();
        self.shared.closing.notify_one();
        match self.writer.lock().take() {
            Some(Writing::Thread(writer)) => {
                let broke_off = |_: &_| tracing::error!("the log's writer ended abnormally");
                let _ = writer.join().inspect_err(broke_off);
            }
            Some(Writing::Steps(mut writer)) => drop(writer.step()),
            None => {}
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    /// All that waits.
    fn take(&mut self) -> Vec<Waiting> {
        (self.urgent, self.bytes) = (false, 0);
        std::mem::take(&mut self.waiting)
    }
}

impl Shared {
    /// Tells whoever writes that something waits.
    fn wake(&self) {
        self.work.notify_one();
        if let Some(waker) = &self.waker {
            waker();
        }
    }

    /// What is on disk is unknown from here on, so nothing is written any more.
    fn fail(&self, reason: &str, waiting: impl Iterator<Item = Waiting>) {
        tracing::error!(reason, "the log has stopped");
        let later = {
            let mut queue = self.queue.lock();
            queue.state = WriterState::Failed(reason.to_owned());
            queue.bytes = 0;
            std::mem::take(&mut queue.waiting)
        };
        self.room.notify_all();
        waiting.chain(later).for_each(|one| (one.done)(Err(reason.to_owned())));
    }

    /// Notes why nothing can be written at present, or that it can again.
    fn stall(&self, reason: Option<String>) {
        let mut stalled = self.stalled.lock();
        match (&*stalled, &reason) {
            (None, Some(reason)) => tracing::error!(reason, "the log cannot be written; trying on"),
            (Some(_), None) => tracing::info!("the log is written again"),
            _ => {}
        }
        *stalled = reason;
    }
}

impl Queue {
    fn is_running(&self) -> bool {
        matches!(self.state, WriterState::Running)
    }

    fn refusal(&self) -> Option<String> {
        match &self.state {
            WriterState::Running => None,
            WriterState::Stopping => Some("the log is closing".into()),
            WriterState::Failed(reason) => Some(reason.clone()),
        }
    }
}

/// What became of an op; `None` where the writer is gone.
fn outcome(received: Option<Result<(), String>>) -> Result<()> {
    let ended = || Err("the log's writer has ended".to_owned());
    received.unwrap_or_else(ended).map_err(Error::Poisoned)
}

type Groups<T> = BTreeMap<GroupId, T>;
