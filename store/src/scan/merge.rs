//! Merges the sources of each series and cuts the outcome into blocks.

use super::{
    bounds::{BLOCK_BYTES, BLOCK_ROWS_MAX, CELL_BYTES, WHOLE_ROWS_MIN},
    cursor::Cursor,
    piece::Piece,
    plan::PlanSeries,
};
use crate::{
    Error, Result,
    gather::{Picks, concat, gather},
    manifest::Delete,
    text,
};
use oribi_model::{Block, ColumnRead, Run, SeriesKey, TabletId, TimeRange};

pub(super) struct Merge {
    tablet: TabletId,
    cursors: Vec<(Cursor, Vec<Delete>)>,
    plan: std::vec::IntoIter<PlanSeries>,
    columns: Vec<ColumnRead>,
    series: Option<SeriesKey>,
    /// The oldest source first.
    heads: Vec<Head>,
    held: Vec<(SeriesKey, Piece)>,
    held_rows: usize,
    held_bytes: usize,
    failed: bool,
}

/// A source that has the current series.
struct Head {
    cursor: usize,
    hidden: Vec<TimeRange>,
    piece: Option<Piece>,
}

impl Iterator for Merge {
    type Item = oribi_model::Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            match self.next_piece() {
                Ok(Some((series, piece))) => {
                    let whole = piece.rows().max(self.held_rows) >= WHOLE_ROWS_MIN;
                    let full = whole
                        || self.held_rows + piece.rows() > BLOCK_ROWS_MAX
                        || self.held_bytes >= BLOCK_BYTES;
                    let block = if full { self.emit() } else { None };
                    self.held_rows += piece.rows();
                    self.held_bytes += bytes_of(&piece);
                    self.held.push((series, piece));
                    if block.is_some() {
                        return block.map(Ok);
                    }
                }
                Ok(None) => return self.emit().map(Ok),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(self.translate(error)));
                }
            }
        }
    }
}

impl Merge {
    pub(super) fn new(
        tablet: TabletId,
        cursors: Vec<(Cursor, Vec<Delete>)>,
        plan: Vec<PlanSeries>,
        columns: Vec<ColumnRead>,
    ) -> Merge {
        Merge {
            tablet,
            cursors,
            plan: plan.into_iter(),
            columns,
            series: None,
            heads: Vec::new(),
            held: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
            failed: false,
        }
    }

    fn translate(&self, error: Error) -> oribi_model::Error {
        let (tablet, reason) = (self.tablet, error.to_string());
        match error {
            Error::Io { .. } => oribi_model::Error::Unreadable { tablet, reason },
            _ => oribi_model::Error::Corrupt { tablet, reason },
        }
    }

    fn emit(&mut self) -> Option<Block> {
        let held = std::mem::take(&mut self.held);
        (self.held_rows, self.held_bytes) = (0, 0);
        let mut runs: Vec<Run> = Vec::new();
        for (series, piece) in &held {
            match runs.last_mut() {
                Some(run) if run.series == *series => run.rows += piece.rows(),
                _ => runs.push(Run { series: series.clone(), rows: piece.rows() }),
            }
        }
        if let [(_, piece)] = &held[..] {
            let Piece { times, columns } = piece.clone();
            return Some(Block { runs, times, columns });
        }
        let times: Vec<i64> =
            held.iter().flat_map(|(_, piece)| piece.times.iter().copied()).collect();
        let column = |(at, read): (usize, &ColumnRead)| {
            let parts: Vec<_> = held.iter().map(|(_, piece)| piece.columns[at].clone()).collect();
            concat(read.column_type, &parts)
        };
        let columns = self.columns.iter().enumerate().map(column);
        (!held.is_empty()).then(|| Block { runs, times: times.into(), columns: columns.collect() })
    }

    fn next_piece(&mut self) -> Result<Option<(SeriesKey, Piece)>> {
        loop {
            if let Some(series) = self.series.clone() {
                if let Some(piece) = self.next_merged()? {
                    return Ok(Some((series, piece)));
                }
                self.series = None;
            }
            let Some(next) = self.plan.next() else { return Ok(None) };
            self.heads.clear();
            for place in &next.places {
                let source = place.source as usize;
                let (cursor, deletes) = &mut self.cursors[source];
                cursor.open(place);
                let hiding = deletes.iter().filter(|delete| delete.tags.matches(&next.key));
                let hidden = hiding.map(|delete| delete.time).collect();
                self.heads.push(Head { cursor: source, hidden, piece: None });
            }
            self.series = Some(next.key);
        }
    }

    /// The next rows of the current series, up to the point that all sources have reached.
    fn next_merged(&mut self) -> Result<Option<Piece>> {
        let mut at = 0;
        while at < self.heads.len() {
            let head = &mut self.heads[at];
            while head.piece.is_none() {
                let Some(piece) = self.cursors[head.cursor].0.next()? else { break };
                head.piece = hide(piece, &head.hidden, &self.columns);
            }
            if head.piece.is_some() {
                at += 1;
            } else {
                self.heads.remove(at);
            }
        }
        if let [head] = &mut self.heads[..] {
            return Ok(head.piece.take());
        }
        let last = |head: &Head| head.piece.as_ref().and_then(|piece| piece.times.last().copied());
        let Some(horizon) = self.heads.iter().filter_map(last).min() else { return Ok(None) };
        let mut pieces: Vec<Piece> = Vec::new();
        for head in &mut self.heads {
            let Some(piece) = head.piece.take() else { continue };
            let rows = piece.times.partition_point(|time| *time <= horizon);
            if rows > 0 {
                pieces.push(piece.slice(0, rows));
            }
            if rows < piece.rows() {
                head.piece = Some(piece.slice(rows, piece.rows() - rows));
            }
        }
        Ok(Some(if pieces.len() == 1 { pieces.remove(0) } else { merge(&pieces, &self.columns) }))
    }
}

fn bytes_of(piece: &Piece) -> usize {
    let rows = piece.rows();
    rows * CELL_BYTES * (piece.columns.len() + 1) + text::text_bytes(&piece.columns, 0..rows)
}

/// Merges pieces of one series, the oldest source first.
fn merge(pieces: &[Piece], columns: &[ColumnRead]) -> Piece {
    let rows = pieces.iter().enumerate().flat_map(|(at, piece)| {
        let rows = piece.times.iter().enumerate();
        rows.map(move |(row, time)| (*time, at as u32, row as u32))
    });
    let mut rows: Vec<(i64, u32, u32)> = rows.collect();
    rows.sort_by_key(|(time, at, _)| (*time, std::cmp::Reverse(*at)));
    let (mut times, mut ends) = (Vec::new(), Vec::new());
    let mut end = 0;
    for same in rows.chunk_by(|a, b| a.0 == b.0) {
        end += same.len() as u32;
        times.push(same[0].0);
        ends.push(end);
    }
    let cells = rows.iter().map(|(_, at, row)| (*at, *row)).collect();
    let picks = Picks { cells, ends: Some(ends) };
    let column = |(at, read): (usize, &ColumnRead)| {
        let arrays: Vec<_> = pieces.iter().map(|piece| Some(piece.columns[at].clone())).collect();
        gather(read.column_type, &arrays, &picks)
    };
    Piece { times: times.into(), columns: columns.iter().enumerate().map(column).collect() }
}

/// The rows of a piece outside the hidden ranges; `None` where none is left.
fn hide(piece: Piece, hidden: &[TimeRange], columns: &[ColumnRead]) -> Option<Piece> {
    let (first, last) = (*piece.times.first()?, *piece.times.last()?);
    let touches = |range: &TimeRange| range.start <= last && first < range.end;
    if !hidden.iter().any(|range| touches(range) || *range == TimeRange::ALL) {
        return Some(piece);
    }
    let shown = |time: i64| !hidden.iter().any(|r| r.contains(time) || *r == TimeRange::ALL);
    let rows = piece.times.iter().enumerate().filter(|(_, time)| shown(**time));
    let cells: Vec<(u32, u32)> = rows.map(|(row, _)| (0, row as u32)).collect();
    if cells.is_empty() {
        return None;
    }
    let times: Vec<i64> = cells.iter().map(|(_, row)| piece.times[*row as usize]).collect();
    let picks = Picks { cells, ends: None };
    let columns = columns.iter().zip(piece.columns);
    let columns = columns.map(|(read, values)| gather(read.column_type, &[Some(values)], &picks));
    Some(Piece { times: times.into(), columns: columns.collect() })
}
