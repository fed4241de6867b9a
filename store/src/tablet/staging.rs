//! Files of another replica, put together beside the tablet's own until they are whole.

use super::{FileSum, Tablet};
use crate::{
    Error, Result, checksum,
    disk::{Disk, DiskFile},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a manifest may take. It is held in memory.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Files that are taken over at once.
const FILES_MAX: usize = 1 << 16;

/// What is there of the files of another replica's [`Pin`](super::Pin). They lie in a folder of
/// their own, which goes with this unless they are installed; what a crash leaves of it counts for
/// nothing.
pub struct Staging {
    disk: Arc<dyn Disk>,
    /// Made once there is a file.
    folder: Option<Folder>,
    dir: PathBuf,
    manifest: Part,
    segments: Vec<Part>,
    /// Makes the next file's name unique.
    next_name: u64,
}

/// A folder that goes with this.
struct Folder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// A file, as far as it is there.
struct Part {
    sum: FileSum,
    have_bytes: u64,
    crc: u32,
    place: Place,
}

enum Place {
    Memory(Vec<u8>),
    /// Not begun.
    Nowhere,
    /// Begun, and open as long as it is not whole.
    File(PathBuf, Option<Box<dyn DiskFile>>),
}

/// What is missing of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Which file.
    pub file: usize,
    /// Which bytes; the first of them must be written first.
    pub bytes: Range<u64>,
}

impl Tablet {
    /// Ends the name of the folder in which files of another replica are put together.
    pub const COPY_SUFFIX: &str = ".copy";

    /// Begins to take over the files of another replica's pin, of which `sums` are the lengths and
    /// checksums. What `before` has of the same files is kept.
    ///
    /// # Errors
    /// [`Error::NoRoom`] before anything is written, [`Error::NotTakenOver`] where there is too
    /// much of it, [`Error::Dropped`], [`Error::Poisoned`] or [`Error::Io`].
    pub fn stage(&self, sums: &[FileSum], before: Option<Staging>) -> Result<Staging> {
        self.may_write()?;
        let refuse = |reason: String| Error::NotTakenOver { path: self.dir.clone(), reason };
        let [manifest, segments @ ..] = sums else {
            return Err(refuse("there is no manifest among the files".into()));
        };
        let is_empty = sums.iter().any(|sum| sum.bytes == 0);
        if manifest.bytes > MANIFEST_BYTES_MAX || sums.len() > FILES_MAX || is_empty {
            let (bytes, files) = (manifest.bytes, sums.len());
            return Err(refuse(format!("{files} files, with a manifest of {bytes} bytes")));
        }
        let mut staging = match before {
            Some(before) => before,
            None => self.fresh_staging(*manifest)?,
        };
        staging.reuse(*manifest, segments)?;
        let missing = staging.parts().map(|part| part.sum.bytes - part.have_bytes);
        let missing = missing.fold(0_u64, u64::saturating_add);
        self.check_room(missing)?;
        Ok(staging)
    }

    fn fresh_staging(&self, manifest: FileSum) -> Result<Staging> {
        let mut dir = self.dir.clone().into_os_string();
        dir.push(Tablet::COPY_SUFFIX);
        let dir = PathBuf::from(dir);
        self.options.trash.take(&dir, &self.trash_label())?;
        let manifest = Part::new(manifest, Place::Memory(Vec::new()));
        let (disk, segments) = (self.disk.clone(), Vec::new());
        Ok(Staging { disk, folder: None, dir, manifest, segments, next_name: 1 })
    }
}

impl Staging {
    /// What is to be written next; `None` once all is there.
    pub fn gap(&self) -> Option<Gap> {
        let missing = |(file, part): (usize, &Part)| {
            (!part.is_whole()).then_some(Gap { file, bytes: part.have_bytes..part.sum.bytes })
        };
        self.parts().enumerate().find_map(missing)
    }

    /// Bytes that are there, and in all.
    pub fn progress(&self) -> (u64, u64) {
        let add = |(have, all): (u64, u64), part: &Part| {
            (have.saturating_add(part.have_bytes), all.saturating_add(part.sum.bytes))
        };
        self.parts().fold((0, 0), add)
    }

    /// Writes the next bytes of a file; with its last ones it is made durable.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the whole file is not what was announced: it begins anew;
    /// [`Error::NotTakenOver`] where these are not its next bytes; [`Error::Io`].
    pub fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(file.to_string());
        let folder = self.dir.clone();
        let part = match file.checked_sub(1) {
            None => Some(&mut self.manifest),
            Some(at) => {
                self.make_place(at)?;
                self.segments.get_mut(at)
            }
        };
        let fits = |part: &Part| {
            let room = part.sum.bytes - part.have_bytes;
            part.have_bytes == offset && bytes.len() as u64 <= room
        };
        let Some(part) = part.filter(|part| fits(part)) else {
            let (path, reason) = (folder, format!("file {file} is not to be written at {offset}"));
            return Err(Error::NotTakenOver { path, reason });
        };
        part.push(bytes, &path)
    }

    fn make_place(&mut self, at: usize) -> Result<()> {
        let Some(part) = self.segments.get_mut(at) else { return Ok(()) };
        if !matches!(part.place, Place::Nowhere) {
            return Ok(());
        }
        if self.folder.is_none() {
            let (disk, dir) = (self.disk.clone(), self.dir.clone());
            disk.create_dir_all(&dir).map_err(Error::io("make", &dir))?;
            self.folder = Some(Folder { disk, dir });
        }
        let path = self.dir.join(format!("{:08}.part", self.next_name));
        let file = self.disk.create(&path).map_err(Error::io("create", &path))?;
        self.next_name += 1;
        part.place = Place::File(path, Some(file));
        Ok(())
    }

    /// Keeps what is there of the files wanted now, and lets go of the others.
    fn reuse(&mut self, manifest: FileSum, segments: &[FileSum]) -> Result<()> {
        if self.manifest.sum != manifest {
            self.manifest = Part::new(manifest, Place::Memory(Vec::new()));
        }
        let mut known = std::mem::take(&mut self.segments);
        for sum in segments {
            let same = known.iter().position(|part| part.sum == *sum);
            let part = same.map(|at| known.swap_remove(at));
            self.segments.push(part.unwrap_or_else(|| Part::new(*sum, Place::Nowhere)));
        }
        for part in known {
            if let Place::File(path, _) = part.place {
                self.disk.remove(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.manifest).chain(&self.segments)
    }

    /// What the manifest says, and the paths of the segments in its order; `None` where something
    /// is missing.
    pub(super) fn whole(&self) -> Option<(&[u8], Vec<&Path>)> {
        let Place::Memory(manifest) = &self.manifest.place else { return None };
        let paths = self.segments.iter().map(|part| match &part.place {
            Place::File(path, None) if part.is_whole() => Some(path.as_path()),
            _ => None,
        });
        let paths = paths.collect::<Option<_>>()?;
        self.manifest.is_whole().then_some((manifest.as_slice(), paths))
    }
}

impl Part {
    fn new(sum: FileSum, place: Place) -> Part {
        Part { sum, have_bytes: 0, crc: 0, place }
    }

    fn is_whole(&self) -> bool {
        let is_open = matches!(self.place, Place::Nowhere | Place::File(_, Some(_)));
        self.have_bytes == self.sum.bytes && !is_open
    }

    fn push(&mut self, bytes: &[u8], name: &Path) -> Result<()> {
        match &mut self.place {
            Place::Memory(held) => held.extend_from_slice(bytes),
            Place::File(path, Some(file)) => {
                let written = file.write_at(bytes, self.have_bytes);
                written.map_err(Error::io("write", &*path))?;
            }
            Place::File(_, None) | Place::Nowhere => {}
        }
        self.have_bytes += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        if self.have_bytes < self.sum.bytes {
            return Ok(());
        }
        if !checksum::agree(self.sum.crc, self.crc) {
            (self.have_bytes, self.crc) = (0, 0);
            if let Place::Memory(held) = &mut self.place {
                held.clear();
            }
            let reason = "the whole file has another checksum than was announced".to_owned();
            return Err(Error::Corrupt { path: name.to_owned(), offset: 0, reason });
        }
        if let Place::File(path, file) = &mut self.place
            && let Some(open) = file
        {
            open.sync().map_err(Error::io("sync", &*path))?;
            *file = None;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove_dir_all(&self.dir) {
            let path = self.dir.display();
            tracing::warn!(%path, %error, "what was copied of another replica stays in its folder");
        }
    }
}
