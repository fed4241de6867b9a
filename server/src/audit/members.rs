//! Which nodes come into the cluster and leave it, as this one learns it.

use super::{Audit, Record};
use oribi_cluster::{Catalog, Node, NodeState};
use oribi_model::NodeId;
use std::{collections::BTreeMap, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Notes nodes that join and that are removed, until `stop`.
pub(crate) async fn watch(audit: Arc<Audit>, node: Arc<Node>, stop: CancellationToken) {
    let own = node.identity().node;
    let mut known = members(&node.catalog(), own);
    loop {
        let changed = node.catalog_changed();
        let now = members(&node.catalog(), own);
        for (event, object) in differences(&known, &now) {
            let object = Some(object);
            let entry = Record { event, via: "node", object, result: "ok", ..Record::default() };
            if let Err(wrong) = audit.note(entry).await {
                tracing::warn!(%wrong, event, "an entry is not in the audit log");
            }
        }
        known = now;
        tokio::select! {
            () = changed => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The other nodes, each with its address, and whether it was removed.
type Members = BTreeMap<NodeId, (String, bool)>;

fn members(catalog: &Catalog, own: NodeId) -> Members {
    let others = catalog.nodes().filter(|(node, _)| *node != own);
    let member = |(node, record): (NodeId, &Arc<oribi_cluster::NodeRecord>)| {
        let address = record.presence.addresses.node.clone();
        (node, (address, record.state == NodeState::Removed))
    };
    others.map(member).collect()
}

fn differences(before: &Members, now: &Members) -> Vec<(&'static str, String)> {
    let told = |(node, (address, is_removed)): (&NodeId, &(String, bool))| {
        let event = match (before.get(node), is_removed) {
            (None, false) => "node_joined",
            (Some((_, false)), true) => "node_removed",
            _ => return None,
        };
        Some((event, format!("node {} at {address}", node.0)))
    };
    now.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_comes_and_goes_once() {
        let of = |all: &[(u32, bool)]| -> Members {
            all.iter().map(|(node, removed)| (NodeId(*node), ("h:1".into(), *removed))).collect()
        };
        let told = |before: &[(u32, bool)], now: &[(u32, bool)]| differences(&of(before), &of(now));
        assert_eq!(told(&[], &[(2, false)]), [("node_joined", "node 2 at h:1".into())]);
        assert_eq!(told(&[(2, false)], &[(2, true)]), [("node_removed", "node 2 at h:1".into())]);
        for same in [&[(2, false)], &[(2, true)]] {
            assert!(told(same, same).is_empty());
        }
        // One that was gone before this node came.
        assert!(told(&[], &[(2, true)]).is_empty());
    }
}
