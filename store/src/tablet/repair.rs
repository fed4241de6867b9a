//! A tablet's manifest made again from the segments that lie in its folder.
//!
//! A segment does not say which log entries its rows came from. So each one counts as ending where
//! the log begins, and the node applies what the log has again on top of them: what was in a
//! segment already comes out the same. Deletes are not taken from a damaged manifest, since a byte
//! that differs would hide other rows. What remains to be known is which of two segments is the
//! newer one, and that matters only where they disagree about a row.

mod agree;
mod order;
mod salvage;
mod without;

use super::{Tablet, TabletOptions, open::open_segment, open::segment_path};
use crate::{
    Error, Result,
    aside::{free_path, set_aside},
    disk::Disk,
    manifest::{self, Flushed, Manifest, SegmentEntry},
    page_cache::PageCache,
    segment::Segment,
};
use agree::agree;
use order::Order;
use oribi_model::{LogIndex, TabletSpec};
use salvage::Salvaged;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What whoever asks for a repair agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consent {
    /// Takes the segment with the higher number as the newer one where nothing says which is, and
    /// it matters.
    pub assume_order: bool,
    /// Gives up the segments that a whole manifest names and that are missing or damaged.
    pub accept_loss: bool,
}

/// What a repair needs besides the folder.
#[derive(Debug, Clone)]
pub struct Repair {
    /// Up to where the log has let entries go, which is never beyond the last flush; `None` where
    /// it still has all of them.
    pub purged: Option<Flushed>,
    /// What may be done about what nobody knows.
    pub consent: Consent,
}

/// A segment that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its number.
    pub number: u64,
    /// Rows that it held.
    pub rows: u64,
    /// Their smallest and largest time, ns since the Unix epoch.
    pub time: (i64, i64),
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost { number, rows, time: (first, last) } = self;
        write!(out, "segment {number} of {rows} rows from {first} to {last}")
    }
}

/// What became of a repair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Segments that the new manifest names.
    pub segments: usize,
    /// Their rows; a key that several hold counts several times.
    pub rows: u64,
    /// Where the old manifest is kept, if there was one.
    pub kept: Option<PathBuf>,
    /// Where segments are kept that the new manifest does not name: they had been merged, or are
    /// damaged.
    pub left_out: Vec<PathBuf>,
    /// Numbers of segments that the damaged manifest named and that are not there as it says.
    pub missing: Vec<u64>,
    /// Segments that were given up, of a manifest that was whole.
    pub lost: Vec<Lost>,
    /// Pairs (older, newer) of segments that disagree, taken by their numbers.
    pub assumed: Vec<(u64, u64)>,
    /// Deletes, as JSON, that were not carried out in all segments and are forgotten: what they
    /// hid may be back. `None` where nobody knows whether there were any.
    pub forgotten_deletes: Option<Vec<String>>,
}

/// The segments of the folder, by number.
type Found = BTreeMap<u64, (SegmentEntry, Arc<Segment>)>;

impl Tablet {
    /// Makes the manifest of the tablet in `dir` again, where it is missing or damaged, or names
    /// segments that are. Nobody may have the tablet open. Nothing is removed: the damaged manifest, and segments that it says
    /// were merged, are kept as `NAME.damaged-N`.
    ///
    /// # Errors
    /// [`Error::Unrepairable`] where the manifest and its segments are whole, where a segment cannot be read, or
    /// where two disagree and nothing says which is newer; [`Error::FutureFormat`],
    /// [`Error::WrongTablet`]. Then nothing was changed. [`Error::Io`]; then the old manifest is
    /// in its place, or the new one, and the call may be made again.
    pub fn repair(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        spec: &TabletSpec,
        options: &TabletOptions,
        repair: &Repair,
    ) -> Result<Repaired> {
        let damaged = match old_manifest(&**disk, dir, spec)? {
            Old::Whole(manifest, bytes) => {
                let old = (manifest, bytes);
                return without::without_lost(disk, dir, spec, options, old, repair);
            }
            Old::Damaged(bytes) => Some(bytes),
            Old::Missing => None,
        };
        let mut found = find_segments(disk, dir, spec, options, purged_index(repair))?;
        let old = damaged.as_deref().map(|bytes| salvage::salvage(bytes, spec.id));
        let Salvaged { entries, is_whole, deletes } = old.unwrap_or_default();
        let (fitting, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| fits(entry, &found));
        let known: Vec<u64> = fitting.iter().map(|entry| entry.number).collect();
        let mut merged = Vec::new();
        if is_whole && others.is_empty() {
            merged.extend(found.keys().copied().filter(|number| !known.contains(number)));
            found.retain(|number, _| known.contains(number));
        }
        let numbers: Vec<u64> = found.keys().copied().collect();
        let Order { numbers, assumed } = order::order(&numbers, &known);
        let assumed = disagreeing(dir, spec, &found, assumed)?;
        if let Some((one, other)) = assumed.first().filter(|_| !repair.consent.assume_order) {
            let reason = format!(
                "segments {one} and {other} hold different values for the same rows, and nothing \
                 says which is newer; with --assume-order the one with the higher number is"
            );
            return Err(Error::Unrepairable { path: dir.to_owned(), reason });
        }
        let entries: Vec<SegmentEntry> =
            numbers.iter().filter_map(|number| Some(found.get(number)?.0.clone())).collect();
        let mut repaired = Repaired {
            segments: entries.len(),
            rows: entries.iter().map(|entry| entry.rows).sum(),
            missing: others.iter().map(|entry| entry.number).collect(),
            assumed,
            forgotten_deletes: deletes.map(|deletes| forgotten(deletes, repair)),
            ..Repaired::default()
        };
        drop(found);
        if let Some(bytes) = damaged {
            repaired.kept = Some(keep_copy(&**disk, &dir.join(manifest::NAME), &bytes)?);
        }
        let manifest = Manifest {
            tablet: spec.id,
            flushed: repair.purged.clone(),
            segments: entries,
            deletes: Vec::new(),
        };
        for number in merged {
            repaired.left_out.push(set_aside(&**disk, &segment_path(dir, number))?);
        }
        manifest.stage(&**disk, dir)?.commit()?;
        Ok(repaired)
    }
}

fn purged_index(repair: &Repair) -> LogIndex {
    repair.purged.as_ref().map(|flushed| flushed.index).unwrap_or_default()
}

/// The manifest that is there.
enum Old {
    Whole(Manifest, Vec<u8>),
    Damaged(Vec<u8>),
    Missing,
}

fn old_manifest(disk: &dyn Disk, dir: &Path, spec: &TabletSpec) -> Result<Old> {
    if !Tablet::exists(disk, dir)? {
        let reason = "there is no such folder, and no segments to repair it from".to_owned();
        return Err(Error::Unrepairable { path: dir.to_owned(), reason });
    }
    let path = dir.join(manifest::NAME);
    let bytes = || -> Result<Vec<u8>> {
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let mut bytes = vec![0; file.len().map_err(Error::io("measure", &path))? as usize];
        file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
        Ok(bytes)
    };
    match Manifest::read(disk, dir, spec.id) {
        Ok(manifest) => Ok(Old::Whole(manifest, bytes()?)),
        Err(Error::Missing { .. }) => Ok(Old::Missing),
        Err(Error::Corrupt { .. }) => Ok(Old::Damaged(bytes()?)),
        Err(other) => Err(other),
    }
}

/// Opens every segment in the folder; `last` is the log index up to which their rows count.
fn find_segments(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    spec: &TabletSpec,
    options: &TabletOptions,
    last: LogIndex,
) -> Result<Found> {
    let names = disk.list(dir).map_err(Error::io("list", dir))?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse::<u64>().ok());
    let mut found = Found::new();
    for number in numbers {
        let path = segment_path(dir, number);
        let kept_as = PageCache::segment_number();
        let segment = open_segment(disk, &path, spec, options, kept_as).map_err(|error| {
            let reason = format!("{error}; it can be done without its rows: move it away");
            Error::Unrepairable { path: dir.to_owned(), reason }
        })?;
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let bytes = file.len().map_err(Error::io("measure", &path))?;
        let times = segment.page_times().iter().copied();
        let time = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        let (rows, series) = (segment.rows(), segment.series_count() as u64);
        let cleaned = LogIndex::default();
        let entry = SegmentEntry { number, first: last, last, cleaned, rows, bytes, time, series };
        found.insert(number, (entry, Arc::new(segment)));
    }
    Ok(found)
}

/// Whether the segment that a damaged manifest speaks of is there.
fn fits(said: &SegmentEntry, found: &Found) -> bool {
    let shape = |entry: &SegmentEntry| (entry.rows, entry.bytes, entry.time, entry.series);
    found.get(&said.number).is_some_and(|(entry, _)| shape(entry) == shape(said))
}

/// Those of `pairs` whose order changes what a scan gives.
fn disagreeing(
    dir: &Path,
    spec: &TabletSpec,
    found: &Found,
    pairs: Vec<(u64, u64)>,
) -> Result<Vec<(u64, u64)>> {
    let mut disagreeing = Vec::new();
    for (one, other) in pairs {
        let (Some(a), Some(b)) = (found.get(&one), found.get(&other)) else { continue };
        let agreed = agree(spec.id, (a.0.time, &a.1), (b.0.time, &b.1));
        let unreadable = |error: String| {
            let reason = format!("segments {one} and {other} cannot be compared: {error}");
            Error::Unrepairable { path: dir.to_owned(), reason }
        };
        if !agreed.map_err(unreadable)? {
            disagreeing.push((one, other));
        }
    }
    Ok(disagreeing)
}

/// The deletes that the log does not have any more, as JSON.
fn forgotten(deletes: Vec<manifest::Delete>, repair: &Repair) -> Vec<String> {
    let purged = repair.purged.as_ref().map(|flushed| flushed.index);
    let gone = deletes.into_iter().filter(|delete| Some(delete.index) <= purged);
    gone.filter_map(|delete| serde_json::to_string(&delete).ok()).collect()
}

/// Writes `bytes` durably beside the file that they were read from, and says where.
fn keep_copy(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let copy = free_path(disk, path);
    let file = disk.create(&copy).map_err(Error::io("create", &copy))?;
    file.write_at(bytes, 0).map_err(Error::io("write", &copy))?;
    file.sync().map_err(Error::io("sync", &copy))?;
    if let Some(above) = path.parent() {
        disk.sync_dir(above).map_err(Error::io("sync", above))?;
    }
    Ok(copy)
}
