//! What this node knows of its cluster, as figures.

use super::page::Page;
use oribi_cluster::PeersView;
use prometheus_client::encoding::EncodeLabelSet;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    node: u32,
}

/// Writes the figures of the cluster as the node sees it; of a node by itself, too.
pub(super) fn encode(peers: &PeersView, page: &mut Page<'_>) -> fmt::Result {
    let (nodes, tablets) = (peers.nodes(), peers.tablets());
    let trusted = nodes.iter().map(|node| (Labels { node: node.id.0 }, u64::from(node.is_trusted)));
    page.gauges("oribi_cluster_node_up", "1 for a node that is heard, 0 for others", trusted)?;
    let led = nodes.iter().map(|node| (Labels { node: node.id.0 }, node.leaders as u64));
    page.gauges("oribi_cluster_led_tablets", "Tablets that a node leads", led)?;
    let replicas = nodes.iter().map(|node| (Labels { node: node.id.0 }, node.replicas as u64));
    page.gauges("oribi_cluster_replicas", "Replicas that a node is to have", replicas)?;
    page.gauge("oribi_cluster_tablets", "Tablets of the cluster", tablets.len() as u64)?;
    let leaderless = tablets.iter().filter(|tablet| tablet.leader.is_none()).count() as u64;
    let help = "Tablets without a known leader, which take no writes";
    page.gauge("oribi_cluster_leaderless_tablets", help, leaderless)?;
    let under = tablets.iter().filter(|tablet| tablet.is_under_replicated).count() as u64;
    let help = "Tablets with fewer live replicas than they should have";
    page.gauge("oribi_cluster_under_replicated_tablets", help, under)?;
    let replicas = tablets.iter().flat_map(|tablet| &tablet.replicas);
    let lag = replicas.filter_map(|replica| replica.lag).max().unwrap_or(0);
    let help = "Entries that the replica furthest behind its leader has not applied";
    page.gauge("oribi_cluster_lag_entries_max", help, lag)?;
    let help = "Term of the catalog, which grows with each election of its leader";
    page.gauge("oribi_cluster_catalog_term", help, peers.epoch())
}
