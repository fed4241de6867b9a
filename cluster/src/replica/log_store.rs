//! A group's share of the node's log, as openraft wants it.

use super::{
    forms,
    types::{Entry, LogId, TypeConfig, Vote},
};
use crate::planted::{Fault, is_planted};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use oribi_store::log::{GroupId, Log, Op};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::Arc,
};

/// Bytes of entries that a single read for another member hands over, unless the first one alone
/// is longer.
const READ_BYTES_MAX: usize = 1 << 20;
/// Entries that such a read hands over at most.
const READ_ENTRIES_MAX: u64 = 1_024;

/// A group's share of the log. Clones share it.
#[derive(Clone)]
pub(super) struct GroupLog {
    group: GroupId,
    log: Arc<Log>,
    /// Entries that were appended and not yet applied, so that applying decodes nothing.
    recent: Arc<Mutex<BTreeMap<u64, Entry>>>,
}

impl GroupLog {
    pub(super) fn new(group: GroupId, log: Arc<Log>) -> GroupLog {
        GroupLog { group, log, recent: Arc::default() }
    }

    /// Drops what need not be kept at hand any more.
    pub(super) fn applied(&self, upto: u64) {
        let mut recent = self.recent.lock();
        while let Some(first) = recent.first_entry()
            && *first.key() <= upto
        {
            first.remove();
        }
    }

    /// The entries of a range that there are, in order; no more than `bytes_max`, but the first one
    /// however long it is.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        // Those not applied yet are the last ones of the log, without a gap. They are taken first:
        // what is applied meanwhile leaves them, and not the log.
        let recent = first_of(self.recent.lock().range(range.clone()), bytes_max);
        let known = recent.first().map_or(range.end, |first| first.log_id.index);
        if known == range.start {
            return Ok(recent);
        }
        let stored = self.log.read_some(self.group, range.start..known, bytes_max);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (index, encoded) in stored.map_err(io::Error::other)? {
            bytes += encoded.len();
            entries.push(forms::decode_entry(index, &encoded).map_err(io::Error::other)?);
        }
        let is_cut = entries.last().is_some_and(|last| last.log_id.index + 1 < known);
        if !is_cut {
            for entry in recent {
                bytes = bytes.saturating_add(bytes_of(&entry));
                if bytes > bytes_max && !entries.is_empty() {
                    break;
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    async fn durable(&self, op: Op) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.log.submit(self.group, op, Box::new(move |outcome| drop(sender.send(outcome))));
        let outcome = receiver.await.map_err(|_| io::Error::other("the log has ended"))?;
        outcome.map_err(io::Error::other)
    }

    fn submit(&self, op: Op) {
        // A failure reaches the group with the next step that waits for its sync.
        self.log.submit(self.group, op, Box::new(|_| {}));
    }
}

/// The first ones of `entries` that fit `bytes_max`, at least one.
fn first_of<'a>(
    entries: impl Iterator<Item = (&'a u64, &'a Entry)>,
    bytes_max: usize,
) -> Vec<Entry> {
    let (mut first, mut bytes) = (Vec::new(), 0_usize);
    for (_, entry) in entries {
        bytes = bytes.saturating_add(bytes_of(entry));
        if bytes > bytes_max && !first.is_empty() {
            break;
        }
        first.push(entry.clone());
    }
    first
}

/// What an entry adds to a read.
fn bytes_of(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.encoded().len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.read(bounds(&range), usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let vote = self.log.group(self.group).and_then(|state| state.vote);
        vote.map(|bytes| forms::decode_vote(&bytes)).transpose().map_err(io::Error::other)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end.min(start.saturating_add(READ_ENTRIES_MAX)), READ_BYTES_MAX)
    }
}

impl RaftLogStorage<TypeConfig> for GroupLog {
    type LogReader = GroupLog;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.log.group(self.group).unwrap_or_default();
        let purged = state.purged.map(|(_, mark)| forms::decode_log_id(&mark));
        let last_purged_log_id = purged.transpose().map_err(io::Error::other)?;
        let last_log_id = match state.entries.end.checked_sub(1) {
            Some(last) if state.entries.contains(&last) => self.id(last)?,
            _ => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> GroupLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let op = Op::Vote(forms::encode_vote(vote));
        if is_planted(Fault::VoteNotSynced) {
            self.submit(op);
            return Ok(());
        }
        self.durable(op).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.submit(Op::Committed(forms::encode_committed(&committed)));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let Some(state) = self.log.group(self.group) else { return Ok(None) };
        let committed = state.committed.map(|bytes| forms::decode_log_id(&bytes));
        let committed = committed.transpose().map_err(io::Error::other)?;
        // Where a power cut has taken the entry, what was applied counts.
        Ok(committed.filter(|id| id.index < state.entries.end))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        let mut first = None;
        {
            let mut recent = self.recent.lock();
            for entry in entries {
                let index = entry.log_id().index;
                first.get_or_insert(index);
                encoded.push(forms::encode_entry(&entry));
                recent.insert(index, entry);
            }
        }
        let Some(first) = first else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        if is_planted(Fault::AckBeforeSync) {
            callback.io_completed(Ok(()));
            self.submit(Op::Append { first, entries: encoded });
            return Ok(());
        }
        let done = move |outcome: Result<(), String>| {
            callback.io_completed(outcome.map_err(io::Error::other));
        };
        self.log.submit(self.group, Op::Append { first, entries: encoded }, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        if is_planted(Fault::NotTruncated) {
            return Ok(());
        }
        self.recent.lock().split_off(&from);
        self.durable(Op::Truncate { from }).await
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        self.applied(id.index);
        self.submit(Op::Purge { upto: id.index, mark: forms::encode_log_id(&id) });
        Ok(())
    }
}

impl GroupLog {
    fn id(&self, index: u64) -> io::Result<Option<LogId>> {
        if let Some(entry) = self.recent.lock().get(&index) {
            return Ok(Some(entry.log_id));
        }
        let read = self.log.read(self.group, index..index + 1).map_err(io::Error::other)?;
        let id = read.first().map(|(index, bytes)| forms::decode_entry_id(*index, bytes));
        id.transpose().map_err(io::Error::other)
    }
}
