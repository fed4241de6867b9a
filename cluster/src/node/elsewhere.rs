//! Rows of tablets that only other nodes have, asked of one of them piece by piece.

use super::{CATALOG_GROUP, Node, hosting::group_of, parts::RemoteParts, view::View};
use crate::{
    Error, Incarnation, Result,
    route::scan::{self, AsOf, Holds, Piece, Question, Wish},
    transport::{Kind, Request},
};
use bytes::Bytes;
use futures::future::join_all;
use oribi_model::{Block, NodeId, Place, ScanSpec, TableId, TabletId, TabletSpec, TimeRange};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long one of the nodes that have a tablet is looked for.
const SEEK_WAIT: Duration = Duration::from_secs(2);
/// Before all of them are asked again.
const SEEK_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of an answer that takes several pieces, about.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long a piece may take.
const PIECE_WAIT: Duration = Duration::from_secs(10);

/// The blocks of a tablet that another node reads.
pub(super) struct RemoteBlocks {
    parts: RemoteParts,
    tablet: TabletId,
    spec: Arc<ScanSpec>,
    ready: VecDeque<Block>,
}

impl Node {
    /// Opens scans of tablets that are not here, all at once, as of now. Blocks.
    ///
    /// # Errors
    /// The first one that no node could be asked for, and why.
    pub(super) fn open_elsewhere(
        &self,
        tablets: Vec<TabletId>,
        spec: &Arc<ScanSpec>,
        as_of: AsOf,
    ) -> Result<Vec<(TabletId, RemoteBlocks)>, (TabletId, Error)> {
        let Some(first) = tablets.first().copied() else { return Ok(Vec::new()) };
        let asked = spec.clone();
        let opened = self.block_on(|node| async move {
            let open = |tablet| {
                let (node, spec) = (node.clone(), asked.clone());
                async move { (tablet, node.open_one(tablet, spec, as_of).await) }
            };
            Ok(join_all(tablets.into_iter().map(open)).await)
        });
        let opened = opened.map_err(|error| (first, error))?.into_iter();
        let of_tablet = |(tablet, outcome): (TabletId, Result<_>)| match outcome {
            Ok(blocks) => Ok((tablet, blocks)),
            Err(error) => Err((tablet, error)),
        };
        opened.map(of_tablet).collect()
    }

    /// Tablets of a table that are not here, by the node that is asked about them.
    pub(super) fn places_of(&self, table: TableId, time: TimeRange) -> Vec<Place> {
        let catalog = self.catalog();
        let mut by_node = BTreeMap::<NodeId, Vec<TabletId>>::new();
        let tablets = catalog.tablets_of(table).iter().filter(|tablet| tablet.range.overlaps(time));
        for tablet in tablets.filter(|tablet| self.hosting.is_elsewhere(tablet.id)) {
            if let Some(node) = self.nodes_of(tablet.id).first() {
                by_node.entry(*node).or_default().push(tablet.id);
            }
        }
        by_node.into_iter().map(|(node, tablets)| Place { node, tablets }).collect()
    }

    /// Has another node answer about tablets of it. Blocks.
    pub(super) fn ask_place(
        &self,
        view: &View,
        place: &Place,
        question: &[u8],
    ) -> oribi_model::Result<Vec<u8>> {
        let (from, question, as_of) = (place.node, Bytes::copy_from_slice(question), view.as_of);
        let wish = Wish::Answer { tablets: place.tablets.clone(), question };
        let whole = self.block_on(|node| async move { node.whole_answer(from, wish, as_of).await });
        let (answer, age) = whole.map_err(|error| {
            let tablet = place.tablets.first().copied().unwrap_or_default();
            oribi_model::Error::Unreadable { tablet, reason: error.to_string() }
        })?;
        view.note(from, place.tablets.iter().copied(), age);
        Ok(answer)
    }

    async fn whole_answer(
        &self,
        from: NodeId,
        wish: Wish,
        as_of: AsOf,
    ) -> Result<(Vec<u8>, Duration)> {
        let (mut answer, mut oldest) = (Vec::new(), Duration::ZERO);
        let mut piece = self.ask(from, &wish, as_of).await?;
        while let Piece::Blocks { blocks, more, age } = piece {
            oldest = oldest.max(age);
            blocks.iter().for_each(|part| answer.extend_from_slice(part));
            let Some(scan) = more else { return Ok((answer, oldest)) };
            if answer.len() > ANSWER_BYTES_MAX {
                // Where that does not get there, it ends by itself.
                let _ = self.ask(from, &Wish::Close(scan), as_of).await;
                break;
            }
            piece = self.ask(from, &Wish::Fetch(scan), as_of).await?;
        }
        Err(Error::Read(format!("node {from}: its answer is too long")))
    }

    /// How much tablets hold that are not here; `None` where no answer came. Blocks.
    pub(super) fn stats_elsewhere<'a>(
        &self,
        tablets: &[&'a TabletSpec],
        as_of: AsOf,
    ) -> Vec<(&'a TabletSpec, Option<Holds>)> {
        let mut by_node = BTreeMap::<NodeId, Vec<TabletId>>::new();
        for tablet in tablets {
            let first = self.nodes_of(tablet.id).first().copied();
            by_node.entry(first.unwrap_or(self.hosting.node)).or_default().push(tablet.id);
        }
        let asked = move |node: Arc<Node>| async move {
            let ask = |(from, tablets)| node.stats_at(from, tablets, as_of);
            Ok(join_all(by_node.into_iter().map(ask)).await)
        };
        let told = match tablets.is_empty() {
            true => Vec::new(),
            false => self.block_on(asked).unwrap_or_default(),
        };
        let told: HashMap<TabletId, Holds> = told.into_iter().flatten().collect();
        tablets.iter().map(|tablet| (*tablet, told.get(&tablet.id).copied())).collect()
    }

    async fn stats_at(
        &self,
        from: NodeId,
        tablets: Vec<TabletId>,
        as_of: AsOf,
    ) -> Vec<(TabletId, Holds)> {
        let answer = self.ask(from, &Wish::Stats(tablets.clone()), as_of).await;
        let Ok(Piece::Blocks { blocks, .. }) = answer else { return Vec::new() };
        let told = blocks.into_iter().map(scan::decode_hold);
        tablets.into_iter().zip(told).filter_map(|(tablet, holds)| Some((tablet, holds?))).collect()
    }

    async fn open_one(
        self: Arc<Node>,
        tablet: TabletId,
        spec: Arc<ScanSpec>,
        as_of: AsOf,
    ) -> Result<RemoteBlocks> {
        let wish = Wish::Open(Question::of(tablet, &spec));
        let parts = self.open_parts(tablet, &wish, as_of).await?;
        Ok(RemoteBlocks { parts, tablet, spec, ready: VecDeque::new() })
    }

    /// Asks one of the nodes that have a tablet, and the next one where that fails.
    pub(super) async fn open_parts(
        self: Arc<Node>,
        tablet: TabletId,
        wish: &Wish,
        as_of: AsOf,
    ) -> Result<RemoteParts> {
        let deadline = Instant::now() + SEEK_WAIT;
        loop {
            let mut reason = "no node has it".to_owned();
            for from in self.nodes_of(tablet) {
                match RemoteParts::open(self.clone(), from, wish, as_of).await {
                    Ok(parts) => return Ok(parts),
                    Err(error) => reason = error.to_string(),
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::Unavailable { group: group_of(tablet).0, reason });
            }
            tokio::time::sleep(SEEK_PAUSE).await;
        }
    }

    /// Asks a node for a piece of a scan. Another one may be asked after any error.
    pub(super) async fn ask(&self, from: NodeId, wish: &Wish, as_of: AsOf) -> Result<Piece> {
        let (kind, group, incarnation) = (Kind::Ask, CATALOG_GROUP, Incarnation(0));
        let body = wish.encode(as_of);
        let call = self.routes.network.call(from, Request { kind, group, incarnation, body });
        let failed = |reason: String| Error::Read(format!("node {from}: {reason}"));
        let answer = timeout(PIECE_WAIT, call).await;
        let answer = answer.map_err(|_| failed("it did not answer in time".into()))?;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        match Piece::decode(answer) {
            Some(Piece::Failed(reason)) => Err(failed(reason)),
            Some(piece) => Ok(piece),
            None => Err(failed("its answer cannot be read".into())),
        }
    }
}

impl RemoteBlocks {
    /// Which node reads them.
    pub(super) fn from(&self) -> NodeId {
        self.parts.from()
    }

    /// How old they may be.
    pub(super) fn age(&self) -> Duration {
        self.parts.age()
    }

    fn advance(&mut self) -> Result<Option<Block>> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                return Ok(Some(block));
            }
            let Some(part) = self.parts.next().transpose()? else { return Ok(None) };
            let unreadable =
                || Error::Read(format!("node {} sent a block that is none", self.from()));
            let block = scan::decode_block(&part, &self.spec.columns).ok_or_else(unreadable)?;
            self.ready.extend(scan::wanted(block, &self.spec.series));
        }
    }
}

impl Iterator for RemoteBlocks {
    type Item = oribi_model::Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = self.advance();
        let tablet = self.tablet;
        let unreadable =
            |error: Error| oribi_model::Error::Unreadable { tablet, reason: error.to_string() };
        outcome.map_err(unreadable).transpose()
    }
}
