//! The key under which the cluster keeps secrets comes to every node: made by the first one, and asked of
//! others by each that lacks it.
//!
//! It has a name in the catalog once something was sealed with it. Until then two nodes may hold different
//! ones, which does no harm; the one that is named is then fetched by all.

use super::state::State;
use crate::{
    Change,
    join::{Answer, Ask, Asked, Who, ask},
    secured::ClusterKey,
    tasks::blocking,
};
use futures::future::join_all;
use std::{sync::Arc, time::Duration};

/// Before the others are asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Has the right key at hand as long as the node runs.
pub(super) async fn keep(state: Arc<State>) {
    let (mut catalog, mut stopped) = (state.node.watch_catalog(), state.stopped.subscribe());
    let mut told = None;
    while !*stopped.borrow_and_update() {
        catalog.mark_unchanged();
        if !is_there(&state) {
            obtain(&state).await;
        }
        let is_there = is_there(&state);
        let named = state.node.catalog().cluster_key();
        if !is_there && state.options.cluster_key.is_given() && told != named {
            told = named;
            tracing::error!("secrets are sealed with another key than the one that was given");
        }
        tokio::select! {
            _ = stopped.changed() => {}
            _ = catalog.changed() => {}
            () = tokio::time::sleep(AGAIN), if !is_there => {}
        }
    }
}

/// Whether the key that is held is the one that is named, if any is.
fn is_there(state: &State) -> bool {
    let named = state.node.catalog().cluster_key();
    let held = state.options.cluster_key.held();
    held.is_some_and(|held| named.is_none_or(|named| named == held.id()))
}

/// Asks all others for the key. Where every node of the cluster has answered and none has it, it is made.
async fn obtain(state: &Arc<State>) {
    let identity = state.node.identity();
    let catalog = state.node.catalog();
    let who = Who::Known { cluster: identity.cluster, node: identity.node };
    let body = Ask::new(who, state.options.presence(identity.boot)).encode();
    let trusts = |pin| state.is_key_of_any(pin);
    let others = state.others();
    let asked = others.values().map(|address| ask(address, &state.tls, body.clone(), trusts));
    let mut has_nobody = true;
    for asked in join_all(asked).await {
        let Asked::Answered(Answer::Heard { cluster_key, .. }) = asked else {
            has_nobody = false;
            continue;
        };
        let Some(key) = cluster_key else { continue };
        if catalog.cluster_key().is_none_or(|named| named == key.id()) {
            return hold(state, key).await;
        }
    }
    // A node that is not in its own catalog yet does not know who the others are.
    if has_nobody && catalog.node(identity.node).is_some() {
        make(state).await;
    }
}

async fn hold(state: &Arc<State>, key: ClusterKey) {
    let (holder, id) = (state.options.cluster_key.clone(), key.id());
    if holder.is_given() {
        return;
    }
    let holding = blocking(move || Ok(holder.hold(key))).await;
    match holding {
        Ok(Ok(())) => tracing::info!(%id, "the cluster key is here"),
        Ok(Err(error)) => tracing::error!(%error, "cannot keep the cluster key"),
        Err(error) => tracing::error!(%error, "cannot keep the cluster key"),
    }
}

/// Makes a key, or has the one that is held here take the place of one that nobody has any more.
async fn make(state: &Arc<State>) {
    let key = match state.options.cluster_key.held().map_or_else(ClusterKey::generate, Ok) {
        Ok(key) => key,
        Err(error) => return tracing::error!(%error, "cannot make a cluster key"),
    };
    let id = key.id();
    hold(state, key).await;
    let Some(lost) = state.node.catalog().cluster_key() else { return };
    match state.node.change(Change::NameClusterKey { id, instead_of: Some(lost) }).await {
        Ok(_) => tracing::warn!(
            %lost, %id,
            "no node has the cluster key that secrets were sealed with; they have to be given anew"
        ),
        Err(error) => tracing::debug!(%error, "the cluster key was not named"),
    }
}
