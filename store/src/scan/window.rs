//! Rows that were read at once, as they are decoded or as they were kept.

use super::piece::Piece;
use crate::page_cache::{Cells, Numbers};
use oribi_model::{ColumnType, ColumnValues, TimeRange};
use std::ops::Range;

/// Rows of some pages.
pub(super) enum Window {
    Decoded(Piece),
    /// Times, and of each column asked for its cells and the type wanted; `None`: nulls.
    Kept(Numbers, Vec<(Option<Cells>, ColumnType)>),
}

impl Window {
    pub(super) fn rows(&self) -> usize {
        match self {
            Window::Decoded(piece) => piece.rows(),
            Window::Kept(times, _) => times.len(),
        }
    }

    /// Of these rows, whose times ascend, those in `time`.
    pub(super) fn cut(&self, rows: Range<usize>, time: TimeRange) -> Piece {
        match self {
            Window::Decoded(piece) => piece.slice(rows.start, rows.len()).trim(time),
            Window::Kept(times, columns) => {
                let start = times.partition(rows.clone(), time.start);
                let end = match time {
                    TimeRange::ALL => rows.end,
                    time => times.partition(start..rows.end, time.end),
                };
                let column = |(cells, wanted): &(Option<Cells>, ColumnType)| match cells {
                    Some(cells) => cells.slice(start..end).read_as(*wanted),
                    None => ColumnValues::nulls(*wanted, end - start),
                };
                let columns = columns.iter().map(column).collect();
                Piece { times: times.slice(start..end).into(), columns }
            }
        }
    }
}
