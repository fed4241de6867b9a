//! Has leaders prove that they lead, and lets others stand where one cannot.

use super::{
    CALM, CALM_PAUSE,
    state::{State, is_replaced},
};
use crate::elections::{Failed, Proofs, Standing, Vote};
use futures::{StreamExt, stream};
use oribi_store::log::GroupId;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// Between two looks, unless all is calm.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a step that follows may take; a group that is stuck holds up no other for longer.
const STEP_WAIT: Duration = Duration::from_secs(2);
/// Groups that are asked about at once.
const ASKED_MAX: usize = 64;
/// Groups in which something follows of one look. Where more cannot prove anything it is a node that
/// is slow, not their leaders, and more elections would only make it slower.
const ACTED_MAX: usize = 16;

/// Looks again and again, until the node stops.
pub(super) async fn run(state: Arc<State>) {
    let (mut proofs, mut doubted) = (Proofs::default(), Instant::now());
    let (mut pause, mut changes) = (PAUSE, state.supervisor.changes());
    loop {
        tokio::select! {
            is_on = state.pause(pause) => if !is_on { return },
            // Those who are told at once have nothing to say yet.
            _ = changes.changed(), if pause > PAUSE => {
                pause = PAUSE;
                continue;
            }
        }
        if state.node.has_no_others() {
            continue;
        }
        changes.mark_unchanged();
        let began = Instant::now();
        for node in state.supervisor.take_doubted() {
            proofs.doubt(node);
            doubted = began;
        }
        let standings: Vec<Standing> =
            state.node.awake().iter().map(|replica| replica.standing()).collect();
        for (group, vote) in state.replaced(&standings) {
            proofs.doubt_vote(group, vote);
            doubted = began;
        }
        let is_proved = look(&state, &standings, &mut proofs, doubted).await;
        // Where answers take long, there is enough to do without more questions.
        pause = PAUSE.max(began.elapsed() * 2);
        if is_proved && state.supervisor.is_calm(CALM) {
            pause = pause.max(CALM_PAUSE);
        }
    }
}

/// Whether all leaders have proved that they lead.
async fn look(
    state: &State,
    standings: &[Standing],
    proofs: &mut Proofs,
    doubted: Instant,
) -> bool {
    let mut due = proofs.due(standings);
    let is_proved = due.is_empty();
    // What nodes tell each other anyway proves nearly all.
    due.retain(|(group, vote)| {
        let is_led = state.node.is_led_since(*group, *vote, doubted);
        if is_led {
            note_proved(state, proofs, *group, *vote);
        }
        !is_led && proofs.is_asked(*group)
    });
    // Where no majority is heard nobody can prove anything, and nobody can stand.
    due.retain(|(group, vote)| state.may_prove(standings, *group, *vote));
    due.truncate(ASKED_MAX);
    if due.is_empty() {
        return is_proved;
    }
    let proved = state.node.prove(due.iter().map(|(group, _)| *group).collect()).await;
    let mut unproved = Vec::new();
    for ((group, vote), is_proved) in due.into_iter().zip(proved) {
        match is_proved {
            true => note_proved(state, proofs, group, vote),
            false if unproved.len() < ACTED_MAX => {
                unproved.push((group, proofs.failed(state.own(), group, vote)));
            }
            false => {}
        }
    }
    let steps = unproved.into_iter().map(|(group, failed)| act(state, group, failed));
    stream::iter(steps).for_each_concurrent(ACTED_MAX, |step| step).await;
    state.supervisor.look_now();
    false
}

fn note_proved(state: &State, proofs: &mut Proofs, group: GroupId, vote: Vote) {
    proofs.proved(group, vote);
    if let Some(replica) = state.node.replica(group) {
        replica.rejoin();
    }
}

async fn act(state: &State, group: GroupId, failed: Failed) {
    let Some(replica) = state.node.replica(group) else { return };
    let step = async {
        match failed {
            Failed::Wait => Ok(()),
            Failed::Desert(vote) => replica.desert(vote.member).await,
            Failed::Restart => replica.restart().await,
        }
    };
    let group = group.0;
    let Ok(outcome) = timeout(STEP_WAIT, step).await else {
        return tracing::warn!(group, ?failed, "a leader could not be deserted in time");
    };
    match outcome {
        Ok(()) if failed == Failed::Wait => {}
        Ok(()) => tracing::info!(group, ?failed, "a leader could not prove that it leads"),
        // It is asked again.
        Err(error) => tracing::debug!(group, ?failed, %error, "a leader could not be deserted"),
    }
}

impl State {
    /// The votes of these whose leader the catalog has replaced.
    fn replaced(&self, standings: &[Standing]) -> Vec<(GroupId, Vote)> {
        let catalog = self.node.catalog();
        let elected = standings.iter().filter_map(|standing| {
            let vote = standing.vote.filter(|vote| vote.is_elected)?;
            Some((standing.group, vote))
        });
        elected.filter(|(group, vote)| is_replaced(&catalog, *group, vote.member)).collect()
    }

    /// Whether the leader's node is trusted, and a majority of the voters. Otherwise elections follow
    /// without a proof, or none can.
    fn may_prove(&self, standings: &[Standing], group: GroupId, vote: Vote) -> bool {
        let standing = standings.iter().find(|standing| standing.group == group);
        standing.is_some_and(|standing| {
            let nodes = standing.voters.nodes();
            self.watch.view(|view| view.trusts(vote.member.node) && view.trusts_majority(nodes))
        })
    }
}
