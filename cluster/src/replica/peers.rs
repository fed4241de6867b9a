//! The other members of a group, over the network between nodes.

use super::{
    Instances,
    in_flight::Window,
    machine::FlushedRows,
    types::{LogId, TypeConfig, Vote},
    wire::{self, Append, Appended, AskVote, Transfer, VoteAnswer},
};
use crate::{
    MemberId,
    copy::{Answer, Ask, Held, Offer, Origin},
    tasks::{blocking, timeout},
    transport::{CallError, Kind, Network, Pending, Request},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use openraft::{
    EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::{SnapshotOf, VoteOf},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{SnapshotResponse, StreamAppendResult, TransferLeaderResponse},
};
use oribi_store::log::GroupId;
use std::{sync::Arc, time::Duration};

type Config = TypeConfig;
type Failure = RPCError<Config>;

/// Appends that are on their way to one member at once. Each has about 1 MiB of entries, unless
/// one alone is longer.
const APPENDS_MAX: usize = 32;

/// How long a member may take to say whether it takes a group.
const TRANSFER_WAIT: Duration = Duration::from_secs(2);
/// How long a member may take to say whether it takes an offer; it answers sooner where that takes
/// longer.
const OFFER_WAIT: Duration = Duration::from_secs(30);

/// Makes the ways to the other members of one group.
pub(super) struct Peers {
    pub(super) group: GroupId,
    pub(super) network: Arc<dyn Network>,
    pub(super) origin: Arc<Origin>,
    pub(super) instances: Arc<Instances>,
}

/// The way to one member.
#[derive(Clone)]
pub(super) struct Peer {
    group: GroupId,
    member: MemberId,
    network: Arc<dyn Network>,
    origin: Arc<Origin>,
    window: Window,
}

impl RaftNetworkFactory<Config> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Peer {
        let (group, network, origin) = (self.group, self.network.clone(), self.origin.clone());
        let member = MemberId::from_u64(target);
        let window = self.instances.in_flight().window(member.node);
        Peer { group, member, network, origin, window }
    }
}

impl Peer {
    /// Sends at once; what comes back may be waited for later.
    fn ask(&self, kind: Kind, body: Bytes, wait: Duration) -> Pending<Result<Bytes, Failure>> {
        let (group, incarnation) = (self.group, self.member.incarnation);
        let request = Request { kind, group, incarnation, body };
        let (answer, member) = (self.network.call(self.member.node, request), self.member);
        Box::pin(async move {
            match timeout(wait, answer).await {
                Ok(answer) => answer.map_err(failure),
                Err(_) => Err(failed(format!("member {member} did not answer in time"))),
            }
        })
    }

    async fn vote_of(
        &self,
        kind: Kind,
        ask: &AskVote,
        option: RPCOption,
    ) -> Result<VoteAnswer, Failure> {
        let body = self.ask(kind, wire::encode_ask_vote(ask), option.soft_ttl()).await?;
        wire::decode_vote_answer(&body).ok_or_else(|| self.malformed())
    }

    fn append(&self, append: Bytes, wait: Duration) -> Pending<Result<Appended, Failure>> {
        let (answer, peer) = (self.ask(Kind::Append, append, wait), self.clone());
        Box::pin(
            async move { wire::decode_appended(&answer.await?).ok_or_else(|| peer.malformed()) },
        )
    }

    /// Offers what is flushed, until the member has it or does not want it now.
    async fn offer(&self, vote: Vote, at_least: u64) -> Result<SnapshotResponse<Config>, Failure> {
        let origin = self.origin.clone();
        let held = blocking(move || origin.hold(at_least)).await;
        let held = held.map_err(|error| failed(error.to_string()))?;
        let ask = self.ask_to_take(&vote, &held);
        let ask = ask.ok_or_else(|| failed("there is too much to be offered".into()))?;
        loop {
            let body = self.ask(Kind::Segment, ask.encode(), OFFER_WAIT).await?;
            match Answer::decode(body).ok_or_else(|| self.malformed())? {
                Answer::Underway => {}
                Answer::Taken(vote) => {
                    let vote = wire::decode_vote(&vote).ok_or_else(|| self.malformed())?;
                    return Ok(SnapshotResponse::new(vote));
                }
                Answer::Refused(reason) => {
                    return Err(failed(format!("member {} takes no copy: {reason}", self.member)));
                }
            }
        }
    }

    fn ask_to_take(&self, vote: &Vote, held: &Held) -> Option<Ask> {
        let source = MemberId::from_u64(vote.leader_id().node_id);
        let state = Bytes::copy_from_slice(&held.pin.flushed().raft_state);
        let (vote, sums) = (wire::encode_vote(vote), held.sums.clone());
        let offer = Offer { source, pin: held.number, vote, state, sums };
        offer.fits().then_some(Ask::Offer(offer))
    }

    fn malformed(&self) -> Failure {
        failed(format!("the answer of member {} cannot be read", self.member))
    }
}

/// Where it was surely not sent there is nobody to send it to for now; where it may have been, it is
/// sent again at once.
fn failure(error: CallError) -> Failure {
    match error {
        CallError::Lost(_) => NetworkError::new(&error).into(),
        _ => Unreachable::new(&error).into(),
    }
}

fn failed(reason: String) -> Failure {
    Unreachable::from_string(reason).into()
}

/// The first and the last id of what an append covers.
fn range_of(append: &Append) -> (Option<LogId>, Option<LogId>) {
    let last = append.entries.last().map(|entry| entry.log_id);
    (append.prev_log_id, last.or(append.prev_log_id))
}

type Answers<'s> = stream::BoxStream<'s, Result<StreamAppendResult<Config>, Failure>>;

impl RaftNetworkV2<Config> for Peer {
    type SnapshotData = FlushedRows;

    async fn append_entries(
        &mut self,
        append: Append,
        option: RPCOption,
    ) -> Result<Appended, Failure> {
        self.append(wire::encode_append(&append), option.soft_ttl()).await
    }

    /// Sends each append when it comes and there is room for it, without waiting for the answers to those
    /// before.
    fn stream_append<'s, S>(
        &'s mut self,
        appends: S,
        option: RPCOption,
    ) -> futures::future::BoxFuture<'s, Result<Answers<'s>, Failure>>
    where
        S: stream::Stream<Item = Append> + OptionalSend + Unpin + 'static,
    {
        let (peer, wait) = (self.clone(), option.soft_ttl());
        let sent = appends.then(move |append| {
            let ((prev, last), peer) = (range_of(&append), peer.clone());
            async move {
                let body = wire::encode_append(&append);
                drop(append);
                let underway = peer.window.room(body.len(), wait).await;
                let answer = underway.map(|underway| (peer.append(body, wait), underway));
                async move {
                    let crowded = || failed(format!("member {} has enough to do", peer.member));
                    let (answer, _underway) = answer.ok_or_else(crowded)?;
                    answer.await.map(|answer| (answer, prev, last))
                }
            }
        });
        let answers = sent.buffered(APPENDS_MAX).scan(false, |ended, answer| {
            if std::mem::replace(ended, is_last(&answer)) {
                return std::future::ready(None);
            }
            let answer = answer.map(|(answer, prev, last)| match (answer, prev) {
                // Only what follows an entry can differ from it.
                (Appended::Conflict, None) => Ok(None),
                (answer, _) => answer.into_stream_result(prev, last),
            });
            std::future::ready(Some(answer))
        });
        let answers: Answers<'s> = Box::pin(answers);
        Box::pin(std::future::ready(Ok(answers)))
    }

    async fn vote(&mut self, ask: AskVote, option: RPCOption) -> Result<VoteAnswer, Failure> {
        self.vote_of(Kind::Vote, &ask, option).await
    }

    async fn pre_vote(&mut self, ask: AskVote, option: RPCOption) -> Result<VoteAnswer, Failure> {
        self.vote_of(Kind::PreVote, &ask, option).await
    }

    async fn transfer_leader(
        &mut self,
        transfer: Transfer,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<Config>, Failure> {
        let body = wire::encode_transfer(&transfer);
        match self.ask(Kind::Transfer, body, TRANSFER_WAIT).await?[..] {
            [1] => Ok(Ok(())),
            [0] => Err(failed(format!("member {} does not take the group", self.member))),
            _ => Err(self.malformed()),
        }
    }

    /// Has the member copy what is flushed here, and waits for it.
    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Config>,
        snapshot: SnapshotOf<Config, FlushedRows>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Config>, StreamingError<Config>> {
        let at_least = snapshot.meta.last_log_id.map_or(0, |last| last.index);
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            answer = self.offer(vote, at_least) => {
                self.origin.expire_later();
                Ok(answer?)
            }
        }
    }
}

/// Whether nothing that was sent behind it counts.
fn is_last(answer: &Result<(Appended, Option<LogId>, Option<LogId>), Failure>) -> bool {
    match answer {
        Ok((Appended::Success, ..)) => false,
        Ok((Appended::PartialSuccess(upto), _, last)) => upto != last,
        Ok((Appended::Conflict | Appended::HigherVote(_), ..)) | Err(_) => true,
    }
}
