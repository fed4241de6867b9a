//! `oribi restore`: the data directory of a cluster's first node, made of a backup.

use super::{
    backup::{
        self,
        record::{self, Record, catalog_file, tablet_file},
        vault::Vault,
    },
    sql::print,
};
use crate::length;
use anyhow::{Context, Result, bail};
use clap::Args;
use oribi_cluster::{Restore, RestoredConnectors};
use oribi_model::TabletId;
use oribi_store::{FileSum, disk::RealDisk};
use std::{io, io::Read, path::PathBuf, process::ExitCode, sync::Arc};

/// Flags of `oribi restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder that keeps backups, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "DIR")]
    from: String,
    /// An empty directory, or one that is not there yet, for the first node of the new cluster.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    data_dir: Option<PathBuf>,
    /// Which backup [default: the newest]
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Let connectors run that ran then; they are paused otherwise, since the other cluster may run still.
    #[arg(long)]
    resume_connectors: bool,
    /// Only show the backups that there are.
    #[arg(long, conflicts_with_all = ["data_dir", "backup", "resume_connectors"])]
    list: bool,
}

/// Makes the directory, or lists backups.
///
/// # Errors
/// A backup that is not there, damaged or not whole, named with the file; a directory that holds anything.
pub(crate) fn run(args: &RestoreArgs) -> Result<ExitCode> {
    let vault = backup::open(&args.from)?;
    let names = record::names(&*vault)?;
    let Some(dir) = &args.data_dir else {
        list(&*vault, &names)?;
        return Ok(ExitCode::SUCCESS);
    };
    let newest = names.last().cloned();
    let name = args.backup.clone().or(newest);
    let Some(name) = name else { bail!("there is no backup in {}", vault.place()) };
    let record = Record::read(&*vault, &name)?;
    let connectors = match args.resume_connectors {
        true => RestoredConnectors::AsTheyWere,
        false => RestoredConnectors::Paused,
    };
    let restore = Restore::begin(Arc::new(RealDisk), dir.clone(), &name)?;
    for tablet in &record.tablets {
        let sums: Vec<FileSum> = tablet.files.iter().map(|sum| (*sum).into()).collect();
        let open = |at: usize| {
            let file = vault.get(&tablet_file(tablet.id, tablet.files[at]));
            file.map_err(io::Error::other)
        };
        restore.tablet(TabletId(tablet.id), &sums, open)?;
    }
    let catalog = read_catalog(&*vault, &record)?;
    let restored = restore.finish(&catalog, connectors)?;
    let (tables, tablets) = (restored.tables, restored.tablets);
    let (bytes, dir) = (length::bytes(record.bytes()), dir.display());
    let mut told = format!(
        "{name}: {tables} tables, {tablets} tablets, {bytes}, in {dir}\n\
         it is the first node of the cluster {}: oribi serve --data-dir {dir}\n",
        restored.cluster
    );
    if !restored.paused.is_empty() {
        told.push_str(&format!("paused connectors: {}\n", restored.paused.join(", ")));
    }
    print(told.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn read_catalog(vault: &dyn Vault, record: &Record) -> Result<Vec<u8>> {
    let name = catalog_file(record.catalog);
    let mut bytes = Vec::new();
    let limit = record.catalog.bytes.saturating_add(1);
    let read = vault.get(&name)?.take(limit).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 != record.catalog.bytes || crc32c::crc32c(&bytes) != record.catalog.crc {
        bail!("{name} is damaged");
    }
    Ok(bytes)
}

fn list(vault: &dyn Vault, names: &[String]) -> Result<()> {
    for name in names {
        let told = match Record::read(vault, name) {
            Ok(record) => {
                let (tablets, bytes) = (record.tablets.len(), length::bytes(record.bytes()));
                format!("of cluster {}, {tablets} tablets, {bytes}", record.cluster)
            }
            Err(wrong) => format!("{wrong:#}"),
        };
        print(format!("{name}  {told}\n").as_bytes())?;
    }
    Ok(())
}
