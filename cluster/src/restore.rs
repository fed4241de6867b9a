//! The data directory of a cluster's first node, made of a backup.
//!
//! Every group begins again behind what the backup has of it, with this node's first replica as its only
//! member; other nodes join as they would join any cluster. Of the catalog everything comes back but who
//! the nodes were.

use crate::{
    Error, RestoredConnectors, Result,
    node::{RestoredCatalog, Vacant},
    replica,
};
use oribi_model::TabletId;
use oribi_store::{
    FileSum, Recalled,
    disk::{Disk, create_dir_durably},
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes written at once.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes of a manifest, at most: it is held in memory.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// A directory that is being filled.
pub struct Restore {
    disk: Arc<dyn Disk>,
    vacant: Vacant,
}

impl Restore {
    /// Takes a directory that is empty or not there, or in which a restore of the same backup broke
    /// off. No node starts on it before the restore is finished. Blocks, as all of this does.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::DataDir`] where it holds anything else.
    pub fn begin(disk: Arc<dyn Disk>, dir: PathBuf, backup: &str) -> Result<Restore> {
        let vacant = Vacant::take(disk.clone(), dir, backup)?;
        Ok(Restore { disk, vacant })
    }

    /// Brings the files of a tablet back: those that a node held for the backup, in that order. Gives
    /// the rows of its segments.
    ///
    /// # Errors
    /// A file that is not what `sums` say, or that cannot be read; what the disk answers.
    pub fn tablet(
        &self,
        tablet: TabletId,
        sums: &[FileSum],
        mut open: impl FnMut(usize) -> io::Result<Box<dyn Read>>,
    ) -> Result<u64> {
        let dir = self.vacant.tablet(tablet);
        create_dir_durably(&*self.disk, &dir)?;
        let refuse = |reason: String| Error::Refused(format!("tablet {tablet}: {reason}"));
        let [manifest, segments @ ..] = sums else { return Err(refuse("it has no files".into())) };
        let mut file = Vec::new();
        let from = open(0).map_err(|error| refuse(format!("file 0 cannot be read: {error}")))?;
        let read = read_whole(from, *manifest, |bytes, _| {
            file.extend_from_slice(bytes);
            Ok(())
        });
        let too_long = (manifest.bytes > MANIFEST_BYTES_MAX).then(|| "it is too long".to_owned());
        too_long.map_or(read, Err).map_err(|reason| refuse(format!("file 0: {reason}")))?;
        let recalled = Recalled::read(&file, tablet)
            .map_err(|reason| refuse(format!("file 0 is no manifest: {reason}")))?;
        let names = recalled.names();
        if names.len() != segments.len() {
            let (named, found) = (names.len(), segments.len());
            return Err(refuse(format!("its manifest names {named} segments of {found}")));
        }
        for (at, (name, sum)) in names.iter().zip(segments).enumerate() {
            let cannot = |reason: String| refuse(format!("file {} ({name}): {reason}", at + 1));
            let from = open(at + 1).map_err(|error| cannot(error.to_string()))?;
            self.write(&dir.join(name), from, *sum).map_err(cannot)?;
        }
        let Some(flushed) = recalled.flushed() else {
            return Err(refuse("its manifest says of no entry that it is in the files".into()));
        };
        let state = replica::alone(&flushed.raft_state).map_err(refuse)?;
        let rows = recalled.rows();
        recalled.settle(&*self.disk, &dir, state)?;
        Ok(rows)
    }

    /// Brings the catalog back and makes the directory that of the first node of a cluster of its own:
    /// one that a node may start on. Tablets that the catalog does not have any more are left out, those
    /// that were not brought back are empty.
    ///
    /// # Errors
    /// A catalog that cannot be read; what the disk answers.
    pub fn finish(self, catalog: &[u8], connectors: RestoredConnectors) -> Result<RestoredCatalog> {
        self.vacant.settle(catalog, connectors)
    }

    fn write(&self, path: &Path, from: Box<dyn Read>, sum: FileSum) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(text(error)),
            _ => {}
        }
        let file = self.disk.create(path).map_err(text)?;
        read_whole(from, sum, |bytes, offset| file.write_at(bytes, offset).map_err(text))?;
        file.sync().map_err(text)
    }
}

/// Reads to the end, piece by piece, each with its offset; what comes must be what was announced.
fn read_whole(
    mut from: Box<dyn Read>,
    sum: FileSum,
    mut take: impl FnMut(&[u8], u64) -> Result<(), String>,
) -> Result<(), String> {
    let (mut piece, mut bytes, mut crc) = (vec![0; PIECE_BYTES], 0_u64, 0);
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("cannot read it: {error}")),
        };
        if bytes + count as u64 > sum.bytes {
            return Err(format!("it is longer than {} bytes", sum.bytes));
        }
        take(&piece[..count], bytes)?;
        crc = crc32c::crc32c_append(crc, &piece[..count]);
        bytes += count as u64;
    }
    match (bytes, crc) == (sum.bytes, sum.crc) {
        true => Ok(()),
        false => Err(format!(
            "it is damaged: {bytes} bytes with the checksum {crc:08x}, expected {} with {:08x}",
            sum.bytes, sum.crc
        )),
    }
}
