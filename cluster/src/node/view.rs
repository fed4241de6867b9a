//! What one question sees of a node: what it has once found to be current stays so for it.

use super::{CATALOG_GROUP, Node, hosting::group_of};
use crate::route::scan::AsOf;
use oribi_model::{Consistency, NodeId, Reading, Result, TabletId};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// What a question sees of a node.
pub(super) struct View {
    /// Tablets that are as current as the question asks for.
    current: Mutex<HashSet<TabletId>>,
    only: Only,
    pub(super) as_of: AsOf,
    began: Instant,
    /// Shared by those who see parts of the same.
    read: Arc<Mutex<Read>>,
}

/// What was read for a question.
#[derive(Default)]
struct Read {
    nodes: BTreeSet<NodeId>,
    tablets: HashSet<TabletId>,
    age: Duration,
}

/// Which tablets a question sees.
#[derive(Default)]
pub(super) enum Only {
    #[default]
    All,
    /// Those of this node.
    Here,
    These(HashSet<TabletId>),
}

impl View {
    pub(super) fn new(only: Only, as_of: AsOf) -> View {
        let (current, read) = Default::default();
        View { current, only, as_of, began: Instant::now(), read }
    }

    /// Notes that a tablet was read at a node, and how old that may be.
    pub(super) fn note(
        &self,
        node: NodeId,
        tablets: impl IntoIterator<Item = TabletId>,
        age: Duration,
    ) {
        let mut read = self.read.lock();
        read.nodes.insert(node);
        read.tablets.extend(tablets);
        read.age = read.age.max(age);
    }

    /// A view of the same question that sees only tablets of this node.
    pub(super) fn here(&self) -> View {
        View { read: self.read.clone(), ..View::new(Only::Here, self.as_of) }
    }

    /// Whether tablets of other nodes are seen.
    pub(super) fn shows_all(&self) -> bool {
        matches!(self.only, Only::All)
    }

    /// What was read so far for an answer of this node.
    pub(super) fn reading(&self, own: NodeId) -> Reading {
        let read = self.read.lock();
        // The node that was asked has answered, whatever it had to read for that.
        let nodes = read.nodes.len() + usize::from(!read.nodes.contains(&own));
        let is_stale = self.as_of.consistency != Consistency::Linearizable;
        let (tablets, staleness) = (read.tablets.len(), is_stale.then_some(read.age));
        Reading { nodes, tablets, staleness }
    }

    /// How old what was read may be.
    pub(super) fn age(&self) -> Duration {
        self.read.lock().age
    }

    /// Whether the question sees a tablet.
    pub(super) fn shows(&self, node: &Node, tablet: TabletId) -> bool {
        match &self.only {
            Only::All => true,
            Only::Here => !node.hosting.is_elsewhere(tablet),
            Only::These(tablets) => tablets.contains(&tablet),
        }
    }
}

impl Node {
    /// Waits until these tablets, which are here, are current for a question. Blocks.
    ///
    /// # Errors
    /// The first one of which that cannot be told in time, or that is too old.
    pub(super) fn make_current(
        &self,
        view: &View,
        tablets: impl Iterator<Item = TabletId>,
    ) -> Result<()> {
        if self.hosting.has_no_others() {
            return Ok(());
        }
        let new: Vec<TabletId> = {
            let current = view.current.lock();
            tablets.filter(|tablet| !current.contains(tablet)).collect()
        };
        match view.as_of.consistency {
            Consistency::Linearizable => {
                self.wait_until_current(new.clone()).map_err(not_current)?;
            }
            Consistency::Stale(max) => {
                self.bound_age(view, new.iter().map(|tablet| group_of(*tablet)).collect(), max)?;
            }
        }
        view.current.lock().extend(new);
        Ok(())
    }

    /// Sees to it that replicas that are here are no older than `max` as of the beginning of the
    /// question: those that are lag behind nobody knows how far are made current. Blocks.
    ///
    /// # Errors
    /// [`oribi_model::Error::TooStale`] names the first one for which that cannot be done.
    pub(super) fn bound_age(&self, view: &View, groups: Vec<GroupId>, max: Duration) -> Result<()> {
        let age = |group: GroupId| self.age_of(group, view.began);
        let is_old = |group: &GroupId| age(*group).is_none_or(|age| age > max);
        let old: Vec<GroupId> = groups.iter().copied().filter(is_old).collect();
        if !old.is_empty() {
            // Whether it was worth it is looked at of each.
            let _ = self.block_on(|node| async move { node.follow(old).await });
        }
        for group in groups {
            match age(group) {
                Some(age) if age <= max => view.note(self.hosting.node, [], age),
                age => {
                    let what = match group {
                        CATALOG_GROUP => "the catalog".to_owned(),
                        GroupId(tablet) => format!("tablet {tablet}"),
                    };
                    return Err(oribi_model::Error::TooStale { what, age, max });
                }
            }
        }
        Ok(())
    }
}

/// Which tablet may lack rows, and why.
fn not_current(error: crate::Error) -> oribi_model::Error {
    let reason = error.to_string();
    match error {
        crate::Error::Unavailable { group, .. } if group != CATALOG_GROUP.0 => {
            unreadable(TabletId(group), &reason)
        }
        crate::Error::NoTablet(tablet) | crate::Error::Damaged { tablet, .. } => {
            unreadable(tablet, &reason)
        }
        _ => oribi_model::Error::Behind(reason),
    }
}

pub(super) fn unreadable(tablet: TabletId, reason: &dyn std::fmt::Display) -> oribi_model::Error {
    oribi_model::Error::Unreadable { tablet, reason: reason.to_string() }
}
