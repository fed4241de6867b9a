//! What waits to be sent to other nodes: all that one task asks for in one go leaves in one frame.

use crate::route::wire::{Encoded, Part, Said};
use oribi_model::NodeId;
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::{sync::oneshot, task};

/// Where the letters of one task to one node lie: those of another would make it wait for more
/// answers than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Desk {
    pub(super) to: NodeId,
    task: Option<task::Id>,
}

impl Desk {
    /// That of the present task.
    pub(super) fn here(to: NodeId) -> Desk {
        Desk { to, task: task::try_id() }
    }
}

/// A part of a request, and who waits for its answer.
pub(super) struct Letter<P> {
    pub(super) part: Part<P>,
    pub(super) answer: oneshot::Sender<Reply>,
}

/// What came back for a part.
pub(super) enum Reply {
    Said(Said),
    /// It was surely not taken.
    NotTaken,
    /// Nobody knows what became of it.
    Lost(String),
}

/// The letters to other nodes, of each kind of request.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) commands: Letters<Encoded>,
    pub(super) reads: Letters<()>,
}

impl Outbox {
    /// Throws away what nobody waits for any more, when the guard goes.
    pub(super) fn swept(&self, desk: Desk) -> Swept<'_> {
        Swept { outbox: self, desk }
    }
}

/// Sweeps a desk at its end, so that what a task gave up is not sent with what it asks later.
pub(super) struct Swept<'a> {
    outbox: &'a Outbox,
    desk: Desk,
}

impl Drop for Swept<'_> {
    fn drop(&mut self) {
        self.outbox.commands.sweep(self.desk);
        self.outbox.reads.sweep(self.desk);
    }
}

/// Letters of one kind.
pub(super) struct Letters<P>(Mutex<HashMap<Desk, Vec<Letter<P>>>>);

impl<P> Default for Letters<P> {
    fn default() -> Letters<P> {
        Letters(Mutex::default())
    }
}

impl<P> Letters<P> {
    /// Puts a letter down; gives where its answer comes.
    pub(super) fn put(&self, desk: Desk, part: Part<P>) -> oneshot::Receiver<Reply> {
        let (answer, receiver) = oneshot::channel();
        self.0.lock().entry(desk).or_default().push(Letter { part, answer });
        receiver
    }

    fn sweep(&self, desk: Desk) {
        let mut all = self.0.lock();
        let Some(waiting) = all.get_mut(&desk) else { return };
        waiting.retain(|letter| !letter.answer.is_closed());
        if waiting.is_empty() {
            all.remove(&desk);
        }
    }

    /// Takes what lies there, cut into frames; nothing where another future of the task took it.
    pub(super) fn take(
        &self,
        desk: Desk,
        bytes_max: usize,
        bytes_of: impl Fn(&P) -> usize,
    ) -> Vec<Vec<Letter<P>>> {
        let letters = self.0.lock().remove(&desk).unwrap_or_default();
        let letters = letters.into_iter().filter(|letter| !letter.answer.is_closed());
        let (mut frames, mut frame, mut bytes) = (Vec::new(), Vec::new(), 0);
        for letter in letters {
            let more = bytes_of(&letter.part.what);
            if !frame.is_empty() && bytes + more > bytes_max {
                frames.push(std::mem::take(&mut frame));
                bytes = 0;
            }
            bytes += more;
            frame.push(letter);
        }
        if !frame.is_empty() {
            frames.push(frame);
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Incarnation;
    use bytes::Bytes;
    use oribi_store::log::GroupId;

    #[test]
    fn what_waits_for_a_node_is_taken_once_and_cut_by_bytes() {
        let letters = Letters::<Encoded>::default();
        let part = |group: u64, bytes: usize| {
            let (group, incarnation) = (GroupId(group), Incarnation(0));
            Part { group, incarnation, what: Bytes::from(vec![0; bytes]) }
        };
        let desk = |node| Desk { to: NodeId(node), task: None };
        let answers: Vec<_> = [(1, 4), (2, 4), (3, 20), (4, 1)]
            .map(|(group, bytes)| letters.put(desk(2), part(group, bytes)))
            .into();
        let _other = letters.put(desk(3), part(5, 1));
        let frames = letters.take(desk(2), 8, Bytes::len);
        let groups = |frame: &Vec<Letter<_>>| {
            frame.iter().map(|letter| letter.part.group.0).collect::<Vec<_>>()
        };
        assert_eq!(frames.iter().map(groups).collect::<Vec<_>>(), [vec![1, 2], vec![3], vec![4]]);
        assert!(letters.take(desk(2), 8, Bytes::len).is_empty());
        assert_eq!(letters.take(desk(3), 8, Bytes::len).len(), 1);
        drop(frames);
        assert!(answers.into_iter().all(|mut answer| answer.try_recv().is_err()));
    }

    #[tokio::test]
    async fn what_a_task_gave_up_is_not_sent_later() {
        let outbox = Outbox::default();
        let desk = Desk::here(NodeId(2));
        let part = Part { group: GroupId(1), incarnation: Incarnation(0), what: Bytes::new() };
        let swept = outbox.swept(desk);
        drop(outbox.commands.put(desk, part.clone()));
        let kept = outbox.commands.put(desk, part);
        drop(swept);
        assert_eq!(outbox.commands.0.lock()[&desk].len(), 1);
        drop(kept);
        assert!(outbox.commands.take(desk, 8, Bytes::len).is_empty());
        assert!(outbox.commands.0.lock().is_empty());
    }
}
