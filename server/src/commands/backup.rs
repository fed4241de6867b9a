//! `oribi backup`: copies of all tablets and of the catalog, kept elsewhere.

mod bucket;
mod folder;
pub(super) mod record;
mod renewal;
mod source;
pub(super) mod vault;

use super::{NodeUrl, client::Client, sql::print};
use crate::length;
use anyhow::{Context, Result, bail};
use bucket::Bucket;
use clap::Args;
use folder::Folder;
use record::{Record, Sum, TabletRecord, catalog_file, tablet_file};
use source::{Held, Source, Tablet};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    num::NonZero,
    process::ExitCode,
};
use vault::Vault;

/// Flags of `oribi backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder that keeps backups, or s3://BUCKET/PREFIX; what is there of earlier ones is not brought
    /// again.
    #[arg(long, value_name = "DIR")]
    to: String,
    #[command(flatten)]
    node: NodeUrl,
    /// Remove older backups beyond so many, and the files that only those need.
    #[arg(long, value_name = "N")]
    keep: Option<NonZero<usize>>,
}

/// Makes a backup of the cluster that a node belongs to, while it serves. Every row is in it that was
/// acked before; each tablet is as of one entry of its log.
///
/// # Errors
/// A node that cannot be reached or refuses, or what the vault answers: there is no backup then, and what
/// was brought already is there for the next one.
pub(crate) fn run(args: &BackupArgs) -> Result<ExitCode> {
    let vault = open(&args.to)?;
    let source = Source::new(Client::new(&args.node)?)?;
    let before = newest_nodes(&*vault)?;
    let mut copying = Copying { vault: &*vault, source: &source, brought_bytes: 0 };
    let outcome = renewal::renewed(&source, || copying.all(&before));
    source.end();
    let record = outcome?;
    let name = record.put(&*vault)?;
    let (tablets, bytes) = (record.tablets.len(), length::bytes(record.bytes()));
    let brought = length::bytes(copying.brought_bytes);
    let place = vault.place();
    print(
        format!("{name}: {tablets} tablets, {bytes}, of which {brought} new, in {place}\n")
            .as_bytes(),
    )?;
    if let Some(keep) = args.keep {
        prune(&*vault, keep)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The vault that an argument names: a folder, or `s3://BUCKET/PREFIX`.
///
/// # Errors
/// A URL of a kind that is not known, or an environment that does not say enough of a bucket.
pub(super) fn open(place: &str) -> Result<Box<dyn Vault>> {
    match place.split_once("://") {
        None => {}
        Some(("s3", _)) => return Ok(Box::new(Bucket::open(place)?)),
        Some((scheme, _)) => bail!(
            "cannot keep backups in {place:?}: nothing is known of {scheme}://; expected a folder or \
             s3://BUCKET/PREFIX"
        ),
    }
    Ok(Box::new(Folder::new(place)))
}

/// Of each tablet of the newest backup, the node that it was read from.
fn newest_nodes(vault: &dyn Vault) -> Result<BTreeMap<u64, u32>> {
    let Some(name) = record::names(vault)?.pop() else { return Ok(BTreeMap::new()) };
    // One that is damaged costs no more than that other segments may be brought.
    let record = Record::read(vault, &name).ok();
    let tablets = record.into_iter().flat_map(|record| record.tablets);
    Ok(tablets.map(|tablet| (tablet.id, tablet.node)).collect())
}

struct Copying<'a> {
    vault: &'a dyn Vault,
    source: &'a Source,
    brought_bytes: u64,
}

impl Copying<'_> {
    fn all(&mut self, before: &BTreeMap<u64, u32>) -> Result<Record> {
        let mut records = Vec::new();
        // The tablets of one table are as of about the same time.
        for tablets in self.source.tables()? {
            let mut held = Vec::new();
            for tablet in tablets {
                if let Some(files) = self.source.hold(&tablet, before.get(&tablet.id).copied())? {
                    held.push((tablet, files));
                }
            }
            for (tablet, files) in held {
                records.push(self.tablet(tablet, files)?);
            }
        }
        records.sort_unstable_by_key(|record: &TabletRecord| record.id);
        // It has every column of the rows that were brought before it.
        let catalog = self.source.catalog()?;
        let sum = Sum::of(&catalog);
        self.bring(&catalog_file(sum), sum, || Ok(Box::new(io::Cursor::new(catalog.clone()))))?;
        Ok(Record::new(self.source.cluster().to_owned(), sum, records))
    }

    fn tablet(&mut self, tablet: Tablet, held: Held) -> Result<TabletRecord> {
        let Tablet { id, db, table, .. } = tablet;
        let Held { node, index, files } = held;
        for (at, sum) in files.iter().enumerate() {
            let source = self.source;
            self.bring(&tablet_file(id, *sum), *sum, || source.file(node, id, at)).with_context(
                || format!("cannot bring file {at} of tablet {id} from node {node}"),
            )?;
        }
        Ok(TabletRecord { id, db, table, node, index, files })
    }

    /// Brings a file, unless it is there.
    fn bring(
        &mut self,
        name: &str,
        sum: Sum,
        open: impl FnOnce() -> Result<Box<dyn Read>>,
    ) -> Result<()> {
        if self.vault.bytes_of(name)? == Some(sum.bytes) {
            return Ok(());
        }
        let mut content = Summed { from: open()?, sum: Sum { bytes: 0, crc: 0 } };
        self.vault.put(name, &mut content)?;
        if content.sum != sum {
            self.vault.remove(name)?;
            bail!("what came is not what was announced");
        }
        self.brought_bytes += sum.bytes;
        Ok(())
    }
}

/// Adds up what is read.
struct Summed {
    from: Box<dyn Read>,
    sum: Sum,
}

impl Read for Summed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.sum.crc = crc32c::crc32c_append(self.sum.crc, &into[..count]);
        self.sum.bytes += count as u64;
        Ok(count)
    }
}

/// Removes the oldest backups, then the files that none of the others needs.
fn prune(vault: &dyn Vault, keep: NonZero<usize>) -> Result<()> {
    let mut names = record::names(vault)?;
    let kept = names.split_off(names.len().saturating_sub(keep.get()));
    if names.is_empty() {
        return Ok(());
    }
    // Before anything goes: a record that cannot be read says of no file that it is not needed.
    let kept: Vec<Record> =
        kept.iter().map(|name| Record::read(vault, name)).collect::<Result<_>>()?;
    let needed: BTreeSet<String> = kept.iter().flat_map(Record::files).collect();
    for name in &names {
        vault.remove(name)?;
    }
    let mut files = vault.list("tablets")?;
    files.extend(vault.list("catalog")?);
    let unneeded: Vec<String> = files.into_iter().filter(|file| !needed.contains(file)).collect();
    for file in &unneeded {
        vault.remove(file)?;
    }
    let (backups, files) = (names.len(), unneeded.len());
    print(format!("removed {backups} older backups and {files} files of theirs\n").as_bytes())
}
