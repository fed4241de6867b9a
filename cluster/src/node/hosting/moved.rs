//! Replicas that were removed, or that another one follows here.

use super::{Hosted, Hosting, Slot, group_of};
use crate::{
    Catalog, Incarnation, MemberId, Result,
    planted::{Fault, is_planted},
};
use oribi_model::TabletId;
use oribi_store::{
    Tablet,
    aside::set_aside,
    log::{GroupId, Op},
};
use std::sync::Arc;

/// A replica that has no place here any more. Its files and log entries are still there.
pub(in crate::node) struct Moved {
    pub(in crate::node) id: TabletId,
    pub(in crate::node) hosted: Option<Arc<Hosted>>,
    /// No replica up to this one ever comes back.
    upto: Incarnation,
    is_damaged: bool,
}

/// A replica in which something was found damaged.
pub(in crate::node) struct Broken {
    pub(in crate::node) id: TabletId,
    pub(in crate::node) member: MemberId,
    /// Where it serves all the same.
    pub(in crate::node) hosted: Option<Arc<Hosted>>,
    pub(in crate::node) reason: Arc<str>,
}

impl Hosting {
    /// Whether a replica may begin or go on here. What an earlier one of the tablet has left is put
    /// away, durably, so that its votes and entries are never taken for this one's. Blocks.
    pub(super) fn admit(&self, id: TabletId, member: MemberId) -> Result<bool> {
        let (group, incarnation) = (group_of(id), member.incarnation.0);
        let known = self.log.tombstone(group);
        if known.is_some_and(|upto| upto >= incarnation) {
            return Ok(false);
        }
        if incarnation > 0 && known.is_none_or(|upto| upto < incarnation - 1) {
            self.options.trash.take(&self.dir.tablet(id), "replaced-replica")?;
            self.bury(group, incarnation - 1)?;
        }
        Ok(self.log.admit(group, incarnation).is_ok())
    }

    /// Whether there may be replicas that the catalog does not have here.
    pub(in crate::node) fn has_misplaced(&self, catalog: &Catalog) -> bool {
        let is_misplaced = |(id, slot): (&TabletId, &Slot)| self.is_misplaced(catalog, *id, slot);
        self.around.assign.is_none()
            && (self.tablets.read().iter().any(is_misplaced)
                || self.log.groups().iter().any(|group| self.is_left(catalog, TabletId(group.0))))
    }

    fn is_misplaced(&self, catalog: &Catalog, id: TabletId, slot: &Slot) -> bool {
        let member = match slot {
            Slot::Open(hosted) => hosted.replica.member(),
            Slot::Damaged(member, _) => *member,
            Slot::Leaving => return false,
        };
        catalog.tablet(id).is_some() && catalog.replica_on(id, self.node) != Some(member)
    }

    /// Whether the log has something of a tablet that is not here and is not to be.
    fn is_left(&self, catalog: &Catalog, id: TabletId) -> bool {
        catalog.tablet(id).is_some()
            && catalog.replica_on(id, self.node).is_none()
            && !self.tablets.read().contains_key(&id)
    }

    /// Takes out the replicas that the catalog does not have here. `catalog` must be as new as what
    /// its leader has: a replica is not removed because an old one does not know it.
    pub(in crate::node) fn take_moved(&self, catalog: &Catalog) -> Vec<Arc<Moved>> {
        let _one = self.changing.lock();
        let mut tablets = self.tablets.write();
        let mut moved = Vec::new();
        for (id, slot) in tablets.iter_mut() {
            if !self.is_misplaced(catalog, *id, slot) {
                continue;
            }
            let (hosted, upto, is_damaged) = match std::mem::replace(slot, Slot::Leaving) {
                Slot::Open(hosted) => {
                    let is_damaged = hosted.tablet.is_damaged();
                    (Some(hosted.clone()), hosted.replica.member().incarnation, is_damaged)
                }
                Slot::Damaged(member, _) => (None, member.incarnation, true),
                Slot::Leaving => continue,
            };
            self.instances.note_change(group_of(*id));
            moved.push(Arc::new(Moved { id: *id, hosted, upto, is_damaged }));
        }
        drop(tablets);
        for group in self.log.groups() {
            let id = TabletId(group.0);
            if self.is_left(catalog, id) {
                self.tablets.write().insert(id, Slot::Leaving);
                let upto = catalog.last_incarnation(id);
                moved.push(Arc::new(Moved { id, hosted: None, upto, is_damaged: false }));
            }
        }
        moved
    }

    /// Lets go of what is stored of a replica that was taken out and is closed. What is damaged stays
    /// beside its place. Blocks.
    ///
    /// # Errors
    /// What the disk answers; it may be called again.
    pub(in crate::node) fn let_go(&self, moved: &Moved) -> Result<()> {
        let (group, dir) = (group_of(moved.id), self.dir.tablet(moved.id));
        if is_planted(Fault::BuriedBeforeFiles) {
            self.bury(group, moved.upto.0)?;
        }
        match moved.is_damaged && Tablet::exists(&*self.disk, &dir)? {
            true => drop(set_aside(&*self.disk, &dir)?),
            false => self.options.trash.take(&dir, "moved-replica")?,
        }
        // Only now: a folder without a tombstone would be taken for that of the next replica.
        self.bury(group, moved.upto.0)?;
        self.tablets.write().remove(&moved.id);
        self.count_memtables();
        Ok(())
    }

    /// Has the log forget a group's replicas up to this one, durably.
    fn bury(&self, group: GroupId, upto: u32) -> Result<()> {
        let is_known = self.log.tombstone(group).is_some_and(|known| known >= upto);
        if is_known || is_planted(Fault::NothingBuried) {
            return Ok(());
        }
        // What was forgotten before takes nothing, a later tombstone neither.
        let _ = self.log.admit(group, upto);
        Ok(self.log.submit_and_wait(group, Op::Forget { tombstone: Some(upto) })?)
    }

    /// Replicas in which something is damaged.
    pub(in crate::node) fn broken(&self) -> Vec<Broken> {
        let broken = |(id, slot): (&TabletId, &Slot)| match slot {
            Slot::Open(hosted) if hosted.tablet.is_damaged() => Some(Broken {
                id: *id,
                member: hosted.replica.member(),
                hosted: Some(hosted.clone()),
                reason: "a segment of it cannot be read in full".into(),
            }),
            Slot::Damaged(member, reason) => {
                Some(Broken { id: *id, member: *member, hosted: None, reason: reason.clone() })
            }
            Slot::Open(_) | Slot::Leaving => None,
        };
        self.tablets.read().iter().filter_map(broken).collect()
    }
}
