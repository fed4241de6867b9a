//! A directory that leaves its node and becomes that of another one: all that is in it goes into a
//! folder of its own, and nothing is deleted.

use super::{FORMAT_NAME, Known, is_nothing, look, write_identity};
use crate::{KeyPin, NodeIdentity, Presence, Result, node::catalog_machine::CatalogMachine};
use oribi_model::NodeId;
use oribi_store::{
    disk::{Disk, create_dir_durably},
    small_file::{self, Kind},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Says that this is under way: whoever finds it goes on.
const NAME: &str = "ORIBI.LEAVING";
const KIND: Kind = Kind { magic: *b"ORIBLEAV", version: 1 };

/// What the file holds: JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// Where all goes that is there.
    folder: String,
    /// Whose the directory is afterwards.
    identity: NodeIdentity,
}

/// What a directory whose node cannot be opened says of it.
pub(crate) struct Remains {
    /// Who it was.
    pub(crate) identity: NodeIdentity,
    /// Where the other nodes of its cluster were.
    pub(crate) others: BTreeMap<NodeId, String>,
    /// The keys that they have.
    pub(crate) pins: BTreeSet<KeyPin>,
}

impl Remains {
    /// Reads them; `None` where it is no node's that is known by name. Blocks.
    ///
    /// # Errors
    /// As [`super::DataDir::open`].
    pub(crate) fn read(disk: &Arc<dyn Disk>, path: &Path) -> Result<Option<Remains>> {
        let (_lock, known) = look(&**disk, path)?;
        let Known::Identity(identity) = known else { return Ok(None) };
        let catalog = CatalogMachine::open(disk.clone(), path.join("catalog"))?.machine.current();
        let others = catalog.nodes().filter(|(node, record)| {
            *node != identity.node && record.state != crate::NodeState::Removed
        });
        let presences: BTreeMap<NodeId, Presence> =
            others.map(|(node, record)| (node, record.presence.clone())).collect();
        let pins = presences.values().filter_map(|presence| presence.pin).collect();
        let address = |(node, presence): (NodeId, Presence)| (node, presence.addresses.node);
        let others = presences.into_iter().map(address).collect();
        Ok(Some(Remains { identity, others, pins }))
    }
}

/// Puts all that is in the directory into a folder in it, and makes it that of the node `identity`.
/// Gives the folder. Blocks.
///
/// # Errors
/// What the disk answers; whoever takes the directory next goes on then.
pub(crate) fn leave(disk: &Arc<dyn Disk>, path: &Path, identity: NodeIdentity) -> Result<PathBuf> {
    let (_lock, _) = look(&**disk, path)?;
    let names = disk.list(path).map_err(oribi_store::Error::io("list", path))?;
    let mut candidates = (1..).map(|number: u64| format!("ORIBI.damaged-{number}"));
    let folder = candidates.find(|folder| !names.contains(folder)).unwrap_or_default();
    let body = serde_json::to_vec(&Form { folder: folder.clone(), identity });
    let body = body.expect("an identity is plain data");
    small_file::replace(&**disk, path, NAME, KIND, &body)?;
    finish(&**disk, path)?;
    Ok(path.join(folder))
}

/// Goes on with what was begun, if it was.
pub(super) fn finish(disk: &dyn Disk, path: &Path) -> Result<()> {
    let Some(body) = small_file::read(disk, path, NAME, KIND)? else { return Ok(()) };
    let Form { folder, identity } = serde_json::from_slice(&body).map_err(|error| {
        let (path, reason) = (path.join(NAME), error.to_string());
        oribi_store::Error::Corrupt { path, offset: 0, reason }
    })?;
    let folder = path.join(folder);
    create_dir_durably(disk, &folder)?;
    let names = disk.list(path).map_err(oribi_store::Error::io("list", path))?;
    let stays = |name: &str| is_nothing(name) || name == FORMAT_NAME || name.starts_with("ORIBI.");
    let data = names.iter().filter(|name| !stays(name));
    // Who it was goes last.
    for name in data.chain(names.iter().filter(|name| *name == FORMAT_NAME)) {
        let from = path.join(name);
        let moved = disk.rename(&from, &folder.join(name));
        moved.map_err(oribi_store::Error::io("set aside", &from))?;
    }
    for dir in [&folder, path] {
        disk.sync_dir(dir).map_err(oribi_store::Error::io("sync", dir))?;
    }
    write_identity(disk, path, identity, Known::Nothing)?;
    let marker = path.join(NAME);
    disk.remove(&marker).map_err(oribi_store::Error::io("remove", &marker))?;
    disk.sync_dir(path).map_err(oribi_store::Error::io("sync", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Boot, ClusterId};
    use oribi_store::disk::sim::SimDisk;

    fn identity(node: u32) -> NodeIdentity {
        NodeIdentity { cluster: ClusterId(7), node: NodeId(node), boot: Boot(0) }
    }

    fn known(disk: &Arc<dyn Disk>, path: &Path) -> NodeIdentity {
        match look(&**disk, path).unwrap().1 {
            Known::Identity(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Wherever it is cut short, the directory is the old node's with all of its files or becomes the
    /// new one's with none of them.
    #[test]
    fn a_directory_leaves_its_node_whole_or_not_at_all() {
        for operations in 1.. {
            let sim = SimDisk::new();
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            let path = Path::new("/data");
            super::super::write_first(&*disk, path, identity(2)).unwrap();
            for folder in ["log", "catalog", "tablets", "tls"] {
                create_dir_durably(&*disk, &path.join(folder)).unwrap();
            }
            sim.crash_at(sim.operations() + operations);
            let left = leave(&disk, path, identity(5));
            let after: Arc<dyn Disk> = Arc::new(sim.reboot(0));
            let names = |dir: &Path| after.list(dir).unwrap_or_default();
            match known(&after, path).node.0 {
                2 => assert!(left.is_err() && names(path).iter().any(|name| name == "log")),
                5 => {
                    assert!(names(path).iter().all(|name| name != "log"));
                    // What is no data of the node's stays with its address.
                    assert!(names(path).iter().any(|name| name == "tls"));
                    let aside = names(&path.join("ORIBI.damaged-1"));
                    for name in ["log", "catalog", "tablets", "ORIBI"] {
                        assert!(aside.iter().any(|one| one == name), "{aside:?}");
                    }
                }
                other => panic!("node {other}"),
            }
            if left.is_ok() {
                println!(
                    "a directory that changes its node: the power went at {operations} operations"
                );
                assert!(operations > 5);
                return;
            }
        }
    }
}
