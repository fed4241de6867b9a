//! What a backup consists of. Its record is written last: before that there is no backup.
//!
//! A vault has `backup-TIME-CRC.json` for each backup, whose name says the CRC-32C of what it holds,
//! and the files that records name: `tablets/ID/CRC-BYTES` and `catalog/CRC-BYTES`. A file that an earlier
//! backup has brought is not brought again.

use super::vault::Vault;
use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use oribi_store::FileSum;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// The newest form of a record that is known here.
const VERSION: u32 = 1;
const NAME_STARTS: &str = "backup-";
const NAME_ENDS: &str = ".json";
/// Bytes of a record, at most: it is held in memory.
const RECORD_BYTES_MAX: u64 = 1 << 30;

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::commands) struct Record {
    pub(super) version: u32,
    /// The cluster it is of.
    pub(in crate::commands) cluster: String,
    /// When it was finished.
    pub(in crate::commands) taken: Timestamp,
    /// The version that has made it.
    pub(super) oribi: String,
    pub(in crate::commands) catalog: Sum,
    /// By id; those without any row are left out.
    pub(in crate::commands) tablets: Vec<TabletRecord>,
}

/// A tablet in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::commands) struct TabletRecord {
    pub(in crate::commands) id: u64,
    pub(super) db: String,
    pub(super) table: String,
    /// The node that it was read from. Segments differ from one replica to the next, so that it is asked
    /// again.
    pub(super) node: u32,
    /// The last entry of its log that is in the files.
    pub(super) index: u64,
    /// Its manifest, then its segments.
    pub(in crate::commands) files: Vec<Sum>,
}

/// A file's length and checksum, by which it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::commands) struct Sum {
    pub(in crate::commands) bytes: u64,
    /// CRC-32C.
    pub(in crate::commands) crc: u32,
}

impl Sum {
    pub(super) fn of(bytes: &[u8]) -> Sum {
        Sum { bytes: bytes.len() as u64, crc: crc32c::crc32c(bytes) }
    }
}

impl From<Sum> for FileSum {
    fn from(sum: Sum) -> FileSum {
        FileSum { bytes: sum.bytes, crc: sum.crc }
    }
}

/// What a file of a tablet is called in the vault.
pub(in crate::commands) fn tablet_file(tablet: u64, sum: Sum) -> String {
    format!("tablets/{tablet}/{:08x}-{}", sum.crc, sum.bytes)
}

/// What a catalog is called in the vault.
pub(in crate::commands) fn catalog_file(sum: Sum) -> String {
    format!("catalog/{:08x}-{}", sum.crc, sum.bytes)
}

impl Record {
    pub(super) fn new(cluster: String, catalog: Sum, tablets: Vec<TabletRecord>) -> Record {
        let taken = Timestamp::now();
        let oribi = env!("CARGO_PKG_VERSION").to_owned();
        Record { version: VERSION, cluster, taken, oribi, catalog, tablets }
    }

    /// The names of all files that it needs.
    pub(super) fn files(&self) -> impl Iterator<Item = String> {
        let of_tablet = |tablet: &TabletRecord| {
            let id = tablet.id;
            tablet.files.clone().into_iter().map(move |sum| tablet_file(id, sum))
        };
        self.tablets.iter().flat_map(of_tablet).chain([catalog_file(self.catalog)])
    }

    /// Bytes of all files that it needs.
    pub(in crate::commands) fn bytes(&self) -> u64 {
        let files = self.tablets.iter().flat_map(|tablet| &tablet.files);
        files.map(|file| file.bytes).sum::<u64>() + self.catalog.bytes
    }

    /// Puts it into a vault that has all of its files. Gives its name.
    ///
    /// # Errors
    /// What the vault answers.
    pub(super) fn put(&self, vault: &dyn Vault) -> Result<String> {
        let body = serde_json::to_vec_pretty(self).context("cannot write the record")?;
        let time = self.taken.strftime("%Y%m%dT%H%M%S%.3fZ");
        let name = format!("{NAME_STARTS}{time}-{:08x}{NAME_ENDS}", crc32c::crc32c(&body));
        vault.put(&name, &mut &body[..])?;
        Ok(name)
    }

    /// Reads one.
    ///
    /// # Errors
    /// One that is not there, is damaged or of a later version.
    pub(in crate::commands) fn read(vault: &dyn Vault, name: &str) -> Result<Record> {
        let mut body = Vec::new();
        let mut file = vault.get(name)?.take(RECORD_BYTES_MAX);
        file.read_to_end(&mut body).with_context(|| format!("cannot read {name}"))?;
        let named = crc_of(name).ok_or_else(|| anyhow!("{name} is not the name of a backup"))?;
        let found = crc32c::crc32c(&body);
        if named != found {
            bail!("{name} is damaged: its checksum is {found:08x}");
        }
        let version: Version = serde_json::from_slice(&body)
            .with_context(|| format!("{name} is no record of a backup"))?;
        if version.version > VERSION {
            let version = version.version;
            bail!("{name} is of version {version}; known is {VERSION}: a newer oribi reads it");
        }
        serde_json::from_slice(&body).with_context(|| format!("{name} is no record of a backup"))
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The backups of a vault by name, the newest last.
///
/// # Errors
/// What the vault answers.
pub(in crate::commands) fn names(vault: &dyn Vault) -> Result<Vec<String>> {
    let mut names = vault.list("")?;
    names.retain(|name| crc_of(name).is_some());
    names.sort_unstable();
    Ok(names)
}

fn crc_of(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(NAME_STARTS)?.strip_suffix(NAME_ENDS)?;
    let (_, crc) = rest.split_once('-')?;
    (crc.len() == 8).then(|| u32::from_str_radix(crc, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{super::folder::Folder, *};

    #[test]
    fn a_record_comes_out_as_it_went_in_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Folder::new(dir.path().to_str().unwrap());
        let sum = Sum::of(b"x");
        let (db, table) = ("default".to_owned(), "m".to_owned());
        let tablet = TabletRecord { id: 7, db, table, node: 2, index: 9, files: vec![sum, sum] };
        let record = Record::new("ab".into(), sum, vec![tablet]);
        assert_eq!(record.bytes(), 3);
        assert_eq!(record.files().count(), 3);
        let name = record.put(&vault).unwrap();
        assert_eq!(names(&vault).unwrap(), std::slice::from_ref(&name));
        assert_eq!(Record::read(&vault, &name).unwrap(), record);
        let path = dir.path().join(&name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let refused = Record::read(&vault, &name).unwrap_err().to_string();
        assert!(refused.contains("is damaged"), "{refused}");
        let later = serde_json::to_vec(&serde_json::json!({"version": 2})).unwrap();
        let name = format!("backup-x-{:08x}.json", crc32c::crc32c(&later));
        std::fs::write(dir.path().join(&name), later).unwrap();
        let refused = Record::read(&vault, &name).unwrap_err().to_string();
        assert!(refused.contains("of version 2"), "{refused}");
    }
}
