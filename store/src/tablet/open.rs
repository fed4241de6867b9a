//! Making, opening and closing a tablet.

use super::{OpenSegment, State, Stopped, Tablet, TabletOptions};
use crate::{
    Error, Result,
    aside::is_aside,
    disk::Disk,
    manifest::{self, Manifest},
    memtable::Memtable,
    page_cache::PageCache,
    segment::Segment,
};
use oribi_model::TabletSpec;
use parking_lot::{Mutex, RwLock};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(segment_name(number))
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:08}.seg")
}

pub(super) fn open_segment(
    disk: &Arc<dyn Disk>,
    path: &Path,
    spec: &TabletSpec,
    options: &TabletOptions,
    kept_as: u64,
) -> Result<Segment> {
    Segment::open(disk.clone(), options.files.clone(), path, spec, kept_as)
}

impl Tablet {
    /// Ends the name under which a first flush makes the folder.
    pub const NEW_SUFFIX: &str = ".new";

    /// Whether there is a folder at `dir`. One that is there has a manifest, unless it was lost.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool> {
        Ok(names_in(disk, dir)?.is_some())
    }

    /// Whether the folder at `dir` has a manifest, whatever that holds.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_manifest(disk: &dyn Disk, dir: &Path) -> Result<bool> {
        let names = names_in(disk, dir)?.unwrap_or_default();
        Ok(names.iter().any(|name| name == manifest::NAME))
    }

    /// An empty tablet, new to this node. Nothing is written: its folder `dir` is made by the
    /// first flush.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] where the folder holds something; [`Error::Io`].
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        spec: TabletSpec,
        options: TabletOptions,
    ) -> Result<Tablet> {
        if names_in(&*disk, &dir)?.is_some_and(|names| !names.is_empty()) {
            return Err(Error::NotEmpty { path: dir });
        }
        let (segments, deletes) = (Vec::new(), Vec::new());
        let manifest = Manifest { tablet: spec.id, flushed: None, segments, deletes };
        Ok(Tablet::new((disk, dir), spec, options, manifest, Vec::new(), 1))
    }

    /// Opens the tablet in `dir` as its newest flush or compaction left it, and moves files that
    /// an interrupted one left behind to the trash. An error changes nothing on disk.
    ///
    /// # Errors
    /// [`Error::Missing`] for the manifest or a segment that it names; [`Error::Io`],
    /// [`Error::Corrupt`], [`Error::FutureFormat`] or [`Error::WrongTablet`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        spec: TabletSpec,
        options: TabletOptions,
    ) -> Result<Tablet> {
        let mut manifest = Manifest::read(&*disk, &dir, spec.id)?;
        let names = disk.list(&dir).map_err(Error::io("list", &dir))?;
        let mut segments = Vec::with_capacity(manifest.segments.len());
        for entry in std::mem::take(&mut manifest.segments) {
            let path = segment_path(&dir, entry.number);
            if !names
                .iter()
                .any(|name| path.file_name().is_some_and(|known| known == name.as_str()))
            {
                return Err(Error::Missing { path });
            }
            let kept_as = PageCache::segment_number();
            let segment = open_segment(&disk, &path, &spec, &options, kept_as)?;
            if segment.rows() != entry.rows {
                let reason = "the file has other rows than the manifest says".to_owned();
                return Err(Error::Corrupt { path, offset: 0, reason });
            }
            segments.push(OpenSegment { entry, segment: Arc::new(segment) });
        }
        let numbers = names.iter().filter_map(|name| name.split('.').next()?.parse::<u64>().ok());
        let next = numbers.max().map_or(1, |most| most + 1);
        let tablet = Tablet::new((disk, dir), spec, options, manifest, segments, next);
        tablet.put_away_leftovers(&names);
        Ok(tablet)
    }

    /// Ends the tablet's work, since it was dropped: waits for a flush or compaction under way,
    /// which stops early. Whoever begins one later, or a scan, gets [`Error::Dropped`]; scans
    /// under way go on even if the folder is moved away now.
    pub fn close(&self) {
        *self.stopped.lock() = Some(Stopped::Dropped);
        let _flushing = self.flushing.lock();
        let _compacting = self.compacting.lock();
        // A scan takes its segments under this lock.
        let state = self.state.write();
        for open in state.segments.iter().filter(|open| Arc::strong_count(&open.segment) > 1) {
            if let Err(error) = open.segment.pin() {
                tracing::warn!(%error, "a scan of a dropped tablet may fail");
            }
        }
    }

    fn new(
        (disk, dir): (Arc<dyn Disk>, PathBuf),
        spec: TabletSpec,
        options: TabletOptions,
        manifest: Manifest,
        segments: Vec<OpenSegment>,
        next_number: u64,
    ) -> Tablet {
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
        Tablet {
            disk,
            dir,
            spec,
            options,
            state: RwLock::new(state),
            flushing: Mutex::new(()),
            compacting: Mutex::new(()),
            manifest: Mutex::new(next_number),
            stopped: Mutex::new(None),
        }
    }

    /// Makes the folder before the first flush, with a manifest in it from the start.
    pub(super) fn make_folder(&self) -> Result<()> {
        if self.state.read().flushed.is_some() {
            return Ok(());
        }
        match names_in(&*self.disk, &self.dir)? {
            None => {}
            Some(names) if names.iter().any(|name| name == manifest::NAME) => return Ok(()),
            Some(names) if names.is_empty() => {
                self.options.trash.take(&self.dir, &self.trash_label())?;
            }
            Some(_) => return Err(Error::NotEmpty { path: self.dir.clone() }),
        }
        let Some(above) = self.dir.parent() else { return Ok(()) };
        let mut beside = self.dir.clone().into_os_string();
        beside.push(Tablet::NEW_SUFFIX);
        let beside = PathBuf::from(beside);
        self.options.trash.take(&beside, &self.trash_label())?;
        self.disk.create_dir_all(&beside).map_err(Error::io("make", &beside))?;
        let (segments, deletes) = (Vec::new(), Vec::new());
        let empty = Manifest { tablet: self.spec.id, flushed: None, segments, deletes };
        empty.stage(&*self.disk, &beside)?.commit()?;
        let folder = self.disk.open_dir(above).map_err(Error::io("open", above))?;
        self.disk.rename(&beside, &self.dir).map_err(Error::io("rename", &beside))?;
        self.or_poison(folder.sync().map_err(Error::io("sync", above)))
    }

    fn put_away_leftovers(&self, names: &[String]) {
        let state = self.state.read();
        for name in names {
            let path = self.dir.join(name);
            let known = name == manifest::NAME
                || is_aside(name)
                || state.segments.iter().any(|open| open.segment.path() == path);
            if known {
                continue;
            }
            let taken = self.options.trash.take(&path, &self.trash_label());
            match taken {
                Ok(()) => tracing::info!(path = %path.display(), "moved a leftover to the trash"),
                Err(error) => tracing::warn!(%error, "a leftover stays in its folder"),
            }
        }
    }

    pub(super) fn trash_label(&self) -> String {
        format!("tablet-{}", self.spec.id.0)
    }
}

/// `None` where there is no folder.
fn names_in(disk: &dyn Disk, dir: &Path) -> Result<Option<Vec<String>>> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        names => names.map(Some).map_err(Error::io("list", dir)),
    }
}
