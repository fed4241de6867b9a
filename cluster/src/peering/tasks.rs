//! What a node among others does all the time.

use super::state::State;
use crate::{
    Change,
    join::{Answer, Ask, Asked, Who, ask},
};
use futures::future::join_all;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Before a node says again where it is.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(500);
/// When a node that waits for its catalog first says so; then after twice as long each time.
const AWAITED_TOLD_AFTER: Duration = Duration::from_secs(2);

/// Calls and watches whoever is in the cluster, at the newest address.
pub(super) async fn call(state: Arc<State>) {
    let (mut changed, mut stopped) = (state.node.watch_catalog(), state.stopped.subscribe());
    let mut called = BTreeMap::new();
    while !*stopped.borrow_and_update() {
        changed.mark_unchanged();
        let others = state.others();
        if others != called {
            state.tcp.call_only(others.clone());
            state.watch.watch(others.clone()).await;
            called = others;
        }
        tokio::select! {
            _ = stopped.changed() => {}
            // The catalog lives as long as the node.
            _ = changed.changed() => {}
            () = state.heard.notified() => {}
        }
    }
}

/// Says where this node is, until the catalog does.
pub(super) async fn announce(state: Arc<State>) {
    let identity = state.node.identity();
    let presence = state.options.presence(identity.boot);
    let is_known = || {
        let catalog = state.node.catalog();
        catalog.node(identity.node).is_some_and(|record| record.presence == presence)
    };
    let who = Who::Known { cluster: identity.cluster, node: identity.node };
    let body = Ask::new(who, presence.clone()).encode();
    let (began, mut told_after) = (Instant::now(), AWAITED_TOLD_AFTER);
    loop {
        if is_known() && state.node.catalog().nodes().count() == 1 {
            return;
        }
        if state.leads_catalog() && !is_known() {
            let (node, presence) = (identity.node, presence.clone());
            if let Err(error) = state.node.change(Change::AnnounceNode { node, presence }).await {
                tracing::debug!(%error, "the catalog does not say yet where this node is");
            }
        }
        // The others are told all the same: not everybody has the newest catalog.
        let addresses = state.addresses();
        let trusts = |pin| state.is_key_of_any(pin);
        let asked = addresses.iter().map(|address| ask(address, &state.tls, body.clone(), trusts));
        for (address, asked) in addresses.iter().zip(join_all(asked).await) {
            match asked {
                Asked::Answered(Answer::Heard { nodes, .. }) => {
                    nodes.into_iter().for_each(|(node, place)| state.hear(node, place));
                }
                Asked::Answered(Answer::Refused { reason }) | Asked::Stranger(reason) => {
                    tracing::debug!(%address, %reason, "not told where this node is");
                }
                Asked::Answered(_) | Asked::Nobody(_) => {}
            }
        }
        if began.elapsed() >= told_after
            && let Some(awaited) = state.awaited()
        {
            tracing::warn!(waited_s = began.elapsed().as_secs(), "waiting for {awaited}");
            told_after *= 2;
        }
        if is_known() || !state.pause(ANNOUNCE_PAUSE).await {
            return;
        }
    }
}
