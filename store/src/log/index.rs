//! Where the entries of each group lie, and what else is known of it.

use super::{
    GroupId, GroupState, Groups, Op,
    frame::{Format, Record},
};
use crate::disk::DiskFile;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

/// A log file that is open for reading.
pub(super) struct LogFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) file: Box<dyn DiskFile>,
}

/// Where an entry is.
#[derive(Clone)]
pub(super) enum Place {
    /// In memory, on its way to the disk.
    Waiting { bytes: Arc<[u8]>, ticket: u64 },
    /// `offset` is that of its record; `length` that of the entry.
    Stored { file: Arc<LogFile>, offset: u64, length: u32 },
}

impl Place {
    /// Length of the entry.
    fn bytes(&self) -> usize {
        match self {
            Place::Waiting { bytes, .. } => bytes.len(),
            Place::Stored { length, .. } => *length as usize,
        }
    }
}

#[derive(Default)]
struct Group {
    vote: Option<Arc<[u8]>>,
    committed: Option<Arc<[u8]>>,
    purged: Option<(u64, Arc<[u8]>)>,
    /// Index of the first of `places`.
    first: u64,
    places: VecDeque<Place>,
}

struct FileState {
    file: Arc<LogFile>,
    bytes: u64,
    /// Entries in it that some group still keeps.
    kept: u64,
}

/// The index of all groups and files.
#[derive(Default)]
pub(super) struct Index {
    groups: Groups<Group>,
    files: BTreeMap<u64, FileState>,
    last_ticket: u64,
    /// (ticket, file) of each stored entry that an op of this ticket lets go. The file counts
    /// it until the op is durable.
    leaving: VecDeque<(u64, u64)>,
    /// Groups that are gone. Whatever still comes of them is late.
    forgotten: BTreeSet<GroupId>,
    /// The last replica of a group that may not come back.
    tombstones: Groups<u32>,
}

impl Index {
    /// Whether the group is gone, and no replica of it was admitted since.
    pub(super) fn is_forgotten(&self, group: GroupId) -> bool {
        self.forgotten.contains(&group)
    }

    pub(super) fn tombstone(&self, group: GroupId) -> Option<u32> {
        self.tombstones.get(&group).copied()
    }

    pub(super) fn tombstones(&self) -> impl Iterator<Item = (GroupId, u32)> {
        self.tombstones.iter().map(|(group, upto)| (*group, *upto))
    }

    /// Takes the group in again, unless the tombstone that is given back forbids this replica.
    pub(super) fn admit(&mut self, group: GroupId, incarnation: u32) -> Result<(), u32> {
        match self.tombstones.get(&group) {
            Some(upto) if *upto >= incarnation => Err(*upto),
            _ => {
                self.forgotten.remove(&group);
                Ok(())
            }
        }
    }

    /// Applies an op that will be written; the ticket names its entries.
    pub(super) fn apply(&mut self, group: GroupId, op: &Op) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        match op {
            Op::Append { first, entries } => {
                let known = self.groups.entry(group).or_default();
                if known.places.is_empty() {
                    let next = known.purged.as_ref().map_or(*first, |(upto, _)| upto + 1);
                    assert_eq!(next, *first, "entries leave no hole after what was purged");
                    known.first = *first;
                }
                let next = known.first + known.places.len() as u64;
                assert_eq!(next, *first, "entries are appended in order");
                let waiting =
                    entries.iter().map(|bytes| Place::Waiting { bytes: bytes.clone(), ticket });
                known.places.extend(waiting);
            }
            Op::Truncate { from } => self.truncate(group, *from),
            Op::Purge { upto, mark } => self.purge(group, *upto, mark),
            Op::Vote(bytes) => self.groups.entry(group).or_default().vote = Some(bytes.clone()),
            Op::Committed(bytes) => {
                self.groups.entry(group).or_default().committed = Some(bytes.clone());
            }
            Op::Forget { tombstone } => self.forget(group, *tombstone),
            Op::Lift => drop(self.tombstones.remove(&group)),
        }
        ticket
    }

    /// Applies a record found in `file`, whose frame's body starts at `start`. `false` where it
    /// cannot follow what came before.
    pub(super) fn replay(
        &mut self,
        group: GroupId,
        record: &Record<'_>,
        file: &Arc<LogFile>,
        start: u64,
    ) -> bool {
        if !matches!(record, Record::Forget { .. } | Record::Tombstone { .. }) {
            // Another replica was admitted before this was written.
            self.forgotten.remove(&group);
        }
        match record {
            Record::Entry { index, at, length } => {
                let known = self.groups.entry(group).or_default();
                if known.purged.as_ref().is_some_and(|(upto, _)| *index <= *upto) {
                    return true;
                }
                if known.places.is_empty() {
                    known.first = *index;
                }
                if known.first + known.places.len() as u64 != *index {
                    return false;
                }
                let offset = start + *at as u64;
                let place = Place::Stored { file: file.clone(), offset, length: *length as u32 };
                known.places.push_back(place);
                self.keep(file.number, 1);
            }
            Record::Truncate { from } => self.truncate(group, *from),
            Record::Purge { upto, mark } => self.purge(group, *upto, &(*mark).into()),
            Record::Forget { tombstone } => self.forget(group, *tombstone),
            Record::Tombstone { upto: None } => drop(self.tombstones.remove(&group)),
            Record::Tombstone { upto: Some(upto) } => {
                self.tombstones.insert(group, *upto);
                if !self.groups.contains_key(&group) {
                    self.forgotten.insert(group);
                }
            }
            Record::Vote(bytes) => {
                self.groups.entry(group).or_default().vote = Some((*bytes).into());
            }
            Record::Committed(bytes) => {
                self.groups.entry(group).or_default().committed = Some((*bytes).into());
            }
        }
        self.settle(self.last_ticket);
        true
    }

    fn truncate(&mut self, group: GroupId, from: u64) {
        let Some(known) = self.groups.get_mut(&group) else { return };
        let kept = from.saturating_sub(known.first).min(known.places.len() as u64);
        let gone: Vec<Place> = known.places.drain(kept as usize..).collect();
        if known.places.is_empty() {
            // A replay may begin behind entries that this let go.
            let start = known.purged.as_ref().map_or(0, |(upto, _)| upto + 1);
            known.first = known.first.min(from.max(start));
        }
        self.release(&gone);
    }

    fn purge(&mut self, group: GroupId, upto: u64, mark: &Arc<[u8]>) {
        let known = self.groups.entry(group).or_default();
        if known.purged.as_ref().is_some_and(|(known, _)| *known >= upto) {
            return;
        }
        known.purged = Some((upto, mark.clone()));
        let gone = (upto + 1).saturating_sub(known.first).min(known.places.len() as u64);
        let gone: Vec<Place> = known.places.drain(..gone as usize).collect();
        // A replay may begin behind the entries that this purge let go.
        known.first = known.first.max(upto + 1);
        self.release(&gone);
    }

    fn forget(&mut self, group: GroupId, tombstone: Option<u32>) {
        self.forgotten.insert(group);
        if let Some(upto) = tombstone {
            let known = self.tombstones.entry(group).or_default();
            *known = upto.max(*known);
        }
        if let Some(known) = self.groups.remove(&group) {
            self.release(known.places.iter());
        }
    }

    fn release<'a>(&mut self, places: impl IntoIterator<Item = &'a Place>) {
        for place in places {
            if let Place::Stored { file, .. } = place {
                self.leaving.push_back((self.last_ticket, file.number));
            }
        }
    }

    /// Notes that every op up to this ticket is durable.
    pub(super) fn settle(&mut self, ticket: u64) {
        while let Some((at, number)) = self.leaving.front()
            && *at <= ticket
        {
            let state = self.files.get_mut(number).expect("a kept entry's file is known");
            state.kept -= 1;
            self.leaving.pop_front();
        }
    }

    fn keep(&mut self, file: u64, entries: u64) {
        self.files.get_mut(&file).expect("an entry's file is known").kept += entries;
    }

    /// Notes where an entry was stored, unless it has been replaced or forgotten meanwhile.
    pub(super) fn stored(
        &mut self,
        (group, index, ticket): (GroupId, u64, u64),
        file: &Arc<LogFile>,
        offset: u64,
    ) {
        let Some(known) = self.groups.get_mut(&group) else { return };
        let Some(at) = index.checked_sub(known.first) else { return };
        let Some(place) = known.places.get_mut(at as usize) else { return };
        if let Place::Waiting { bytes, ticket: waiting } = place
            && *waiting == ticket
        {
            let length = bytes.len() as u32;
            *place = Place::Stored { file: file.clone(), offset, length };
            self.keep(file.number, 1);
        }
    }

    /// Adds a file, or notes its present length.
    pub(super) fn set_file(&mut self, file: &Arc<LogFile>, bytes: u64) {
        let new = || FileState { file: file.clone(), bytes, kept: 0 };
        self.files.entry(file.number).or_insert_with(new).bytes = bytes;
    }

    /// Takes files in again that could not be removed.
    pub(super) fn put_back(&mut self, files: &[Arc<LogFile>]) {
        for file in files {
            let state = FileState { file: file.clone(), bytes: 0, kept: 0 };
            self.files.insert(file.number, state);
        }
    }

    /// Takes out the oldest files that hold nothing any more; the newest always stays.
    pub(super) fn take_unused(&mut self) -> Vec<Arc<LogFile>> {
        let mut unused = Vec::new();
        while self.files.len() > 1
            && let Some(oldest) = self.files.first_entry()
            && oldest.get().kept == 0
        {
            unused.push(oldest.remove().file);
        }
        unused
    }

    pub(super) fn group(&self, group: GroupId) -> Option<GroupState> {
        self.groups.get(&group).map(Group::state)
    }

    pub(super) fn vote(&self, group: GroupId) -> Option<Arc<[u8]>> {
        self.groups.get(&group)?.vote.clone()
    }

    pub(super) fn groups(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    /// All groups with what a reader that starts now has to know of them.
    pub(super) fn states(&self) -> impl Iterator<Item = (GroupId, GroupState)> {
        self.groups.iter().map(|(group, known)| (*group, known.state()))
    }

    /// The entries kept within `range`, with their indexes: the first one, and what follows as far
    /// as all have no more than `bytes_max`.
    pub(super) fn places(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Vec<(u64, Place)> {
        let Some(known) = self.groups.get(&group) else { return Vec::new() };
        let end = known.first + known.places.len() as u64;
        let (start, end) = (range.start.max(known.first), range.end.min(end));
        let mut bytes = 0_usize;
        let within = (start..end).map_while(|at| {
            let place = &known.places[(at - known.first) as usize];
            bytes = bytes.saturating_add(place.bytes());
            (at == start || bytes <= bytes_max).then(|| (at, place.clone()))
        });
        within.collect()
    }

    /// Bytes of the entries kept within `range`.
    pub(super) fn bytes_of(&self, group: GroupId, range: Range<u64>) -> u64 {
        let Some(known) = self.groups.get(&group) else { return 0 };
        let place = |index: u64| index.saturating_sub(known.first).min(known.places.len() as u64);
        let start = place(range.start);
        let within = start as usize..start.max(place(range.end)) as usize;
        known.places.range(within).map(|place| place.bytes() as u64).sum()
    }

    /// The groups that keep the oldest file, where there are several.
    pub(super) fn pinning(&self) -> Vec<GroupId> {
        let Some(oldest) = self.files.keys().next().filter(|_| self.files.len() > 1) else {
            return Vec::new();
        };
        let pins = |known: &Group| match known.places.front() {
            Some(Place::Stored { file, .. }) => file.number == *oldest,
            _ => false,
        };
        self.groups.iter().filter(|(_, known)| pins(known)).map(|(group, _)| *group).collect()
    }

    /// How many files there are, and their bytes.
    pub(super) fn files(&self) -> (usize, u64) {
        (self.files.len(), self.files.values().map(|file| file.bytes).sum())
    }
}

impl Group {
    fn state(&self) -> GroupState {
        GroupState {
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
            entries: self.first..self.first + self.places.len() as u64,
        }
    }
}
