//! What another node sends in pieces, part by part.

use super::Node;
use crate::{
    Error, Result,
    route::scan::{AsOf, Piece, Wish},
};
use bytes::Bytes;
use oribi_model::NodeId;
use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    time::Duration,
};

/// The parts of an answer, in order. The next piece is asked for before it is wanted.
pub(super) struct RemoteParts {
    node: Arc<Node>,
    from: NodeId,
    ready: VecDeque<Bytes>,
    /// The number of the scan, as long as there is more.
    more: Option<u64>,
    age: Duration,
    /// The next piece, which was asked for already.
    coming: Option<mpsc::Receiver<Result<Piece>>>,
}

impl RemoteParts {
    /// Asks a node and waits for the first piece.
    ///
    /// # Errors
    /// [`Error::Read`]: another node may be asked.
    pub(super) async fn open(
        node: Arc<Node>,
        from: NodeId,
        wish: &Wish,
        as_of: AsOf,
    ) -> Result<RemoteParts> {
        let first = node.ask(from, wish, as_of).await?;
        let (ready, age) = Default::default();
        let mut parts = RemoteParts { node, from, ready, more: None, age, coming: None };
        parts.accept(first)?;
        Ok(parts)
    }

    /// Which node sends them.
    pub(super) fn from(&self) -> NodeId {
        self.from
    }

    /// How old what was read for them may be.
    pub(super) fn age(&self) -> Duration {
        self.age
    }

    fn accept(&mut self, piece: Piece) -> Result<()> {
        let Piece::Blocks { blocks, more, age } = piece else { return Ok(()) };
        self.more = more;
        self.age = self.age.max(age);
        if let Some(scan) = more {
            self.coming = Some(self.fetch(scan)?);
        }
        self.ready.extend(blocks);
        Ok(())
    }

    fn fetch(&self, scan: u64) -> Result<mpsc::Receiver<Result<Piece>>> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (node, from) = (self.node.clone(), self.from);
        let runtime = self.node.routes.runtime.clone().ok_or(Error::Stopping)?;
        runtime.spawn(async move {
            // Nobody may want it any more.
            let _ = sender.send(node.ask(from, &Wish::Fetch(scan), AsOf::default()).await);
        });
        Ok(receiver)
    }

    fn advance(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Ok(Some(part));
            }
            let Some(coming) = self.coming.take() else { return Ok(None) };
            let piece = coming.recv().unwrap_or(Err(Error::Stopping));
            if piece.is_err() {
                self.more = None;
            }
            self.accept(piece?)?;
        }
    }
}

/// Blocks.
impl Iterator for RemoteParts {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// Nobody wants more of it: the other node need not keep it.
impl Drop for RemoteParts {
    fn drop(&mut self) {
        let (Some(scan), Some(runtime)) = (self.more, &self.node.routes.runtime) else { return };
        let (node, from) = (self.node.clone(), self.from);
        // Where that does not get there, the scan ends by itself.
        runtime
            .spawn(async move { drop(node.ask(from, &Wish::Close(scan), AsOf::default()).await) });
    }
}
