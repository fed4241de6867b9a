//! What other nodes ask of the replicas that are here.

use super::{CATALOG_GROUP, Node};
use crate::{
    Replica,
    transport::{Agreed, Frame, Kind, Pending, Refusal, Service, Side},
};
use bytes::Bytes;
use oribi_model::TabletId;
use oribi_store::log::GroupId;
use std::sync::Arc;

impl Node {
    /// The replica of a group that is here, of the catalog's or a tablet's.
    pub fn replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        if group == CATALOG_GROUP {
            return Some(self.catalog_replica.clone());
        }
        self.hosting.get(TabletId(group.0)).map(|hosted| hosted.replica.clone())
    }
}

impl Service for Node {
    fn serve(&self, _: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        let refuse = |refusal| -> Pending<_> { Box::pin(std::future::ready(Err(refusal))) };
        if self.check().is_err() {
            return refuse(Refusal::Stopping);
        }
        match frame.kind {
            Kind::Vote | Kind::PreVote | Kind::Append | Kind::Segment => {
                match self.replica(frame.group) {
                    Some(replica) => replica.receive(&frame),
                    None => refuse(Refusal::NoReplica),
                }
            }
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
