//! A node from what its data directory holds. Nothing is deleted here: what cannot be read is set
//! aside under a name of its own, and reported.

use super::{
    CATALOG_GROUP, Node, NodeOptions, around::Around, catalog_assignment,
    catalog_machine::CatalogMachine, damage::Damage, data_dir::DataDir, hosting::Hosting,
    tablet_machine::Memtables, troubles::Troubles,
};
use crate::{
    Catalog, Error, MemberId, Result,
    replica::{Instances, Replica},
};
use oribi_model::{Clock, TabletId};
use oribi_store::{
    OpenFiles, PageCache, Tablet, TabletOptions, Trash,
    aside::set_aside,
    disk::Disk,
    log::{Log, LogOptions, Op},
};
use std::{path::PathBuf, sync::Arc};

/// Opens the data directory and everything in it. Blocks.
pub(super) fn recover(
    data_dir: PathBuf,
    options: NodeOptions,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    around: Around,
) -> Result<Node> {
    let dir = Arc::new(DataDir::open(&disk, data_dir)?);
    let troubles = Troubles::default();
    let mut damage = Damage::read(&*disk, dir.path())?;
    let found = CatalogMachine::open(disk.clone(), dir.catalog())?;
    let has_catalog = found.machine.has_file();
    for (path, reason) in found.damaged {
        let aside = set_aside(&*disk, &path)?;
        let (path, aside) = (path.display(), aside.display());
        let message = format!("{path} was damaged ({reason}); it is now {aside}");
        troubles.set("catalog", message);
    }
    let log = Arc::new(open_log(&disk, &dir, &options, has_catalog, &mut damage)?);
    troubles.update("log", damage.log.map(|what| format!("{what} (noted in the file DAMAGE)")));
    let catalog = Arc::new(found.machine);
    let this = dir.identity().node;
    let assignment =
        around.assign.as_ref().map_or_else(catalog_assignment, |assign| assign(CATALOG_GROUP));
    let (member, of) = (MemberId::first(this), (CATALOG_GROUP, &assignment));
    let others = (Arc::default(), around.links.clone() as _);
    let catalog_replica = Replica::recover(member, of, log.clone(), catalog.clone(), others)?;
    let current = catalog.current();
    refuse_lost_catalog(&*disk, &dir, &current)?;
    let trash = Arc::new(Trash::new(disk.clone(), dir.trash()));
    let tablet_options = TabletOptions {
        compact_bytes_max: options.compact_bytes_max,
        reserve_bytes: options.disk_reserve_bytes,
        pages: Arc::new(PageCache::new(options.page_cache_bytes_max)),
        files: Arc::new(OpenFiles::new(options.open_files_max)),
        trash,
    };
    let held = (tablet_options, Memtables::new(options.memtable_bytes_max));
    let mut hosting = Hosting::new(this, disk, dir, log, held, (around, catalog.clone()));
    hosting.had_others = catalog_replica.is_of_several();
    hosting.instances = Arc::new(Instances::new(options.copies()));
    let unowned = put_away(&hosting, &current, &troubles)?;
    hosting.open_all(&current);
    for (tablet, reason) in hosting.damaged() {
        tracing::error!(tablet = tablet.0, %reason, "a tablet is set aside");
    }
    Ok(Node::new(options, clock, (catalog, catalog_replica), hosting, troubles, unowned))
}

/// The log; where it was lost although there was one, that is noted down. One that is damaged is
/// refused and left as it is.
fn open_log(
    disk: &Arc<dyn Disk>,
    dir: &DataDir,
    options: &NodeOptions,
    has_catalog: bool,
    damage: &mut Damage,
) -> Result<Log> {
    let names = disk.list(&dir.log()).unwrap_or_default();
    if has_catalog && !names.iter().any(|name| name.ends_with(".log")) {
        let what = "the log was missing; rows that were not in segments yet are lost";
        damage.log = Some(what.to_owned());
        damage.write(&**disk, dir.path());
    }
    let options = LogOptions {
        file_bytes: options.log_file_bytes,
        queue_bytes_max: options.log_queue_bytes_max,
        ..LogOptions::default()
    };
    Ok(Log::open(disk.clone(), dir.log(), options)?)
}

/// Tablets without any catalog that ever knew one: starting would hide them all.
fn refuse_lost_catalog(disk: &dyn Disk, dir: &DataDir, catalog: &Catalog) -> Result<()> {
    let folders = tablet_folders(disk, dir)?.len();
    if folders == 0 || catalog.last_tablet() > TabletId(0) {
        return Ok(());
    }
    let path = dir.path().to_owned();
    let reason = format!(
        "tablets/ holds {folders} tablets, but neither catalog/ nor log/ knows any; nothing was \
         changed; put one of them back, or move tablets/ away to begin anew"
    );
    Err(Error::DataDir { path, reason })
}

fn tablet_folders(disk: &dyn Disk, dir: &DataDir) -> Result<Vec<TabletId>> {
    let names = disk.list(&dir.tablets());
    let names = names.map_err(oribi_store::Error::io("list", dir.tablets()))?;
    Ok(names.iter().filter_map(|name| name.parse().map(TabletId).ok()).collect())
}

/// Ends what drops that were cut short left behind: tablets that the catalog has given an id and
/// no longer has. What it never knew stays and is reported; gives the greatest such id.
fn put_away(hosting: &Hosting, catalog: &Catalog, troubles: &Troubles) -> Result<TabletId> {
    let mut unowned = TabletId(0);
    let mut is_dropped = |tablet: TabletId, what: &str| {
        if tablet <= catalog.last_tablet() {
            tracing::info!(tablet = tablet.0, what, "putting away what a drop left behind");
            return true;
        }
        unowned = unowned.max(tablet);
        troubles.set(
            &format!("tablet {tablet}"),
            format!("{what}, but the catalog never knew it: not served, and left as it is"),
        );
        false
    };
    let dir = hosting.dir.tablets();
    let names = hosting.disk.list(&dir).map_err(oribi_store::Error::io("list", &dir))?;
    let suffixes = [Tablet::NEW_SUFFIX, Tablet::COPY_SUFFIX];
    let is_cut_short = |name: &&String| suffixes.iter().any(|suffix| name.ends_with(suffix));
    for name in names.iter().filter(is_cut_short) {
        // A first flush, all of which the log has, or a copy, which begins anew.
        hosting.options.trash.take(&dir.join(name), "unfinished-tablet")?;
    }
    for tablet in tablet_folders(&*hosting.disk, &hosting.dir)? {
        if catalog.tablet(tablet).is_none() && is_dropped(tablet, "its folder is there") {
            hosting.options.trash.take(&hosting.dir.tablet(tablet), "dropped-tablet")?;
        }
    }
    for group in hosting.log.groups() {
        let tablet = TabletId(group.0);
        let known = group == CATALOG_GROUP || catalog.tablet(tablet).is_some();
        if !known && is_dropped(tablet, "the log has entries of it") {
            hosting.log.submit(group, Op::Forget { tombstone: None }, Box::new(|_| {}));
        }
    }
    Ok(unowned)
}
