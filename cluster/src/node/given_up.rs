//! Tablets that were given to a node to begin which is gone: nothing was ever written to them, and nobody else may
//! begin them.
//!
//! What such a node had begun without the others was acknowledged only where one of them has it. So replicas
//! without any entry are closed before they say that they have none: once all but that node's have said so,
//! nothing was committed, and nothing can be.

use super::{Node, hosting::group_of};
use crate::{
    MemberId, Replica,
    route::{scan::Wish, sounding::Report},
};
use futures::future::join_all;
use oribi_model::TabletId;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long a replica stays closed that has no entry, unless its tablet is dropped: longer than any change of the
/// catalog takes that may follow.
const CLOSED_FOR: Duration = Duration::from_secs(60);

impl Node {
    /// Whether none of these replicas of a tablet, all of which are asked, has an entry; they take none for a
    /// while then. `false` where one does not answer.
    pub(crate) async fn has_nothing(&self, tablet: TabletId, replicas: &[MemberId]) -> bool {
        let (group, own) = (group_of(tablet), self.hosting.node);
        let answers = replicas.iter().map(|member| async move {
            let report = match member.node == own {
                true => Some(self.give_up(&[tablet]).await),
                false => self.hear_by(member.node, &Wish::GiveUp(vec![tablet])).await,
            };
            let said = report.into_iter().flat_map(|report| report.replicas);
            said.filter(|said| said.group == group && said.incarnation == member.incarnation)
                .any(|said| said.last.is_none() && !said.is_damaged)
        });
        join_all(answers).await.into_iter().all(|has_none| has_none)
    }

    /// Closes the replicas of these tablets here that have no entry, and says how all of them are.
    pub(super) async fn give_up(&self, tablets: &[TabletId]) -> Report {
        for tablet in tablets {
            if let Some(hosted) = self.hosting.get(*tablet) {
                // One that was closed before would not be for long enough.
                self.hosting.reopen(*tablet, &hosted.replica);
            }
            let Ok(replica) = self.able(group_of(*tablet)) else { continue };
            if !replica.is_begun() {
                self.close_for_a_while(*tablet, replica).await;
            }
        }
        self.report_of(tablets)
    }

    async fn close_for_a_while(&self, tablet: TabletId, replica: Arc<Replica>) {
        replica.close().await;
        // What was under way may have begun it.
        let wait = if replica.is_begun() { Duration::ZERO } else { CLOSED_FOR };
        let Some(node) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            let stops = Notify::new();
            if node.until(&stops, wait).await {
                node.hosting.reopen(tablet, &replica);
            }
        });
    }
}
