//! Small files that are replaced as a whole: a crash leaves the old one or the new one.
//!
//! Layout: magic (8 bytes), format version (u32), length of the body (u32), CRC-32C of the body
//! (u32), body. Integers are little-endian. The new file is written beside the old one under a
//! `.tmp` name, synced, renamed, and the folder synced.

use crate::{
    Error, Result, checksum,
    disk::{Disk, DiskDir, DiskFile},
};
use std::{io, path::Path};

const HEAD_BYTES: usize = 20;
/// Ending of the name under which a new file is written.
const TEMPORARY: &str = ".tmp";

/// What kind of file it is.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The first eight bytes.
    pub magic: [u8; 8],
    /// The newest version of the body that is known here.
    pub version: u32,
}

/// Puts `body` in the place of what `dir/name` holds, durably.
///
/// # Errors
/// [`Error::Io`]; then the old file or the new one is there.
pub fn replace(disk: &dyn Disk, dir: &Path, name: &str, kind: Kind, body: &[u8]) -> Result<()> {
    Staged::write(disk, dir, name, kind, body)?.commit()
}

/// A new file that lies beside the old one and does not count yet.
pub struct Staged<'a> {
    disk: &'a dyn Disk,
    file: Box<dyn DiskFile>,
    folder: Box<dyn DiskDir>,
    dir: &'a Path,
    name: &'a str,
}

impl<'a> Staged<'a> {
    /// Writes `body` beside `dir/name`.
    ///
    /// # Errors
    /// [`Error::Io`]; then the old file is there as it was, and the call may be made again.
    pub fn write(
        disk: &'a dyn Disk,
        dir: &'a Path,
        name: &'a str,
        kind: Kind,
        body: &[u8],
    ) -> Result<Staged<'a>> {
        let mut bytes = kind.magic.to_vec();
        bytes.extend_from_slice(&kind.version.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        bytes.extend_from_slice(body);
        let folder = disk.open_dir(dir).map_err(Error::io("open", dir))?;
        let temporary = dir.join(format!("{name}{TEMPORARY}"));
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", temporary)(error));
            }
            _ => {}
        }
        let file = disk.create(&temporary).map_err(Error::io("create", &temporary))?;
        if let Err(error) = file.write_at(&bytes, 0) {
            let _ = disk.remove(&temporary);
            return Err(Error::io("write", temporary)(error));
        }
        Ok(Staged { disk, file, folder, dir, name })
    }

    /// Makes it durable and puts it in the place of the old file.
    ///
    /// # Errors
    /// [`Error::Io`]; then nobody knows which of the two a restart would find.
    pub fn commit(self) -> Result<()> {
        let Staged { disk, file, folder, dir, name } = self;
        let (temporary, path) = (dir.join(format!("{name}{TEMPORARY}")), dir.join(name));
        file.sync().map_err(Error::io("sync", &temporary))?;
        disk.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        folder.sync().map_err(Error::io("sync", dir))
    }
}

/// The body of `dir/name`; `None` where there is no such file.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`], or [`Error::FutureFormat`].
pub fn read(disk: &dyn Disk, dir: &Path, name: &str, kind: Kind) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("open", &path))?,
    };
    let length = file.len().map_err(Error::io("measure", &path))?;
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
    let corrupt = |offset, reason: &str| {
        let (path, reason) = (path.clone(), reason.to_owned());
        Err(Error::Corrupt { path, offset, reason })
    };
    if bytes.len() < HEAD_BYTES || bytes[..8] != kind.magic {
        return corrupt(0, "the file does not begin as one of its kind");
    }
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let body = &bytes[HEAD_BYTES..];
    if word(8) > kind.version {
        return Err(Error::FutureFormat { path, found: word(8), known: kind.version });
    }
    if word(8) != kind.version
        || word(12) as usize != body.len()
        || !checksum::agree(word(16), crc32c::crc32c(body))
    {
        return corrupt(8, "the length or checksum differs");
    }
    Ok(Some(body.to_vec()))
}
