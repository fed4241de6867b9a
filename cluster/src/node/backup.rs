//! What of this node a backup reads: files as of when they were asked for, held until the backup
//! is done or asks no more.

use super::{CATALOG_GROUP, Node, hosting::Hosted, maintain};
use crate::{Error, Result, machine::Machine, tasks};
use bytes::Bytes;
use oribi_model::{LogIndex, TabletId};
use oribi_store::{FileSum, Pin};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Backups that may read at once.
const BACKUPS_MAX: usize = 4;
/// For how long files are held for a backup that asks for nothing.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// Bytes of a piece, at most.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// The files of a tablet that are held for a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFiles {
    /// The last entry that is in them.
    pub index: LogIndex,
    /// Their lengths and checksums: what [`oribi_store::Recalled`] reads first, then the segments.
    pub sums: Vec<FileSum>,
}

/// What is held for backups, each by the name that it gave itself.
#[derive(Default)]
pub(super) struct Backups {
    all: Mutex<HashMap<String, Backup>>,
}

struct Backup {
    /// When it asked for something last.
    used: Instant,
    held: BTreeMap<TabletId, Arc<Held>>,
}

struct Held {
    pin: Pin,
    sums: Vec<FileSum>,
}

impl Backups {
    /// Does something with what is held for a backup, which begins with its first request.
    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Backup) -> T) -> Result<T> {
        let (mut all, now) = (self.all.lock(), tasks::now());
        all.retain(|_, backup| backup.used + IDLE_MAX > now);
        if !all.contains_key(name) && all.len() >= BACKUPS_MAX {
            let reason = format!("{BACKUPS_MAX} backups read from this node already");
            return Err(Error::Unavailable { group: CATALOG_GROUP.0, reason });
        }
        let new = || Backup { used: now, held: BTreeMap::new() };
        let backup = all.entry(name.to_owned()).or_insert_with(new);
        backup.used = now;
        Ok(work(backup))
    }

    /// Lets go of what nobody has asked for lately.
    pub(super) fn expire(&self) {
        let now = tasks::now();
        self.all.lock().retain(|_, backup| backup.used + IDLE_MAX > now);
    }
}

impl Node {
    /// Makes all rows of a tablet durable in files that were acked before this call, and holds these
    /// for a backup; again, where it holds some already. `None` where the tablet has never had a row.
    ///
    /// # Errors
    /// [`Error::NoTablet`]; [`Error::Unavailable`] where too many backups read, the tablet has no
    /// replica here, or its leader does not answer; what is damaged; what the disk answers.
    pub async fn hold_for_backup(
        self: &Arc<Node>,
        backup: &str,
        tablet: TabletId,
    ) -> Result<Option<HeldFiles>> {
        self.backups.with(backup, |_| ())?;
        self.current(&[tablet]).await?;
        let node = self.clone();
        let open = move || node.hosting.serving(tablet, &node.catalog);
        let hosted = maintain::blocking(open).await?;
        maintain::flush(self, hosted.clone()).await?;
        let pinned = maintain::blocking(move || hold(&hosted)).await?;
        let Some(held) = pinned else { return Ok(None) };
        let files = HeldFiles { index: held.pin.flushed().index, sums: held.sums.clone() };
        self.backups.with(backup, |backup| backup.held.insert(tablet, Arc::new(held)))?;
        Ok(Some(files))
    }

    /// How many bytes a file has that is held for a backup.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is not held.
    pub fn held_for_backup(&self, backup: &str, tablet: TabletId, file: usize) -> Result<u64> {
        let held = self.held(backup, tablet)?;
        let none = || Error::Refused(format!("tablet {tablet} has no file {file}"));
        held.sums.get(file).map(|sum| sum.bytes).ok_or_else(none)
    }

    /// Reads a piece of a file that is held for a backup. Blocks.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is held no more, or has no such piece; what the disk answers.
    pub fn read_for_backup(
        &self,
        backup: &str,
        tablet: TabletId,
        file: usize,
        piece: Range<u64>,
    ) -> Result<Bytes> {
        let held = self.held(backup, tablet)?;
        let end = piece.end.min(piece.start.saturating_add(PIECE_BYTES_MAX));
        Ok(held.pin.read(file, piece.start..end)?.into())
    }

    /// The catalog with every change that was acked before this call, as its file has it.
    ///
    /// # Errors
    /// Its leader does not answer in time, or what the disk answers.
    pub async fn catalog_for_backup(&self) -> Result<Vec<u8>> {
        self.catalog_now().await?;
        self.flush_catalog().await?;
        let machine = self.catalog.clone();
        maintain::blocking(move || {
            let none = || Error::Refused("the catalog was never written".into());
            let pin = Machine::pin(&*machine)?.ok_or_else(none)?;
            let bytes = pin.sums()?.first().map_or(0, |sum| sum.bytes);
            pin.read(0, 0..bytes)
        })
        .await
    }

    fn held(&self, backup: &str, tablet: TabletId) -> Result<Arc<Held>> {
        let held = self.backups.with(backup, |backup| backup.held.get(&tablet).cloned())?;
        held.ok_or_else(|| Error::Refused(format!("no files of tablet {tablet} are held for it")))
    }

    /// Lets go of what is held for a backup.
    pub fn end_backup(&self, backup: &str) {
        self.backups.all.lock().remove(backup);
    }
}

fn hold(hosted: &Hosted) -> Result<Option<Held>> {
    let Some(pin) = hosted.tablet.pin()? else { return Ok(None) };
    let sums = pin.sums()?;
    Ok(Some(Held { pin, sums }))
}
