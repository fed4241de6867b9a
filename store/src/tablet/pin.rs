//! What a tablet has made durable, held as it is while another replica takes it over.

use super::{Flushed, Tablet};
use crate::{Error, Result, manifest::Manifest, segment::Segment};
use std::{ops::Range, path::PathBuf, sync::Arc};

/// What is known of a file before it is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileSum {
    /// Its length.
    pub bytes: u64,
    /// Its CRC-32C.
    pub crc: u32,
}

/// The version of a tablet that its manifest had when it was pinned. File 0 is what the manifest
/// says, the others are the segments in its order; they can be read for as long as this lives,
/// whatever is merged or dropped meanwhile.
pub struct Pin {
    dir: PathBuf,
    flushed: Flushed,
    manifest: Vec<u8>,
    segments: Vec<Arc<Segment>>,
}

impl Tablet {
    /// Holds what is flushed; `None` where nothing is. Reads no file.
    ///
    /// # Errors
    /// [`Error::Dropped`].
    pub fn pin(&self) -> Result<Option<Pin>> {
        let state = self.state.read();
        self.may_read()?;
        let Some(flushed) = state.flushed.clone() else { return Ok(None) };
        let manifest: Manifest = state.manifest(self.spec.id);
        let segments = state.segments.iter().map(|open| open.segment.clone()).collect();
        Ok(Some(Pin { dir: self.dir.clone(), flushed, manifest: manifest.encode(), segments }))
    }
}

impl Pin {
    /// Up to where it has everything, and what was stored with that.
    pub fn flushed(&self) -> &Flushed {
        &self.flushed
    }

    /// Lengths and checksums of the files. Reads those through of which that is not known yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a segment is damaged, which nobody should take over;
    /// [`Error::Io`].
    pub fn sums(&self) -> Result<Vec<FileSum>> {
        let manifest =
            FileSum { bytes: self.manifest.len() as u64, crc: crc32c::crc32c(&self.manifest) };
        let of = |segment: &Arc<Segment>| {
            Ok(FileSum { bytes: segment.bytes(), crc: segment.checksum()? })
        };
        std::iter::once(Ok(manifest)).chain(self.segments.iter().map(of)).collect()
    }

    /// A piece of a file.
    ///
    /// # Errors
    /// [`Error::NotTakenOver`] where there is no such piece; [`Error::Io`].
    pub fn read(&self, file: usize, piece: Range<u64>) -> Result<Vec<u8>> {
        let length = match file.checked_sub(1).map(|at| self.segments.get(at)) {
            None => self.manifest.len() as u64,
            Some(segment) => segment.map_or(0, |segment| segment.bytes()),
        };
        if piece.is_empty() || piece.end > length {
            let reason = format!("file {file} has no bytes {piece:?}");
            return Err(Error::NotTakenOver { path: self.dir.clone(), reason });
        }
        match file.checked_sub(1) {
            None => Ok(self.manifest[piece.start as usize..piece.end as usize].to_vec()),
            Some(at) => self.segments[at].piece(piece.start, (piece.end - piece.start) as usize),
        }
    }
}
