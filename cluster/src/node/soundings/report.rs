//! What a node says of itself.

use crate::{
    node::{
        CATALOG_GROUP, Node,
        hosting::{Hosted, group_of},
    },
    route::sounding::{Report, Sounding},
};
use oribi_model::TabletId;
use oribi_store::log::GroupId;

impl Node {
    /// How this node is.
    pub(crate) fn report(&self) -> Report {
        let mut replicas = vec![self.catalog_replica.sounding()];
        replicas.extend(self.hosting.all().iter().map(|hosted| sounding_of(hosted)));
        self.report_with(replicas)
    }

    /// How this node is, its replicas of these tablets, and those that are awake or have changed lately:
    /// however many sleep, they are not looked at.
    pub(crate) fn news(&self, tablets: &[TabletId]) -> Report {
        let mut groups = self.hosting.instances.awake_or_changed();
        groups.extend(tablets.iter().map(|tablet| group_of(*tablet)));
        groups.remove(&CATALOG_GROUP);
        let of = |group: GroupId| match self.hosting.get(TabletId(group.0)) {
            Some(hosted) => sounding_of(&hosted),
            None => Sounding { group, is_gone: true, ..Sounding::default() },
        };
        let mut replicas = vec![self.catalog_replica.sounding()];
        replicas.extend(groups.into_iter().map(of));
        self.report_with(replicas)
    }

    fn report_with(&self, mut replicas: Vec<Sounding>) -> Report {
        for (tablet, _) in self.hosting.damaged() {
            let group = group_of(tablet);
            replicas.retain(|one| one.group != group);
            replicas.push(Sounding { group, is_damaged: true, ..Sounding::default() });
        }
        let (disk_free_bytes, clock_ns) = (self.disk_free_bytes(), self.clock.now_ns());
        Report { disk_free_bytes, clock_ns, replicas }
    }

    /// How the replicas of these tablets are, as far as they are here.
    pub(in crate::node) fn report_of(&self, tablets: &[TabletId]) -> Report {
        let of = |tablet: &TabletId| Some(self.hosting.get(*tablet)?.replica.sounding());
        let replicas = tablets.iter().filter_map(of).collect();
        Report { disk_free_bytes: 0, clock_ns: 0, replicas }
    }
}

fn sounding_of(hosted: &Hosted) -> Sounding {
    let stats = hosted.tablet.stats();
    let flushed = hosted.tablet.flushed().map(|flushed| flushed.index);
    let (rows, bytes) = (stats.rows, stats.bytes.max(hosted.replica.copied_bytes()));
    Sounding { flushed, rows, bytes, ..hosted.replica.sounding() }
}
