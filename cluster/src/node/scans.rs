//! Scans of tablets that are here, for nodes that do not have them: each is read on as far as
//! another piece is asked for.

use super::{Node, hosting::group_of, maintain::blocking, question::AskedNode, view::Only};
use crate::{
    Error, Result,
    route::scan::{self, AsOf, Holds, Piece, Question, Wish},
    transport::Refusal,
};
use bytes::Bytes;
use oribi_model::{Block, BlockIter, NodeId, TabletId};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Scans that are open for other nodes at once.
const OPEN_MAX: usize = 1_024;
/// A scan of which nobody has asked more for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes of blocks in one answer, and of one part of a block.
const PIECE_BYTES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// A node with too many scans may be asked again after a second.
const BUSY: Refusal = Refusal::Busy { retry_after_ms: 1_000 };

/// The scans of a node that are open for others.
#[derive(Default)]
pub(super) struct Scans {
    open: Mutex<HashMap<u64, Open>>,
    last: AtomicU64,
}

/// Parts of blocks, each short enough for an answer.
type Parts = Box<dyn Iterator<Item = Result<Bytes>> + Send>;

struct Open {
    /// Who has asked: numbers of others are nothing to it.
    by: NodeId,
    /// `None` while a piece is read.
    parts: Option<Parts>,
    used: Instant,
}

impl Scans {
    /// How many are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Closes those that nobody asks for any more.
    pub(super) fn sweep(&self) {
        self.open.lock().retain(|_, open| open.used.elapsed() < IDLE_MAX);
    }

    fn begin(&self, by: NodeId) -> Option<u64> {
        self.sweep();
        let mut open = self.open.lock();
        if open.len() >= OPEN_MAX {
            return None;
        }
        let scan = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        open.insert(scan, Open { by, parts: None, used: Instant::now() });
        Some(scan)
    }

    fn take(&self, scan: u64, by: NodeId) -> Option<Parts> {
        let mut open = self.open.lock();
        let found = open.get_mut(&scan).filter(|open| open.by == by)?;
        found.used = Instant::now();
        found.parts.take()
    }

    /// Puts back what is left, unless it was closed meanwhile.
    fn put(&self, scan: u64, parts: Parts) {
        if let Some(open) = self.open.lock().get_mut(&scan) {
            (open.parts, open.used) = (Some(parts), Instant::now());
        }
    }

    fn close(&self, scan: u64, by: NodeId) {
        let mut open = self.open.lock();
        if open.get(&scan).is_some_and(|open| open.by == by) {
            open.remove(&scan);
        }
    }
}

impl Node {
    /// Answers another node's question about a tablet.
    pub(super) async fn answer_scan(
        self: Arc<Node>,
        by: NodeId,
        body: Bytes,
    ) -> Result<Bytes, Refusal> {
        let (as_of, wish) = Wish::decode(&body).ok_or(Refusal::Malformed)?;
        let piece = match wish {
            Wish::Close(scan) => {
                self.scans.close(scan, by);
                whole(Vec::new())
            }
            Wish::Sound => {
                let node = self.clone();
                let report = blocking(move || Ok(node.report().encode())).await;
                report.map_or_else(failed, |report| whole(vec![report]))
            }
            Wish::SoundNews(tablets) => {
                let node = self.clone();
                let report = blocking(move || Ok(node.news(&tablets).encode())).await;
                report.map_or_else(failed, |report| whole(vec![report]))
            }
            Wish::SoundOf(tablets) => whole(vec![self.report_of(&tablets).encode()]),
            Wish::GiveUp(tablets) => whole(vec![self.give_up(&tablets).await.encode()]),
            Wish::Follow(catalog) => match self.let_go_of_dropped(catalog).await {
                Ok(()) => whole(Vec::new()),
                Err(error) => failed(error),
            },
            Wish::Stats(tablets) => {
                let node = self.clone();
                let holds = blocking(move || node.holds(&tablets, as_of)).await;
                holds.map_or_else(failed, |holds| whole(scan::encode_holds(&holds)))
            }
            Wish::Answer { tablets, question } => {
                let scan = self.scans.begin(by).ok_or(BUSY)?;
                let read = self.clone().answer_of(tablets, question, as_of).await;
                self.first_piece(scan, by, read).await
            }
            Wish::Open(question) => {
                let scan = self.scans.begin(by).ok_or(BUSY)?;
                let read = self.clone().open_scan(question, as_of).await;
                self.first_piece(scan, by, read).await
            }
            Wish::Committed { tablet, place } => {
                let scan = self.scans.begin(by).ok_or(BUSY)?;
                let read = self.clone().open_committed(tablet, place).await;
                self.first_piece(scan, by, read).await
            }
            Wish::Fetch(scan) => match self.scans.take(scan, by) {
                Some(parts) => self.next_piece(scan, by, parts).await,
                None => Piece::Failed("the scan was closed, since nobody asked for more".into()),
            },
        };
        Ok(piece.encode())
    }

    /// What the answerer makes of a question about tablets that are here, and how old what it has
    /// read may be.
    async fn answer_of(
        self: Arc<Node>,
        tablets: Vec<TabletId>,
        question: Bytes,
        as_of: AsOf,
    ) -> Result<(Parts, Duration)> {
        let Some(answerer) = self.answerer.lock().clone() else {
            return Err(Error::Read("nobody answers here".into()));
        };
        blocking(move || {
            let only = Only::These(tablets.iter().copied().collect());
            let shown = Arc::new(AskedNode::new(self.clone(), only, as_of));
            shown.begin(&tablets)?;
            let answer = answerer.answer(&question, shown.clone()).map_err(Error::Read)?;
            let answer = Bytes::from(answer);
            let starts = (0..answer.len()).step_by(PIECE_BYTES);
            let part =
                move |start: usize| Ok(answer.slice(start..answer.len().min(start + PIECE_BYTES)));
            let parts: Parts = Box::new(starts.map(part));
            Ok((parts, shown.age()))
        })
        .await
    }

    /// Blocks.
    fn holds(self: Arc<Node>, tablets: &[TabletId], as_of: AsOf) -> Result<Vec<Holds>> {
        AskedNode::new(self.clone(), Only::Here, as_of).make_current(tablets)?;
        let holds = tablets.iter().map(|tablet| {
            if let Some(reason) = self.hosting.reason_absent(*tablet) {
                return Err(Error::Unavailable { group: group_of(*tablet).0, reason });
            }
            let stats = self.hosting.get(*tablet).map(|hosted| hosted.tablet.stats());
            Ok(stats.map_or((0, 0, None), |stats| (stats.rows, stats.bytes, stats.time)))
        });
        holds.collect()
    }

    /// The rows as of now: whatever was acked before the question is among them.
    async fn open_scan(
        self: Arc<Node>,
        question: Question,
        as_of: AsOf,
    ) -> Result<(Parts, Duration)> {
        let tablet = question.tablet;
        // Whoever asks may know of a tablet that this node has not heard of yet.
        if self.catalog().tablet(tablet).is_none() {
            self.catalog_now().await?;
        }
        blocking(move || {
            let asked = AskedNode::new(self.clone(), Only::Here, as_of);
            asked.make_current(&[tablet])?;
            let Some(hosted) = self.hosting.get(tablet) else {
                return match self.hosting.reason_absent(tablet) {
                    Some(reason) => Err(Error::Unavailable { group: group_of(tablet).0, reason }),
                    // Nothing was ever written to it.
                    None => Ok((Box::new(std::iter::empty()) as Parts, asked.age())),
                };
            };
            let parts = hosted.tablet.scan(&question.spec(), 1)?;
            Ok((encoded(Box::new(parts.into_iter().flatten())), asked.age()))
        })
        .await
    }

    /// What was committed here, which may be less than what its leader knows to be.
    async fn open_committed(
        self: Arc<Node>,
        tablet: TabletId,
        place: u64,
    ) -> Result<(Parts, Duration)> {
        blocking(move || {
            let found = self.committed_here(tablet, place, PIECE_BYTES)?;
            let parts: Parts = match found {
                None => Box::new(std::iter::empty()),
                Some(found) => {
                    let next = Bytes::copy_from_slice(&found.next.to_le_bytes());
                    let rows = found.rows.flat_map(|batch| match batch {
                        Ok(batch) => {
                            scan::encode_rows(&batch, PIECE_BYTES).into_iter().map(Ok).collect()
                        }
                        Err(error) => vec![Err(Error::Read(error.to_string()))],
                    });
                    Box::new(std::iter::once(Ok(next)).chain(rows))
                }
            };
            Ok((parts, Duration::ZERO))
        })
        .await
    }

    /// The first piece of what was opened under this number.
    async fn first_piece(&self, scan: u64, by: NodeId, read: Result<(Parts, Duration)>) -> Piece {
        let (parts, oldest) = match read {
            Ok(read) => read,
            Err(error) => {
                self.scans.close(scan, by);
                return failed(error);
            }
        };
        match self.next_piece(scan, by, parts).await {
            Piece::Blocks { blocks, more, .. } => Piece::Blocks { blocks, more, age: oldest },
            failed => failed,
        }
    }

    async fn next_piece(&self, scan: u64, by: NodeId, parts: Parts) -> Piece {
        match blocking(move || read_piece(parts)).await {
            Ok((blocks, Some(rest))) => {
                self.scans.put(scan, rest);
                Piece::Blocks { blocks, more: Some(scan), age: Duration::ZERO }
            }
            Ok((blocks, None)) => {
                self.scans.close(scan, by);
                whole(blocks)
            }
            Err(error) => {
                self.scans.close(scan, by);
                failed(error)
            }
        }
    }
}

/// An answer that nothing follows.
fn whole(blocks: Vec<Bytes>) -> Piece {
    Piece::Blocks { blocks, more: None, age: Duration::ZERO }
}

fn failed(error: Error) -> Piece {
    Piece::Failed(error.to_string())
}

/// The blocks of a scan as they travel.
fn encoded(blocks: BlockIter) -> Parts {
    let parts = |block: oribi_model::Result<Block>| match block {
        Ok(block) => scan::encode_block(&block, PIECE_BYTES).into_iter().map(Ok).collect(),
        Err(error) => vec![Err(Error::Read(error.to_string()))],
    };
    Box::new(blocks.flat_map(parts))
}

/// As many parts as make a piece, and what is left, if anything is. Blocks.
fn read_piece(mut parts: Parts) -> Result<(Vec<Bytes>, Option<Parts>)> {
    let (mut piece, mut bytes) = (Vec::new(), 0);
    while bytes < PIECE_BYTES {
        let Some(part) = parts.next().transpose()? else { return Ok((piece, None)) };
        bytes += part.len();
        piece.push(part);
    }
    Ok((piece, Some(parts)))
}
