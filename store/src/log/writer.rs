//! The one thread that writes: what waits becomes a frame, a frame is one sync.
//!
//! A write that fails is cut off and tried again: nobody was told of it, and what is on disk is
//! known. Only a failed sync, after which nothing is known, ends the log.

use super::{
    Action, GroupId, Op, Shared, Waiting,
    failure::{Failure, Outcome},
    files::{self, Begun, Spare},
    frame::{Format, FrameBuilder, Header},
    index::LogFile,
    recover::Tail,
};
use crate::{Error, Result, disk::DiskFile};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Before a write that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What part of a file's bound is allocated ahead.
const ALLOCATE_SHARE: u64 = 8;

pub(super) struct Writer {
    shared: Arc<Shared>,
    file: Arc<LogFile>,
    /// End of the last frame in `file`.
    end: u64,
    /// Length of `file`. Up to there its blocks are in place, so that a sync has only data to
    /// write and need not wait for the file system's journal.
    allocated: u64,
    /// Of the next frame.
    sequence: u64,
    /// Files that the next ones are made of.
    spares: Vec<Spare>,
    frame: FrameBuilder,
    /// (group, index, ticket) and offset within the frame of each entry in it.
    placed: Vec<((GroupId, u64, u64), usize)>,
}

impl Writer {
    /// A writer that goes on where the log ends, with the spare files that lie beside it.
    pub(super) fn new(shared: Arc<Shared>, tail: Tail, mut spares: Vec<Spare>) -> Result<Writer> {
        let (file, end, allocated, sequence) = match tail.file {
            Some(last) => (last.file, last.end, last.allocated, tail.sequence),
            None => {
                let (disk, dir) = (&*shared.disk, &shared.dir);
                let sequence = tail.sequence;
                let header = Header { format: files::new_format(disk), sequence };
                let mut frame = FrameBuilder::new();
                let bytes = frame.seal(sequence, header.format);
                if let Some(above) = dir.parent() {
                    disk.sync_dir(above).map_err(Error::io("sync", above))?;
                }
                let begun = files::begin_file(disk, dir, &mut spares, (1, header), bytes);
                let Begun { file, end, allocated } = begun.map_err(|failure| match failure {
                    Failure::Passing(error) | Failure::Final(error) => error,
                })?;
                shared.index.write().set_file(&file, end);
                (file, end, allocated, sequence + 1)
            }
        };
        let (frame, placed) = (FrameBuilder::new(), Vec::new());
        Ok(Writer { shared, file, end, allocated, sequence, spares, frame, placed })
    }

    pub(super) fn run(mut self) {
        while let Some(batch) = self.next() {
            if !self.write_all(batch) {
                return;
            }
        }
    }

    /// Writes what waits now; whether more may follow.
    pub(super) fn step(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        if !queue.urgent && queue.is_running() {
            return true;
        }
        let batch = queue.take();
        drop(queue);
        self.write_all(batch)
    }

    /// Writes all of it and reports to each; whether the log goes on.
    fn write_all(&mut self, mut batch: Vec<Waiting>) -> bool {
        while !batch.is_empty() {
            let taken = self.take(&batch);
            let rest = batch.split_off(taken);
            let outcome = match self.write_until_done(&batch) {
                Ok(outcome) => outcome,
                Err(reason) => {
                    self.shared.fail(&reason, batch.into_iter().chain(rest));
                    return false;
                }
            };
            batch.into_iter().for_each(|one| (one.done)(outcome.clone()));
            batch = rest;
        }
        true
    }

    /// Writes a batch, however often that takes; answers what became of it. Only what goes alone
    /// is given up where it fails: nobody's rows depend on it. An error is final.
    fn write_until_done(&mut self, batch: &[Waiting]) -> Result<Result<(), String>, String> {
        loop {
            match self.write(batch) {
                Ok(()) => {
                    self.shared.stall(None);
                    return Ok(Ok(()));
                }
                Err(Failure::Passing(error))
                    if matches!(batch, [Waiting { action: Action::Rotate | Action::Trim, .. }]) =>
                {
                    return Ok(Err(error.to_string()));
                }
                Err(Failure::Final(error)) => return Err(error.to_string()),
                Err(Failure::Passing(error)) => {
                    self.shared.stall(Some(error.to_string()));
                    if !self.pause() {
                        return Err(error.to_string());
                    }
                }
            }
        }
    }

    /// Waits before another try; `false` where the log is closing.
    fn pause(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        if self.shared.waker.is_some() {
            // Nobody steps a log that waits.
            return false;
        }
        if queue.is_running() {
            self.shared.closing.wait_for(&mut queue, RETRY_PAUSE);
        }
        queue.is_running()
    }

    /// Waits for work; `None` at the end.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.shared.queue.lock();
        while !queue.urgent && queue.is_running() {
            self.shared.work.wait(&mut queue);
        }
        let batch = queue.take();
        drop(queue);
        self.shared.room.notify_all();
        (!batch.is_empty()).then_some(batch)
    }

    /// How many of `batch` go into the next frame; what is no op always goes alone.
    fn take(&self, batch: &[Waiting]) -> usize {
        let mut bytes = 0;
        let fits = |one: &&Waiting| {
            let Action::Op { op, .. } = &one.action else { return false };
            bytes += op.bytes();
            bytes <= self.shared.options.frame_bytes_max
        };
        batch.iter().take_while(fits).count().max(1)
    }

    fn write(&mut self, batch: &[Waiting]) -> Outcome {
        self.frame.clear();
        self.placed.clear();
        let (mut frees, mut settled) = (false, 0);
        for one in batch {
            match &one.action {
                Action::Op { op, ticket } => {
                    settled = *ticket;
                    let (group, ticket, placed) = (one.group, *ticket, &mut self.placed);
                    self.frame.push(group, op, |index, at, _| {
                        placed.push(((group, index, ticket), at));
                    });
                    frees |= !matches!(op, Op::Append { .. } | Op::Vote(_));
                }
                Action::Rotate => {
                    self.rotate()?;
                    frees = true;
                }
                Action::Trim => self.trim()?,
            }
        }
        if !self.frame.is_empty() {
            self.write_frame(settled)?;
        }
        if frees {
            self.remove_unused()?;
        }
        Ok(())
    }

    /// Writes and syncs the frame under construction.
    fn write_frame(&mut self, settled: u64) -> Outcome {
        let length = self.frame.len() as u64;
        // A file of the old format is not written on: what is in it could be taken for frames.
        let is_old = self.file.format == Format::Plain;
        if is_old || self.end + length > self.shared.options.file_bytes {
            self.rotate()?;
        }
        let started = Instant::now();
        let bytes = self.frame.seal(self.sequence, self.file.format);
        let written = append(&*self.file.file, bytes, self.end, &mut self.allocated, &self.shared);
        if let Err(error) = written {
            // What was written of it is cut off again, so that nothing stands behind the last
            // frame that was acked.
            let path = &self.file.path;
            let cut = self.file.file.set_len(self.end);
            cut.map_err(Error::io("cut", path)).map_err(Failure::Final)?;
            self.allocated = self.end;
            return Err(Failure::of("write", path, error));
        }
        self.file
            .file
            .sync()
            .map_err(Error::io("sync", &self.file.path))
            .map_err(Failure::Final)?;
        self.count(length, started);
        let mut index = self.shared.index.write();
        for (entry, at) in &self.placed {
            index.stored(*entry, &self.file, self.end + *at as u64);
        }
        index.settle(settled);
        self.end += length;
        self.sequence += 1;
        index.set_file(&self.file, self.end);
        Ok(())
    }

    fn count(&self, bytes: u64, started: Instant) {
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.sync_us.fetch_add(elapsed_us, Ordering::Relaxed);
    }

    /// Begins the next file with what its readers have to know of every group.
    fn rotate(&mut self) -> Outcome {
        let mut checkpoint = FrameBuilder::new();
        {
            let index = self.shared.index.read();
            for (group, upto) in index.tombstones() {
                checkpoint.push_tombstone(group, upto);
            }
            for (group, state) in index.states() {
                checkpoint.push_state(group, &state);
            }
        }
        let (disk, dir) = (&*self.shared.disk, &self.shared.dir);
        let header = Header { format: files::new_format(disk), sequence: self.sequence };
        let bytes = checkpoint.seal(header.sequence, header.format);
        let number = self.file.number + 1;
        let begun = files::begin_file(disk, dir, &mut self.spares, (number, header), bytes)?;
        let Begun { file, end, allocated } = begun;
        self.shared.counters.written_bytes.fetch_add(end, Ordering::Relaxed);
        self.shared.index.write().set_file(&file, end);
        // What is allocated behind the last frame is worth nothing; where it stays, readers pass
        // over it.
        if let Err(error) = self.file.file.set_len(self.end) {
            tracing::warn!(path = %self.file.path.display(), %error, "cannot cut a log file");
        }
        (self.file, self.end, self.allocated) = (file, end, allocated);
        self.sequence += 1;
        Ok(())
    }

    /// Removes the spare files, and cuts off what is allocated behind the last frame.
    fn trim(&mut self) -> Outcome {
        let (disk, dir) = (&*self.shared.disk, &self.shared.dir);
        let folder = disk.open_dir(dir).map_err(|error| Failure::of("open", dir, error))?;
        files::remove_spares(disk, &mut self.spares)?;
        folder.sync().map_err(Error::io("sync", dir)).map_err(Failure::Final)?;
        let path = &self.file.path;
        let cut = self.file.file.set_len(self.end);
        cut.map_err(|error| Failure::of("cut", path, error))?;
        self.allocated = self.end;
        Ok(())
    }

    /// Takes out the oldest files that no group needs. What freed them is durable by now.
    fn remove_unused(&mut self) -> Outcome {
        let unused = self.shared.index.write().take_unused();
        if unused.is_empty() {
            return Ok(());
        }
        let (disk, dir) = (&*self.shared.disk, &self.shared.dir);
        let folder = match disk.open_dir(dir) {
            Ok(folder) => folder,
            Err(error) => {
                self.shared.index.write().put_back(&unused);
                tracing::warn!(path = %dir.display(), %error, "cannot remove log files yet");
                return Ok(());
            }
        };
        for (at, file) in unused.iter().enumerate() {
            let file_bytes_max = self.shared.options.file_bytes;
            match files::let_go(disk, &mut self.spares, file, file_bytes_max) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // Numbers must stay without gaps, so the later ones wait for it.
                    self.shared.index.write().put_back(&unused[at..]);
                    let path = file.path.display();
                    tracing::warn!(%path, %error, "cannot remove a log file yet");
                    return Ok(());
                }
                _ => {}
            }
            folder.sync().map_err(Error::io("sync", dir)).map_err(Failure::Final)?;
        }
        Ok(())
    }
}

/// Writes a frame at `end`; blocks behind it that no earlier file left there are allocated a good
/// piece at a time.
fn append(
    file: &dyn DiskFile,
    frame: &[u8],
    end: u64,
    allocated: &mut u64,
    shared: &Shared,
) -> io::Result<()> {
    file.write_at(frame, end)?;
    let end = end + frame.len() as u64;
    if end > *allocated {
        let zeros = vec![0; (shared.options.file_bytes / ALLOCATE_SHARE) as usize];
        file.write_at(&zeros, end)?;
        *allocated = end + zeros.len() as u64;
        shared.counters.written_bytes.fetch_add(zeros.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Fails the log if the writer's thread ends by a panic, so that nobody waits for ever.
pub(super) struct Watch(pub(super) Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the log's writer broke off", std::iter::empty());
        }
    }
}
