//! What other nodes ask of the replicas that are here.

use super::{CATALOG_GROUP, Node};
use crate::{
    Replica,
    transport::{Agreed, Frame, Kind, Pending, Refusal, Service, Side},
};
use bytes::Bytes;
use oribi_model::{LogIndex, TabletId};
use oribi_store::log::GroupId;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a replica that is to begin waits for its tablet to be in the catalog.
const BIRTH_WAIT: Duration = Duration::from_millis(500);

impl Node {
    /// The replica of a group that is here, of the catalog's or a tablet's.
    pub fn replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        if group == CATALOG_GROUP {
            return Some(self.catalog_replica.clone());
        }
        self.hosting.get(TabletId(group.0)).map(|hosted| hosted.replica.clone())
    }
}

impl Node {
    /// Takes what is for a replica that is not here yet: the catalog may not have come as far as
    /// that of the node that speaks.
    async fn receive_first(self: Arc<Node>, frame: Frame) -> Result<Bytes, Refusal> {
        let deadline = Instant::now() + BIRTH_WAIT;
        let replica = loop {
            if self.is_assigned(frame.group, frame.incarnation)
                && let Ok(replica) = self.able(frame.group)
            {
                break replica;
            }
            let next = self.catalog_replica.applied_index().map_or(0, |index| index.0 + 1);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.catalog_replica.reaches(LogIndex(next), left).await {
                return Err(Refusal::NoReplica);
            }
        };
        replica.receive(&frame).await
    }
}

impl Service for Node {
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        let refuse = |refusal| -> Pending<_> { Box::pin(std::future::ready(Err(refusal))) };
        let me = self.me.upgrade().filter(|_| self.check().is_ok());
        let Some(me) = me else { return refuse(Refusal::Stopping) };
        match frame.kind {
            Kind::Vote | Kind::PreVote | Kind::Append | Kind::Transfer | Kind::Segment => {
                match self.replica(frame.group) {
                    Some(replica) => replica.receive(&frame),
                    None => Box::pin(me.receive_first(frame)),
                }
            }
            Kind::Write | Kind::ReadIndex => Box::pin(me.answer(frame.kind, frame.body)),
            Kind::Ask => Box::pin(me.answer_scan(from.node, frame.body)),
            kind => refuse(Refusal::UnknownKind(kind.to_u8())),
        }
    }

    fn linked(&self, with: &Agreed, side: Side) {
        tracing::debug!(node = with.node.0, channel = ?with.channel, ?side, "a connection stands");
    }

    fn cut(&self, with: &Agreed, side: Side) {
        tracing::debug!(node = with.node.0, channel = ?with.channel, ?side, "a connection is gone");
    }
}
