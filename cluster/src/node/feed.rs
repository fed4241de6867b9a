//! The node as a feed of committed rows.

use super::Node;
use crate::{Result, command::Body, node::hosting::Hosted};
use oribi_model::{BatchIter, Committed, Feed, LogIndex, RowBatch, TableId, TabletId};

const ELSEWHERE: &str = "it is only on other nodes";

impl Feed for Node {
    fn tablets(&self, table: TableId) -> Vec<TabletId> {
        let catalog = self.catalog();
        let ids = catalog.tablets_of(table).iter().map(|tablet| tablet.id);
        let may_hold =
            |id: &TabletId| self.hosting.get(*id).is_some() || self.hosting.is_elsewhere(*id);
        ids.filter(may_hold).collect()
    }

    fn committed(
        &self,
        tablet: TabletId,
        place: u64,
        bytes_max: usize,
    ) -> oribi_model::Result<Option<Committed>> {
        let Some(hosted) = self.hosting.get(tablet) else {
            // Passed over, its rows would be missing for ever.
            return match self.hosting.is_elsewhere(tablet) {
                true => Err(oribi_model::Error::Unreadable { tablet, reason: ELSEWHERE.into() }),
                false => Ok(None),
            };
        };
        committed(&hosted, place, bytes_max)
            .map_err(|error| oribi_model::Error::Unreadable { tablet, reason: error.to_string() })
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
