//! The one thread that writes: what waits becomes a frame, a frame is one sync.

use super::{
    Action, GroupId, Shared, Waiting, WriterState,
    frame::FrameBuilder,
    index::LogFile,
    recover::{self, Tail},
};
use crate::{Error, Result};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

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
    frame: FrameBuilder,
    /// (group, index, ticket) and offset within the frame of each entry in it.
    placed: Vec<((GroupId, u64, u64), usize)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, tail: Tail) -> Result<Writer> {
        let (file, end, allocated, sequence) = match tail.file {
            Some(last) => (last.file, last.end, last.allocated, tail.sequence),
            None => {
                let mut frame = FrameBuilder::new();
                let bytes = frame.seal(tail.sequence);
                let (disk, dir) = (&*shared.disk, &shared.dir);
                if let Some(above) = dir.parent() {
                    disk.sync_dir(above).map_err(Error::io("sync", above))?;
                }
                let (file, end) = recover::begin_file(disk, dir, 1, tail.sequence, bytes)?;
                shared.index.write().set_file(&file, end);
                (file, end, end, tail.sequence + 1)
            }
        };
        let frame = FrameBuilder::new();
        Ok(Writer { shared, file, end, allocated, sequence, frame, placed: Vec::new() })
    }

    pub(super) fn run(mut self) {
        while let Some(mut batch) = self.next() {
            while !batch.is_empty() {
                let taken = self.take(&batch);
                let rest = batch.split_off(taken);
                if let Err(error) = self.write(&batch) {
                    return self.fail(&error, batch.into_iter().chain(rest));
                }
                batch.into_iter().for_each(|one| (one.done)(Ok(())));
                batch = rest;
            }
        }
    }

    /// Waits for work; `None` at the end.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.shared.queue.lock();
        while !queue.urgent && queue.is_running() {
            self.shared.work.wait(&mut queue);
        }
        queue.urgent = false;
        queue.bytes = 0;
        let batch = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.shared.room.notify_all();
        (!batch.is_empty()).then_some(batch)
    }

    /// How many of `batch` go into the next frame; a rotation always goes alone.
    fn take(&self, batch: &[Waiting]) -> usize {
        let mut bytes = 0;
        let fits = |one: &&Waiting| {
            let Action::Op { op, .. } = &one.action else { return false };
            bytes += op.bytes();
            bytes <= self.shared.options.frame_bytes_max
        };
        batch.iter().take_while(fits).count().max(1)
    }

    fn write(&mut self, batch: &[Waiting]) -> Result<()> {
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
                    frees |= !matches!(op, super::Op::Append { .. } | super::Op::Vote(_));
                }
                Action::Rotate => {
                    self.rotate()?;
                    frees = true;
                }
            }
        }
        if !self.frame.is_empty() {
            let length = self.frame.len() as u64;
            if self.end + length > self.shared.options.file_bytes {
                self.rotate()?;
            }
            let started = Instant::now();
            let bytes = self.frame.seal(self.sequence);
            let path = &self.file.path;
            self.file.file.write_at(bytes, self.end).map_err(Error::io("write", path))?;
            let end = self.end + length;
            if end > self.allocated {
                self.allocated = end + self.shared.options.file_bytes / ALLOCATE_SHARE;
                let zeros = vec![0; (self.allocated - end) as usize];
                self.file.file.write_at(&zeros, end).map_err(Error::io("write", path))?;
            }
            self.file.file.sync().map_err(Error::io("sync", path))?;
            self.count(length, started);
            let mut index = self.shared.index.write();
            for (entry, at) in &self.placed {
                index.stored(*entry, &self.file, self.end + *at as u64);
            }
            index.settle(settled);
            self.end += length;
            self.sequence += 1;
            index.set_file(&self.file, self.end);
        }
        if frees { self.remove_unused() } else { Ok(()) }
    }

    fn count(&self, bytes: u64, started: Instant) {
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.sync_us.fetch_add(elapsed_us, Ordering::Relaxed);
    }

    /// Begins the next file with what its readers have to know of every group.
    fn rotate(&mut self) -> Result<()> {
        let mut checkpoint = FrameBuilder::new();
        for (group, state) in self.shared.index.read().states() {
            checkpoint.push_state(group, &state);
        }
        let bytes = checkpoint.seal(self.sequence);
        let (disk, dir) = (&*self.shared.disk, &self.shared.dir);
        let number = self.file.number + 1;
        let (file, end) = recover::begin_file(disk, dir, number, self.sequence, bytes)?;
        self.shared.index.write().set_file(&file, end);
        let path = &self.file.path;
        self.file.file.set_len(self.end).map_err(Error::io("cut", path))?;
        (self.file, self.end, self.allocated) = (file, end, end);
        self.sequence += 1;
        Ok(())
    }

    /// Removes the oldest files that no group needs. What freed them is durable by now.
    fn remove_unused(&self) -> Result<()> {
        let unused = self.shared.index.write().take_unused();
        if unused.is_empty() {
            return Ok(());
        }
        for file in &unused {
            self.shared.disk.remove(&file.path).map_err(Error::io("remove", &file.path))?;
            // Numbers must stay without gaps, so each removal is durable before the next.
            let dir = &self.shared.dir;
            self.shared.disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
        Ok(())
    }

    /// What is on disk is unknown from here on, so nothing is written any more.
    fn fail(self, error: &Error, waiting: impl Iterator<Item = Waiting>) {
        let reason = error.to_string();
        tracing::error!(%reason, "the log has stopped");
        let later = {
            let mut queue = self.shared.queue.lock();
            queue.state = WriterState::Failed(reason.clone());
            queue.bytes = 0;
            std::mem::take(&mut queue.waiting)
        };
        self.shared.room.notify_all();
        waiting.chain(later).for_each(|one| (one.done)(Err(reason.clone())));
    }
}
