//! Errands that go to other nodes, and those that come from there.

use super::{
    CATALOG_GROUP, Node,
    route::{Done, Errand, Job, WHOLE_WAIT, outcome_of, said_of},
};
use crate::{
    Error, Incarnation, Result,
    command::Command,
    replica::{Missed, Patience},
    route::wire::{self, Asked, Part, Said},
    transport::{CallError, Kind, Refusal, Request},
};
use bytes::Bytes;
use futures::future::join_all;
use oribi_model::{LogIndex, NodeId, TabletId};
use oribi_store::log::GroupId;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// How long after a leader gave up its answer may take.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// How long one waits for a catalog that another node has already.
const CATALOG_WAIT: Duration = Duration::from_secs(1);

impl Node {
    /// Asks another node, in one frame. What became of each, in their order.
    pub(super) async fn forward(&self, node: NodeId, jobs: &[Job]) -> Vec<Result<Done, Missed>> {
        let Some(kind) = jobs.first().map(|job| job.errand.kind()) else { return Vec::new() };
        let body = self.body_of(jobs);
        let Some(_on_its_way) = self.routes.load.take(node, body.len()) else {
            let busy = |job: &Job| {
                let reason = format!("too much is on its way to node {node}");
                Err(Error::Unavailable { group: job.group.0, reason }.into())
            };
            return jobs.iter().map(busy).collect();
        };
        let (group, incarnation) = (CATALOG_GROUP, Incarnation(0));
        let call = self.routes.network.call(node, Request { kind, group, incarnation, body });
        let answer = match timeout(WHOLE_WAIT + ANSWER_WAIT, call).await {
            Ok(Ok(answer)) => wire::decode_answer(&answer, jobs.len())
                .ok_or_else(|| format!("the answer of node {node} cannot be read")),
            Ok(Err(error)) if error.is_surely_not_done() => {
                return jobs.iter().map(|_| not_done(&error)).collect();
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("node {node} did not answer in time")),
        };
        match answer {
            Ok(said) => {
                jobs.iter().zip(said).map(|(job, one)| outcome_of(job.group, one)).collect()
            }
            Err(reason) => jobs.iter().map(|job| lost(job, &reason)).collect(),
        }
    }

    fn body_of(&self, jobs: &[Job]) -> Bytes {
        let catalog = self.catalog_replica.applied_index().unwrap_or(LogIndex(0));
        let (mut commands, mut reads) = (Vec::new(), Vec::new());
        for job in jobs {
            let (group, incarnation) = (job.group, job.target.incarnation);
            match &job.errand {
                Errand::Commit(command) => {
                    commands.push(Part { group, incarnation, what: command.encoded().clone() });
                }
                Errand::Read => reads.push(Part { group, incarnation, what: () }),
            }
        }
        match reads.is_empty() {
            true => wire::encode_commands(&Asked { catalog, wait: WHOLE_WAIT, parts: commands }),
            false => wire::encode_reads(&Asked { catalog, wait: WHOLE_WAIT, parts: reads }),
        }
    }

    /// Answers what another node asks.
    pub(super) async fn answer(self: Arc<Node>, kind: Kind, body: Bytes) -> Result<Bytes, Refusal> {
        let asked = match kind {
            Kind::Write => wire::decode_commands(body).and_then(commands_of),
            _ => wire::decode_reads(body).map(|asked| {
                let Asked { catalog, wait, parts } = asked;
                let parts = parts.into_iter();
                let parts = parts.map(|part| part.with(Ok(Errand::Read))).collect();
                Asked { catalog, wait, parts }
            }),
        };
        let Asked { catalog, wait, parts } = asked.ok_or(Refusal::Malformed)?;
        let deadline = Instant::now() + wait.min(WHOLE_WAIT);
        let parts = parts.into_iter().map(|part| self.answer_part(catalog, deadline, part));
        Ok(wire::encode_answer(&join_all(parts).await))
    }

    async fn answer_part(
        &self,
        catalog: LogIndex,
        deadline: Instant,
        part: Part<Result<Errand, String>>,
    ) -> Said {
        let errand = match part.what {
            Ok(errand) => errand,
            Err(reason) => return Said::Failed(reason),
        };
        if part.group != CATALOG_GROUP && !self.knows(part.group, catalog).await {
            // Whoever asks has seen it: it was dropped, unless this node is far behind.
            return match self.catalog_replica.applied_index() >= Some(catalog) {
                true => Said::Gone,
                false => Said::Elsewhere(None),
            };
        }
        if !self.is_assigned(part.group, part.incarnation) {
            return Said::Elsewhere(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Said::Failed("it came too late".into());
        }
        said_of(self.lead(part.group, errand, Patience::of_several(left)).await)
    }

    /// Whether the catalog has a group's tablet, once it is as far as that of another node.
    pub(super) async fn knows(&self, group: GroupId, catalog: LogIndex) -> bool {
        let tablet = TabletId(group.0);
        if self.catalog().tablet(tablet).is_some() {
            return true;
        }
        self.catalog_replica.reaches(catalog, CATALOG_WAIT).await
            && self.catalog().tablet(tablet).is_some()
    }
}

/// The commands of a request; one that cannot be read is that part's own fault.
fn commands_of(asked: Asked<wire::Encoded>) -> Option<Asked<Result<Errand, String>>> {
    let Asked { catalog, wait, parts } = asked;
    let parts = parts.into_iter().map(|part| {
        let command = Command::decode_shared(part.what.clone());
        part.with(command.map(Errand::Commit))
    });
    Some(Asked { catalog, wait, parts: parts.collect() })
}

fn not_done(error: &CallError) -> Result<Done, Missed> {
    tracing::debug!(%error, "a leader was not reached");
    Err(Missed::Elsewhere(None))
}

/// Without an answer a command may have been stored, or may still be; a question can be asked again.
fn lost(job: &Job, reason: &str) -> Result<Done, Missed> {
    match job.errand {
        Errand::Read => Err(Missed::Elsewhere(None)),
        Errand::Commit(_) => {
            Err(Error::Unknown { group: job.group.0, reason: reason.to_owned() }.into())
        }
    }
}
