//! The node as a feed of committed rows.

use super::{
    Node,
    hosting::{Hosted, group_of},
    view::unreadable,
};
use crate::{
    Error, Result,
    command::Body,
    route::scan::{self, AsOf, Wish},
};
use oribi_model::{BatchIter, Committed, Feed, LogIndex, RowBatch, TableId, TabletId};

impl Feed for Node {
    fn tablets(&self, table: TableId) -> Vec<TabletId> {
        let catalog = self.catalog();
        let ids = catalog.tablets_of(table).iter().map(|tablet| tablet.id);
        let may_hold =
            |id: &TabletId| self.hosting.get(*id).is_some() || self.hosting.is_elsewhere(*id);
        ids.filter(may_hold).collect()
    }

    fn is_near(&self, tablet: TabletId) -> bool {
        !self.hosting.is_elsewhere(tablet)
    }

    fn committed(
        &self,
        tablet: TabletId,
        place: u64,
        bytes_max: usize,
    ) -> oribi_model::Result<Option<Committed>> {
        let found = match self.is_near(tablet) {
            true => self.committed_here(tablet, place, bytes_max),
            false => self.committed_elsewhere(tablet, place),
        };
        found.map_err(|error| unreadable(tablet, &error))
    }
}

impl Node {
    /// What a replica that is here has committed from a place on. Reads files.
    pub(super) fn committed_here(
        &self,
        tablet: TabletId,
        place: u64,
        bytes_max: usize,
    ) -> Result<Option<Committed>> {
        let here = match self.hosting.is_elsewhere(tablet) {
            true => None,
            false => self.hosting.get(tablet),
        };
        match here {
            Some(hosted) => committed(&hosted, place, bytes_max),
            // Passed over, its rows would be missing for ever.
            None => match self.hosting.reason_absent(tablet) {
                Some(reason) => Err(Error::Unavailable { group: group_of(tablet).0, reason }),
                None => Ok(None),
            },
        }
    }

    /// Asks one of the nodes that have a tablet. Blocks.
    fn committed_elsewhere(&self, tablet: TabletId, place: u64) -> Result<Option<Committed>> {
        let wish = Wish::Committed { tablet, place };
        let opened = self.block_on(move |node| async move {
            node.open_parts(tablet, &wish, AsOf::default()).await
        });
        let mut parts = opened?;
        let Some(next) = parts.next().transpose()? else { return Ok(None) };
        let from = parts.from();
        let wrong = move || Error::Read(format!("node {from} sent rows that cannot be read"));
        let next = u64::from_le_bytes(next[..].try_into().map_err(|_| wrong())?);
        let rows = parts.map(move |part| {
            let rows = part.and_then(|part| scan::decode_rows(&part).ok_or_else(wrong));
            rows.map_err(|error| unreadable(tablet, &error))
        });
        Ok(Some(Committed { rows: Box::new(rows), next }))
    }
}

/// From the log, or from a segment where the log has let the entries go.
fn committed(hosted: &Hosted, place: u64, bytes_max: usize) -> Result<Option<Committed>> {
    if let Some((commands, next)) = hosted.replica.committed(place, bytes_max)? {
        let rows = commands.into_iter().filter_map(|command| match command.body() {
            Body::Rows(batch) => Some(Ok(RowBatch::clone(batch))),
            Body::Delete(_) | Body::Change(_) => None,
        });
        let rows: BatchIter = Box::new(rows);
        return Ok((next > place).then_some(Committed { rows, next }));
    }
    let segment = hosted.tablet.segment_from(LogIndex(place))?;
    if let Some(segment) = segment {
        return Ok(Some(Committed { rows: segment.rows, next: segment.last.0 + 1 }));
    }
    // What was flushed held no rows, or they are gone.
    let next = hosted.tablet.flushed().map_or(place, |flushed| flushed.index.0 + 1);
    let rows: BatchIter = Box::new(std::iter::empty());
    Ok((next > place).then_some(Committed { rows, next }))
}
