//! What other members ask of a replica.
//!
//! Appends go through one queue, in the order in which they came, so that what is sent without
//! waiting is taken without waiting: all that is there reaches the log before its next sync.

use super::{
    Replica,
    types::TypeConfig,
    wire::{self, Append, Appended, AskVote, VoteAnswer},
};
use crate::{
    MemberId,
    planted::{Fault, is_planted},
    tasks::{self, now, sleep},
    transport::{Frame, Kind, Pending, Refusal},
};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, poll, stream::FuturesOrdered};
use openraft::{EntryPayload, errors::RaftError};
use std::{
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Appends that wait for a replica; beyond it the sender is told to wait.
const WAITING_MAX: usize = 256;
/// Appends that wait for the log at once.
const APPENDING_MAX: usize = 64;
/// How long an append waits where memory is short, before its sender is told to wait.
const ROOM_WAIT: Duration = Duration::from_millis(500);
/// Between two looks at how much there is.
const ROOM_LOOK: Duration = Duration::from_millis(20);
/// When a sender that was too fast may try again, ms.
const BUSY_MS: u32 = 20;

type Answer = oneshot::Sender<Result<Bytes, Refusal>>;
type Outcome = Result<Appended, RaftError<TypeConfig>>;
type Appending = FuturesOrdered<BoxFuture<'static, (Outcome, Answer)>>;

/// The appends of one replica that wait.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: mpsc::Sender<(Append, Answer)>,
}

impl Replica {
    /// Takes what another member asks. Never waits; appends are taken in the order of the calls.
    pub fn receive(self: &Arc<Replica>, frame: &Frame) -> Pending<Result<Bytes, Refusal>> {
        let is_own = frame.incarnation == self.member.incarnation;
        if !is_own && !is_planted(Fault::OtherReplicaHeard) {
            let have = self.member.incarnation;
            return refuse(Refusal::WrongReplica { have });
        }
        self.touch();
        match frame.kind {
            Kind::Append => self.take_append(&frame.body),
            Kind::Vote | Kind::PreVote => self.take_vote(frame),
            Kind::Transfer => self.take_handed(&frame.body),
            Kind::Segment => self.take_segment(frame),
            _ => refuse(Refusal::Malformed),
        }
    }

    fn take_append(self: &Arc<Replica>, body: &[u8]) -> Pending<Result<Bytes, Refusal>> {
        let Some(append) = wire::decode_append(body) else { return refuse(Refusal::Malformed) };
        self.note_led_by(&append.vote);
        let (sender, receiver) = oneshot::channel();
        match self.inbox().try_send((append, sender)) {
            Ok(()) => Box::pin(async move { receiver.await.unwrap_or(Err(Refusal::NoReplica)) }),
            Err(_) => refuse(Refusal::Busy { retry_after_ms: BUSY_MS }),
        }
    }

    fn take_vote(self: &Arc<Replica>, frame: &Frame) -> Pending<Result<Bytes, Refusal>> {
        let Some(ask) = wire::decode_ask_vote(&frame.body) else {
            return refuse(Refusal::Malformed);
        };
        // At once: entries that come after it say that the member leads after all.
        self.note_asked_by(MemberId::from_u64(ask.vote.leader_id().node_id));
        let (replica, kind) = (self.clone(), frame.kind);
        Box::pin(async move {
            let answer = replica.answer_vote(kind, ask).await.ok_or(Refusal::NoReplica)?;
            Ok(wire::encode_vote_answer(&answer))
        })
    }

    fn take_handed(self: &Arc<Replica>, body: &[u8]) -> Pending<Result<Bytes, Refusal>> {
        let Some(transfer) = wire::decode_transfer(body) else { return refuse(Refusal::Malformed) };
        let replica = self.clone();
        Box::pin(async move {
            let is_taken = replica.take_transfer(transfer).await.ok_or(Refusal::NoReplica)?;
            Ok(Bytes::copy_from_slice(&[u8::from(is_taken)]))
        })
    }

    async fn answer_vote(self: &Arc<Replica>, kind: Kind, ask: AskVote) -> Option<VoteAnswer> {
        let running = self.running().await.ok()?;
        self.release_deserted().await;
        if !ask.leadership_transfer {
            self.await_release(MemberId::from_u64(ask.vote.leader_id().node_id)).await;
        }
        let asked_with = ask.last_log_id;
        let answer = match kind {
            Kind::PreVote => running.raft.pre_vote(ask).await,
            _ => running.raft.vote(ask).await,
        };
        let answer = answer.ok()?;
        if kind == Kind::PreVote && answer.last_log_id > asked_with {
            self.stand_instead();
        }
        Some(answer)
    }

    /// The queue, and a task that takes from it until the replica sleeps or is gone.
    fn inbox(self: &Arc<Replica>) -> mpsc::Sender<(Append, Answer)> {
        let mut inbox = self.inbox.lock();
        let inbox = inbox.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tasks::spawn(take_all(Arc::downgrade(self), receiver));
            Inbox { sender }
        });
        inbox.sender.clone()
    }
}

async fn take_all(replica: Weak<Replica>, mut waiting: mpsc::Receiver<(Append, Answer)>) {
    let mut appending = Appending::new();
    loop {
        tokio::select! {
            biased;
            Some((outcome, answer)) = appending.next() => answer_with(outcome, answer),
            next = waiting.recv(), if appending.len() < APPENDING_MAX => {
                let (Some((append, answer)), Some(replica)) = (next, replica.upgrade()) else {
                    return;
                };
                match has_room(&replica, &append, &mut appending).await {
                    true => take_one(&replica, append, answer, &mut appending).await,
                    false => answer_busy(answer),
                }
            }
        }
    }
}

/// Waits, not for long, until there is memory for what an append brings; meanwhile those before it are
/// answered.
async fn has_room(replica: &Replica, append: &Append, appending: &mut Appending) -> bool {
    let brings_none =
        append.entries.iter().all(|entry| !matches!(entry.payload, EntryPayload::Normal(_)));
    if brings_none || replica.machine.has_room() {
        return true;
    }
    let deadline = now() + ROOM_WAIT;
    while now() < deadline {
        tokio::select! {
            biased;
            Some((outcome, answer)) = appending.next() => answer_with(outcome, answer),
            () = sleep(ROOM_LOOK) => {}
        }
        if replica.machine.has_room() {
            return true;
        }
    }
    false
}

fn answer_busy(answer: Answer) {
    let _ = answer.send(Err(Refusal::Busy { retry_after_ms: BUSY_MS }));
}

async fn take_one(
    replica: &Arc<Replica>,
    append: Append,
    answer: Answer,
    appending: &mut Appending,
) {
    let Ok(running) = replica.running().await else {
        let _ = answer.send(Err(Refusal::NoReplica));
        return;
    };
    let mut outcome: BoxFuture<'static, Outcome> =
        Box::pin(async move { running.raft.append_entries(append).await });
    // With the first look it stands in the instance's queue, before those that come after it.
    match poll!(&mut outcome) {
        Poll::Ready(outcome) => answer_with(outcome, answer),
        Poll::Pending => {
            appending.push_back(Box::pin(async move { (outcome.await, answer) }));
        }
    }
}

fn answer_with(outcome: Outcome, answer: Answer) {
    let body = match outcome {
        Ok(appended) => Ok(wire::encode_appended(&appended)),
        // It has ended; the next request starts another.
        Err(_) => Err(Refusal::NoReplica),
    };
    // The connection may be gone.
    let _ = answer.send(body);
}

pub(super) fn refuse(refusal: Refusal) -> Pending<Result<Bytes, Refusal>> {
    Box::pin(std::future::ready(Err(refusal)))
}
