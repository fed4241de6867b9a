//! Errands that go to other nodes, and those that come from there.

use super::{
    CATALOG_GROUP, Node,
    outbox::{Desk, Letter, Reply},
    route::{Done, Errand, Job, WHOLE_WAIT, outcome_of, said_of},
};
use crate::{
    Error, Incarnation, Result,
    command::{Body, Command},
    replica::{Missed, Patience},
    route::wire::{self, Asked, Part, Said},
    transport::{Kind, Refusal, Request},
};
use bytes::Bytes;
use futures::future::join_all;
use oribi_model::{LogIndex, NodeId, TabletId};
use oribi_store::log::GroupId;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// How long after a leader gave up its answer may take.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// Bytes of commands in one frame, unless one alone is longer.
const FRAME_BYTES_MAX: usize = 8 << 20;
/// When a node that has too much to do may be asked again, ms.
const BUSY_MS: u32 = 1_000;
/// How long rows of another node wait for room in memory.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// How long one waits for a catalog that another node has already.
const CATALOG_WAIT: Duration = Duration::from_secs(1);

impl Node {
    /// Asks another node, together with what else this task asks of it at once. What became of
    /// each, in their order.
    pub(super) async fn forward(&self, node: NodeId, jobs: &[Job]) -> Vec<Result<Done, Missed>> {
        let (outbox, desk) = (&self.routes.outbox, Desk::here(node));
        let _swept = outbox.swept(desk);
        let put = |job: &Job| {
            let (group, incarnation) = (job.group, job.target.incarnation);
            match &job.errand {
                Errand::Commit(command) => {
                    let what = command.encoded().clone();
                    outbox.commands.put(desk, Part { group, incarnation, what })
                }
                Errand::Read => outbox.reads.put(desk, Part { group, incarnation, what: () }),
            }
        };
        let answers: Vec<_> = jobs.iter().map(put).collect();
        // Meanwhile the task gets to what it does beside this.
        tokio::task::yield_now().await;
        self.post(desk);
        let replies = join_all(answers).await;
        let ended = || Reply::Lost("the node ended".into());
        let replies = replies.into_iter().map(|reply| reply.unwrap_or_else(|_| ended()));
        jobs.iter().zip(replies).map(|(job, reply)| replied(job, reply)).collect()
    }

    /// Sends what lies on a desk. It is sent and answered whether or not anybody goes on to wait.
    fn post(&self, desk: Desk) {
        let Some(me) = self.me.upgrade() else { return };
        let outbox = &self.routes.outbox;
        for letters in outbox.commands.take(desk, FRAME_BYTES_MAX, Bytes::len) {
            tokio::spawn(me.clone().send(Kind::Write, desk.to, letters, wire::encode_commands));
        }
        for letters in outbox.reads.take(desk, FRAME_BYTES_MAX, |()| 0) {
            tokio::spawn(me.clone().send(Kind::ReadIndex, desk.to, letters, wire::encode_reads));
        }
    }

    async fn send<P>(
        self: Arc<Node>,
        kind: Kind,
        to: NodeId,
        letters: Vec<Letter<P>>,
        encode: impl Fn(&Asked<P>) -> Bytes,
    ) {
        let letters = letters.into_iter().map(|letter| (letter.part, letter.answer));
        let (parts, answers): (Vec<_>, Vec<_>) = letters.unzip();
        let catalog = self.catalog_replica.applied_index().unwrap_or(LogIndex(0));
        let body = encode(&Asked { catalog, wait: WHOLE_WAIT, parts });
        let replies = self.exchange(kind, to, body, answers.len()).await;
        for (answer, reply) in answers.into_iter().zip(replies) {
            // Whoever asked may have given up.
            let _ = answer.send(reply);
        }
    }

    async fn exchange(&self, kind: Kind, to: NodeId, body: Bytes, parts: usize) -> Vec<Reply> {
        let all = |reply: &dyn Fn() -> Reply| (0..parts).map(|_| reply()).collect();
        let Some(_on_its_way) = self.routes.load.take(to, body.len()) else {
            return all(&|| Reply::Said(Said::Busy { retry_after_ms: BUSY_MS }));
        };
        let (group, incarnation) = (CATALOG_GROUP, Incarnation(0));
        let call = self.routes.network.call(to, Request { kind, group, incarnation, body });
        let reason = match timeout(WHOLE_WAIT + ANSWER_WAIT, call).await {
            Ok(Ok(answer)) => match wire::decode_answer(&answer, parts) {
                Some(said) => return said.into_iter().map(Reply::Said).collect(),
                None => format!("the answer of node {to} cannot be read"),
            },
            Ok(Err(error)) if error.is_surely_not_done() => {
                tracing::debug!(%error, "a leader was not reached");
                return all(&|| Reply::NotTaken);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("node {to} did not answer in time"),
        };
        all(&|| Reply::Lost(reason.clone()))
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
        if matches!(&errand, Errand::Commit(command) if matches!(command.body(), Body::Rows(_)))
            && timeout(ROOM_WAIT.min(left), self.room()).await.is_err()
        {
            return Said::Busy { retry_after_ms: BUSY_MS };
        }
        let left = deadline.saturating_duration_since(Instant::now());
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

/// Without an answer a command may have been stored, or may still be; a question can be asked again.
fn replied(job: &Job, reply: Reply) -> Result<Done, Missed> {
    match (reply, &job.errand) {
        (Reply::Said(said), _) => outcome_of(job.group, said),
        (Reply::NotTaken, _) | (Reply::Lost(_), Errand::Read) => Err(Missed::Elsewhere(None)),
        (Reply::Lost(reason), Errand::Commit(_)) => {
            Err(Error::Unknown { group: job.group.0, reason }.into())
        }
    }
}
