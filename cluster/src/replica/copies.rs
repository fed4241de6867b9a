//! Another replica's files in the place of this one's: an offer is taken, what it names is copied
//! while the instance runs on, and takes the place of what is here while none runs.

use super::{
    Replica,
    applied::Applied,
    forms,
    inbox::refuse,
    instance::Instance,
    recover::newest_membership,
    types::{LogId, Vote},
    wire,
};
use crate::{
    Error, Result,
    copy::{Answer, Ask, Offer, Pull, Pulled},
    machine::Staged,
    planted::{Fault, is_planted},
    tasks::{self, blocking, timeout},
    transport::{Frame, Pending, Refusal},
};
use bytes::Bytes;
use oribi_store::log::Op;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// After so long an offer is answered, however far the copy is.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// For how long what was copied in part is kept.
const KEPT_MAX: Duration = Duration::from_secs(120);

/// What a replica copies of another.
#[derive(Default)]
pub(super) struct Incoming {
    running: Mutex<Option<Copying>>,
    /// What an earlier copy left, by the number of that copy.
    kept: Mutex<Option<(u64, Box<dyn Staged>)>>,
    copies: Mutex<u64>,
    /// Bytes that have come of the one under way.
    copied: Arc<AtomicU64>,
}

impl Incoming {
    /// Whether a copy is under way.
    pub(super) fn is_running(&self) -> bool {
        self.running.lock().as_ref().is_some_and(Copying::is_underway)
    }
}

/// Which offer a copy is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    This,
    Other,
}

/// A copy under way.
struct Copying {
    offer: Offer,
    /// Says how it ended.
    outcome: watch::Receiver<Option<Answer>>,
}

impl Copying {
    fn is_underway(&self) -> bool {
        self.outcome.borrow().is_none() && self.outcome.has_changed().is_ok()
    }
}

impl Replica {
    /// Takes an offer of another replica, or gives it a piece of what this one holds for it.
    pub(super) fn take_segment(
        self: &Arc<Replica>,
        frame: &Frame,
    ) -> Pending<Result<Bytes, Refusal>> {
        let Some(ask) = Ask::decode(frame.body.clone()) else {
            return refuse(Refusal::Malformed);
        };
        let replica = self.clone();
        Box::pin(async move {
            match ask {
                Ask::Offer(offer) => Ok(replica.take_offer(offer).await?.encode()),
                Ask::Piece(wanted) => {
                    let piece = blocking(move || Ok(replica.origin.read(&wanted))).await;
                    Ok(piece.map_err(|_| Refusal::Stopping)?.encode())
                }
            }
        })
    }

    async fn take_offer(self: &Arc<Replica>, offer: Offer) -> Result<Answer, Refusal> {
        let last = last_of(&offer).ok_or(Refusal::Malformed)?;
        if let Some(answer) = self.answer_to(&offer)? {
            return Ok(answer);
        }
        if self.applied.lock().last >= Some(last) {
            let synced = timeout(ANSWER_WAIT, self.synced()).await;
            let has_all = matches!(synced, Ok(Ok(())));
            return Ok(if has_all { Answer::Taken(offer.vote) } else { Answer::Underway });
        }
        let (mut outcome, of) = self.join_or_begin(&offer);
        let ended = timeout(ANSWER_WAIT, outcome.wait_for(Option::is_some)).await;
        match ended {
            // Now there is a place for this one.
            _ if of == Copied::Other => Ok(Answer::Underway),
            Ok(Ok(answer)) => Ok(answer.clone().unwrap_or(Answer::Underway)),
            Ok(Err(_)) => Ok(Answer::Refused("the copy broke off".into())),
            Err(_) => Ok(Answer::Underway),
        }
    }

    /// The answer to an offer of a leader that is none any more.
    fn answer_to(&self, offer: &Offer) -> Result<Option<Answer>, Refusal> {
        let vote = wire::decode_vote(&offer.vote).ok_or(Refusal::Malformed)?;
        if matches!(*self.instance.lock(), Instance::Closed) {
            return Err(Refusal::NoReplica);
        }
        let own = self.vote().filter(|own| *own > vote);
        Ok(own.map(|own| Answer::Taken(wire::encode_vote(&own))))
    }

    /// Resolves once whatever is in the log now is synced. What was applied may not be: others have
    /// committed it. The leader counts on what it is told to be here, so it must be.
    async fn synced(&self) -> Result<()> {
        let (sender, synced) = tokio::sync::oneshot::channel();
        // Cuts nothing, and comes behind all that was submitted before it.
        let op = Op::Truncate { from: u64::MAX };
        self.log.submit(self.group, op, Box::new(move |outcome| drop(sender.send(outcome))));
        let outcome = synced.await.unwrap_or_else(|_| Err("the log has ended".into()));
        outcome.map_err(|reason| self.unavailable(reason))
    }

    /// The outcome of the copy of this offer, or of another one that ends for its sake.
    fn join_or_begin(
        self: &Arc<Replica>,
        offer: &Offer,
    ) -> (watch::Receiver<Option<Answer>>, Copied) {
        let mut running = self.incoming.running.lock();
        if let Some(copying) = &mut *running
            && copying.is_underway()
        {
            let is_same = copying.offer == *offer;
            // The copy sees that it is not the one that is wanted.
            copying.offer = offer.clone();
            let of = if is_same { Copied::This } else { Copied::Other };
            return (copying.outcome.clone(), of);
        }
        let (sender, outcome) = watch::channel(None);
        *running = Some(Copying { offer: offer.clone(), outcome: outcome.clone() });
        let (replica, offer) = (self.clone(), offer.clone());
        tasks::spawn(async move {
            let answer = match replica.copy(&offer).await {
                Ok(vote) => Answer::Taken(wire::encode_vote(&vote)),
                Err(reason) => {
                    tracing::warn!(group = replica.group.0, reason, "a copy broke off");
                    Answer::Refused(reason)
                }
            };
            let _ = sender.send(Some(answer));
        });
        (outcome, Copied::This)
    }

    /// Copies what is offered, and puts it in the place of what is here. Gives the vote by then.
    async fn copy(self: &Arc<Replica>, offer: &Offer) -> Result<Vote, String> {
        let copies = self.instances.copies().clone();
        let _slot = copies.begin().ok_or("other copies are under way")?;
        let text = |error: Error| error.to_string();
        let (kept, machine) = (self.incoming.kept.lock().take(), self.machine.clone());
        let sums = offer.sums.clone();
        let staged = blocking(move || match kept {
            Some((_, staged)) => staged.go_over(&sums),
            None => machine.stage(&sums),
        });
        let staged = staged.await.map_err(text)?;
        let (group, source, network) = (self.group, offer.source, self.network.clone());
        let (pin, copied) = (offer.pin, self.incoming.copied.clone());
        copied.store(0, Ordering::Relaxed);
        let pull = Pull { group, source, pin, network, copies: copies.clone(), copied };
        let _end = CopiedEnd(self.incoming.copied.clone());
        match pull.run(staged, || self.wants(offer)).await {
            Pulled::Whole(staged) => self.take_over(offer, staged).await.map_err(text),
            Pulled::Part(staged, reason) => {
                self.keep(staged);
                Err(reason)
            }
            Pulled::Nothing(reason) => Err(reason),
        }
    }

    /// Bytes that have come of a copy under way; 0 where there is none.
    pub(crate) fn copied_bytes(&self) -> u64 {
        self.incoming.copied.load(Ordering::Relaxed)
    }

    /// Whether the copy is still worth it.
    fn wants(&self, offer: &Offer) -> bool {
        let is_newest = |copying: &Copying| copying.offer == *offer;
        (!self.is_closed() || is_planted(Fault::CopyTakenWhenClosed))
            && !self.instances.is_closed()
            && self.incoming.running.lock().as_ref().is_some_and(is_newest)
    }

    /// Keeps what there is of a copy for the next one, for a while.
    fn keep(self: &Arc<Replica>, staged: Box<dyn Staged>) {
        let number = {
            let mut copies = self.incoming.copies.lock();
            *copies += 1;
            *copies
        };
        *self.incoming.kept.lock() = Some((number, staged));
        let replica = Arc::downgrade(self);
        tasks::spawn(async move {
            tasks::sleep(KEPT_MAX).await;
            let Some(replica) = replica.upgrade() else { return };
            let mut kept = replica.incoming.kept.lock();
            let old = kept.take_if(|(kept, _)| *kept == number);
            drop(kept);
            drop(old);
        });
    }

    /// Ends the instance, puts what was copied in the place of what is here, has the log begin
    /// behind it, and starts the instance.
    async fn take_over(
        self: &Arc<Replica>,
        offer: &Offer,
        staged: Box<dyn Staged>,
    ) -> Result<Vote> {
        let one = self.switching.lock().await;
        let taken = self.take_over_held(offer, staged).await;
        drop(one);
        // Also where nothing was taken over: the leader may have nothing more to send, and would
        // wake nobody.
        let _ = self.running().await;
        taken
    }

    /// As [`Replica::take_over`], where the caller holds `switching`. No instance runs afterwards.
    async fn take_over_held(&self, offer: &Offer, staged: Box<dyn Staged>) -> Result<Vote> {
        let refused = |reason: &str| Err(Error::Refused(reason.to_owned()));
        let (Some(last), Some(vote)) = (last_of(offer), wire::decode_vote(&offer.vote)) else {
            return refused("the offer cannot be read");
        };
        if !is_planted(Fault::TakenOverLive) {
            self.end_held(Instance::Resting).await;
        }
        if self.is_closed() && !is_planted(Fault::CopyTakenWhenClosed) {
            return Err(Error::Closed { group: self.group.0 });
        }
        // What has come meanwhile may make it worthless.
        if let Some(own) = self.vote().filter(|own| *own > vote) {
            return Ok(own);
        }
        if self.applied.lock().last < Some(last) {
            let flushed = blocking(move || staged.install()).await?;
            let taken = Applied::decode(&flushed.raft_state);
            let taken = taken.map_err(|reason| self.unavailable(reason))?;
            if !is_planted(Fault::CopyNotCounted) {
                *self.applied.lock() = taken.clone();
            }
            self.origin.release();
            self.move_log(&taken, &vote).await?;
            let state = self.log.group(self.group).unwrap_or_default();
            let newest = newest_membership(self.group, &self.log, &state, &taken)?;
            *self.membership.lock() = Arc::new(newest);
        } else {
            self.synced().await?;
        }
        Ok(vote)
    }

    /// Has the log begin behind what was taken over, durably.
    async fn move_log(&self, taken: &Applied, vote: &Vote) -> Result<()> {
        super::recover::settle(self.group, &self.log, taken)
            .map_err(|reason| self.unavailable(reason))?;
        if let (Some(last), Some(mark)) = (taken.last, taken.last_mark()) {
            // Where the log has the entry too, it has been settled without this.
            let op = Op::Purge { upto: last.index, mark };
            self.log.submit(self.group, op, Box::new(|_| {}));
        }
        let (sender, synced) = tokio::sync::oneshot::channel();
        let op = Op::Vote(forms::encode_vote(vote));
        self.log.submit(self.group, op, Box::new(move |outcome| drop(sender.send(outcome))));
        let outcome = synced.await.unwrap_or_else(|_| Err("the log has ended".into()));
        outcome.map_err(|reason| self.unavailable(reason))
    }
}

/// Nothing is under way any more once it goes.
struct CopiedEnd(Arc<AtomicU64>);

impl Drop for CopiedEnd {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The last entry that is in what is offered.
fn last_of(offer: &Offer) -> Option<LogId> {
    Applied::decode(&offer.state).ok()?.last
}
