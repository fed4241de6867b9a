//! Another replica's files in the place of the tablet's own, by one replacement of the manifest.

use super::{
    Flushed, OpenSegment, Staging, Tablet,
    new_file::NewFile,
    open::{open_segment, segment_path},
};
use crate::{Error, Result, manifest::Manifest, memtable::Memtable, page_cache::PageCache};
use std::{path::Path, sync::Arc};

impl Tablet {
    /// Puts what was staged in the place of all that the tablet has: its segments, deletes and
    /// marks, and the index up to which it is flushed. Its memtables go; nothing may be applied
    /// meanwhile. Gives what is flushed now. Scans under way are not concerned.
    ///
    /// # Errors
    /// [`Error::NotTakenOver`] where something is missing, or is not newer than what the tablet has
    /// applied; [`Error::Corrupt`] where a file is no segment of this tablet; [`Error::Io`]; after
    /// all of these the tablet is what it was. [`Error::Poisoned`] and [`Error::Dropped`] for good.
    pub fn install(&self, staging: Staging) -> Result<Flushed> {
        let _flushing = self.flushing.lock();
        let _compacting = self.compacting.lock();
        self.may_write()?;
        let (manifest, paths) = self.judge(&staging)?;
        let Some(flushed) = manifest.flushed.clone() else {
            return Err(self.not_taken_over("it was never flushed"));
        };
        for (entry, path) in manifest.segments.iter().zip(&paths) {
            let kept_as = PageCache::segment_number();
            let segment = open_segment(&self.disk, path, &self.spec, &self.options, kept_as)?;
            if segment.rows() != entry.rows {
                return Err(self.not_taken_over("a file has other rows than the manifest says"));
            }
        }
        self.make_folder()?;
        let (mut names, mut segments) = (Vec::new(), Vec::new());
        for (mut entry, path) in manifest.segments.into_iter().zip(paths) {
            entry.number = self.next_number();
            let place = segment_path(&self.dir, entry.number);
            names.push(NewFile::rename(&*self.disk, path, place.clone())?);
            let kept_as = PageCache::segment_number();
            let segment = open_segment(&self.disk, &place, &self.spec, &self.options, kept_as)?;
            segments.push(OpenSegment { entry, segment: Arc::new(segment) });
        }
        let before = self.state.read().segments.clone();
        let now = flushed.clone();
        self.replace(names, move |state| {
            state.segments = segments.clone();
            state.sealed.clear();
            state.active = Arc::new(Memtable::default());
            state.deletes = manifest.deletes.clone();
            state.applied = Some(flushed.index);
            state.marks = flushed.marks.clone();
            state.flushed = Some(flushed.clone());
            state.seal = None;
        })?;
        before.into_iter().for_each(|open| self.retire(open.segment));
        Ok(now)
    }

    /// Whether all is there, and is of this tablet and newer than what it has.
    fn judge<'a>(&self, staging: &'a Staging) -> Result<(Manifest, Vec<&'a Path>)> {
        let (body, paths) =
            staging.whole().ok_or_else(|| self.not_taken_over("not all of it is there"))?;
        let manifest = Manifest::decode(body).map_err(|reason| self.not_taken_over(&reason))?;
        if manifest.tablet != self.spec.id {
            let (path, found) = (self.dir.clone(), manifest.tablet);
            return Err(Error::WrongTablet { path, found, expected: self.spec.id });
        }
        let flushed = manifest.flushed.as_ref().map(|flushed| flushed.index);
        if flushed <= self.applied() {
            return Err(self.not_taken_over("what is here is as new"));
        }
        if manifest.segments.len() != paths.len() {
            return Err(self.not_taken_over("the manifest names other files"));
        }
        Ok((manifest, paths))
    }

    fn not_taken_over(&self, reason: &str) -> Error {
        Error::NotTakenOver { path: self.dir.clone(), reason: reason.to_owned() }
    }
}
