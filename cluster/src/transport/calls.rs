//! The requests of one connection that wait to be sent or answered.

use super::{CallError, Channel, Frame, Refusal, Request, Role};
use bytes::Bytes;
use oribi_model::NodeId;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

/// Frames that wait to be sent over one connection.
pub(super) const QUEUE_FRAMES_MAX: usize = 4_096;
/// Requests of one connection that wait for their answers.
const ASKED_MAX: usize = 16_384;

/// Bytes that wait to be sent over a connection.
fn queue_bytes_max(channel: Channel) -> usize {
    match channel {
        Channel::Liveness => 1 << 20,
        Channel::Raft => 64 << 20,
        Channel::Bulk => 32 << 20,
    }
}

type Answer = oneshot::Sender<Result<Bytes, CallError>>;

#[derive(Default)]
struct Asked {
    last: u64,
    waiting: BTreeMap<u64, Answer>,
    ended: bool,
}

/// The sending end of one connection. Clones share it.
#[derive(Clone)]
pub(super) struct Calls {
    node: NodeId,
    channel: Channel,
    queue: mpsc::Sender<Frame>,
    queued_bytes: Arc<AtomicUsize>,
    asked: Arc<Mutex<Asked>>,
}

/// The frames to be sent, in order.
pub(super) struct Queue {
    frames: mpsc::Receiver<Frame>,
    bytes: Arc<AtomicUsize>,
    asked: Arc<Mutex<Asked>>,
    node: NodeId,
}

impl Calls {
    pub(super) fn new(node: NodeId, channel: Channel) -> (Calls, Queue) {
        let (queue, frames) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (bytes, asked) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Asked>>::default());
        let calls =
            Calls { node, channel, queue, queued_bytes: bytes.clone(), asked: asked.clone() };
        (calls, Queue { frames, bytes, asked, node })
    }

    /// Whether it is the end of the same connection.
    pub(super) fn is_same(&self, other: &Calls) -> bool {
        Arc::ptr_eq(&self.asked, &other.asked)
    }

    /// Queues a request; the answer comes to the receiver.
    ///
    /// # Errors
    /// It was not queued.
    pub(super) fn ask(
        &self,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Bytes, CallError>>, CallError> {
        let (sender, receiver) = oneshot::channel();
        let mut asked = self.asked.lock();
        if asked.ended {
            return Err(CallError::NotConnected(self.node));
        }
        if asked.waiting.len() >= ASKED_MAX {
            return Err(CallError::Full(self.node));
        }
        asked.last += 1;
        let number = asked.last;
        // Queued under the lock, so that numbers ascend on the wire.
        self.queue_frame(frame_of(request, number))?;
        asked.waiting.insert(number, sender);
        Ok(receiver)
    }

    /// Queues a request that wants no answer.
    ///
    /// # Errors
    /// It was not queued.
    pub(super) fn tell(&self, request: Request) -> Result<(), CallError> {
        self.queue_frame(frame_of(request, 0))
    }

    /// Queues an answer, and waits for room.
    pub(super) async fn answer(&self, frame: Frame) {
        self.queued_bytes.fetch_add(frame.body.len(), Ordering::Relaxed);
        // Where the connection has ended, nobody waits for it.
        let _ = self.queue.send(frame).await;
    }

    /// Hands an answer to who asked; one that nobody waits for any more is dropped.
    pub(super) fn answered(&self, frame: Frame) {
        let Some(waiting) = self.asked.lock().waiting.remove(&frame.request) else { return };
        let node = self.node;
        let outcome = match frame.role {
            Role::Answer => Ok(frame.body),
            Role::Request | Role::Refusal => {
                Err(CallError::Refused { node, refusal: Refusal::decode(&frame.body) })
            }
        };
        let _ = waiting.send(outcome);
    }

    fn queue_frame(&self, frame: Frame) -> Result<(), CallError> {
        let bytes = frame.body.len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // What is alone in the queue goes, however long it is.
        let outcome = if queued > 0 && queued + bytes > queue_bytes_max(self.channel) {
            Err(CallError::Full(self.node))
        } else {
            self.queue.try_send(frame).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CallError::Full(self.node),
                mpsc::error::TrySendError::Closed(_) => CallError::NotConnected(self.node),
            })
        };
        if outcome.is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        outcome
    }
}

impl Queue {
    /// The next frame, once there is one; `None` where none will ever be.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        let frame = self.frames.recv().await?;
        Some(self.taken(frame))
    }

    /// The next frame, if one waits.
    pub(super) fn waiting(&mut self) -> Option<Frame> {
        let frame = self.frames.try_recv().ok()?;
        Some(self.taken(frame))
    }

    fn taken(&self, frame: Frame) -> Frame {
        self.bytes.fetch_sub(frame.body.len(), Ordering::Relaxed);
        frame
    }
}

/// The connection has ended: what was not sent surely was not, of the rest nobody knows.
impl Drop for Queue {
    fn drop(&mut self) {
        self.frames.close();
        let mut asked = self.asked.lock();
        asked.ended = true;
        while let Ok(frame) = self.frames.try_recv() {
            if frame.role == Role::Request
                && let Some(waiting) = asked.waiting.remove(&frame.request)
            {
                let _ = waiting.send(Err(CallError::NotConnected(self.node)));
            }
        }
        for waiting in std::mem::take(&mut asked.waiting).into_values() {
            let _ = waiting.send(Err(CallError::Lost(self.node)));
        }
    }
}

fn frame_of(request: Request, number: u64) -> Frame {
    let Request { kind, group, incarnation, body } = request;
    Frame { kind, role: Role::Request, group, incarnation, request: number, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, transport::Kind};
    use oribi_store::log::GroupId;

    fn request(bytes: usize) -> Request {
        let (group, incarnation, body) = (GroupId(1), Incarnation(0), vec![1; bytes].into());
        Request { kind: Kind::Append, group, incarnation, body }
    }

    #[tokio::test]
    async fn what_was_not_sent_is_told_from_what_may_have_been() {
        let (calls, mut queue) = Calls::new(NodeId(2), Channel::Raft);
        let (sent, queued) = (calls.ask(request(9)).unwrap(), calls.ask(request(9)).unwrap());
        assert_eq!(queue.next().await.unwrap().request, 1);
        drop(queue);
        assert_eq!(sent.await.unwrap(), Err(CallError::Lost(NodeId(2))));
        assert_eq!(queued.await.unwrap(), Err(CallError::NotConnected(NodeId(2))));
        for error in [calls.ask(request(9)).unwrap_err(), calls.tell(request(9)).unwrap_err()] {
            assert_eq!(error, CallError::NotConnected(NodeId(2)));
        }
    }

    #[tokio::test]
    async fn a_queue_is_bounded_by_frames_and_by_bytes() {
        let full = CallError::Full(NodeId(2));
        let (calls, mut queue) = Calls::new(NodeId(2), Channel::Bulk);
        calls.tell(request(40 << 20)).unwrap();
        assert_eq!(calls.tell(request(1)).unwrap_err(), full, "it is alone, however long");
        assert_eq!(queue.next().await.unwrap().body.len(), 40 << 20);
        for _ in 0..QUEUE_FRAMES_MAX {
            calls.tell(request(1)).unwrap();
        }
        assert_eq!(calls.ask(request(1)).unwrap_err(), full);
        assert!(queue.waiting().is_some());
        calls.ask(request(1)).unwrap();
    }
}
