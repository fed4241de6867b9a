//! Making, opening and removing a tablet's folder.

use super::{OpenSegment, State, Tablet, TabletOptions};
use crate::{
    Error, Result,
    disk::Disk,
    manifest::{self, Manifest},
    memtable::Memtable,
    page_cache::PageCache,
    segment::Segment,
};
use oribi_model::TabletSpec;
use parking_lot::{Mutex, RwLock};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.seg"))
}

impl Tablet {
    /// Makes an empty tablet in `dir`, durably. One that is there already is opened.
    ///
    /// # Errors
    /// As [`Tablet::open`].
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        spec: TabletSpec,
        options: TabletOptions,
    ) -> Result<Tablet> {
        disk.create_dir_all(&dir).map_err(Error::io("make", &dir))?;
        let names = disk.list(&dir).map_err(Error::io("list", &dir))?;
        if !names.iter().any(|name| name == manifest::NAME) {
            let (segments, deletes) = (Vec::new(), Vec::new());
            let empty = Manifest { tablet: spec.id, flushed: None, segments, deletes };
            empty.write(&*disk, &dir)?;
        }
        if let Some(above) = dir.parent() {
            disk.sync_dir(above).map_err(Error::io("sync", above))?;
        }
        Tablet::open(disk, dir, spec, options)
    }

    /// Opens the tablet in `dir` as its newest flush or compaction left it, and removes files
    /// that an interrupted one left behind.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::FutureFormat`] or [`Error::WrongTablet`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        spec: TabletSpec,
        options: TabletOptions,
    ) -> Result<Tablet> {
        let manifest = Manifest::read(&*disk, &dir, spec.id)?;
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for entry in manifest.segments {
            let path = segment_path(&dir, entry.number);
            let segment =
                Arc::new(Segment::open(&*disk, &path, &spec, PageCache::segment_number())?);
            if segment.rows() != entry.rows {
                let reason = "the file has other rows than the manifest says".to_owned();
                return Err(Error::Corrupt { path, offset: 0, reason });
            }
            segments.push(OpenSegment { entry, segment });
        }
        let known: Vec<PathBuf> =
            segments.iter().map(|open| open.segment.path().to_owned()).collect();
        for name in disk.list(&dir).map_err(Error::io("list", &dir))? {
            let path = dir.join(&name);
            if name != manifest::NAME && !known.contains(&path) {
                disk.remove(&path).map_err(Error::io("remove", path))?;
            }
        }
        let next = segments.iter().map(|open| open.entry.number + 1).max().unwrap_or(1);
        let state = State {
            segments,
            sealed: Vec::new(),
            active: Arc::new(Memtable::default()),
            deletes: manifest.deletes,
            applied: manifest.flushed.as_ref().map(|flushed| flushed.index),
            marks: manifest.flushed.as_ref().map(|f| f.marks.clone()).unwrap_or_default(),
            flushed: manifest.flushed,
            seal: None,
        };
        Ok(Tablet {
            disk,
            dir,
            spec,
            options,
            state: RwLock::new(state),
            flushing: Mutex::new(()),
            compacting: Mutex::new(()),
            manifest: Mutex::new(next),
            poisoned: Mutex::new(None),
        })
    }

    /// Removes a dropped tablet's folder, durably; one that is gone already is fine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn drop_files(disk: &dyn Disk, dir: &Path) -> Result<()> {
        match disk.remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", dir)(error));
            }
            _ => {}
        }
        match dir.parent() {
            Some(above) => disk.sync_dir(above).map_err(Error::io("sync", above)),
            None => Ok(()),
        }
    }
}
