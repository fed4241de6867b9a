//! A whole manifest that names segments which are gone: the tablet without them.

use super::{Lost, Repair, Repaired, keep_copy};
use crate::{
    Error, Result,
    aside::set_aside,
    disk::Disk,
    manifest::{self, Manifest, SegmentEntry},
    page_cache::PageCache,
    tablet::{
        TabletOptions,
        open::{open_segment, segment_path},
    },
};
use oribi_model::TabletSpec;
use std::{path::Path, sync::Arc};

/// Leaves out the segments that are missing or cannot be opened, where that is consented to.
///
/// # Errors
/// [`Error::Unrepairable`] where nothing is gone, or what is gone may not be given up; as
/// [`Error::Io`] otherwise.
pub(super) fn without_lost(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    spec: &TabletSpec,
    options: &TabletOptions,
    (manifest, bytes): (Manifest, Vec<u8>),
    repair: &Repair,
) -> Result<Repaired> {
    let unrepairable = |reason: String| Error::Unrepairable { path: dir.to_owned(), reason };
    let is_gone = |entry: &SegmentEntry| -> Result<bool> {
        let path = segment_path(dir, entry.number);
        match open_segment(disk, &path, spec, options, PageCache::segment_number()) {
            Ok(segment) => Ok(segment.rows() != entry.rows),
            Err(Error::Corrupt { .. }) => Ok(true),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(true)
            }
            Err(other) => Err(other),
        }
    };
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for entry in manifest.segments.iter().cloned() {
        if is_gone(&entry)? { gone.push(entry) } else { kept.push(entry) }
    }
    if gone.is_empty() {
        return Err(unrepairable("its manifest is whole, and its segments are there".to_owned()));
    }
    let lost: Vec<Lost> = gone
        .iter()
        .map(|entry| Lost { number: entry.number, rows: entry.rows, time: entry.time })
        .collect();
    if !repair.consent.accept_loss {
        let named: Vec<String> = lost.iter().map(Lost::to_string).collect();
        return Err(unrepairable(format!(
            "{}: gone or damaged; put back what you have of it, or serve the rest without it with \
             --accept-loss",
            named.join(", ")
        )));
    }
    let mut repaired = Repaired {
        segments: kept.len(),
        rows: kept.iter().map(|entry| entry.rows).sum(),
        kept: Some(keep_copy(&**disk, &dir.join(manifest::NAME), &bytes)?),
        lost,
        forgotten_deletes: Some(Vec::new()),
        ..Repaired::default()
    };
    let rest = Manifest { segments: kept, ..manifest };
    rest.stage(&**disk, dir)?.commit()?;
    for entry in gone {
        let path = segment_path(dir, entry.number);
        if disk.open(&path).is_ok() {
            repaired.left_out.push(set_aside(&**disk, &path)?);
        }
    }
    Ok(repaired)
}
