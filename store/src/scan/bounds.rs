//! How much is read, gathered and given at once.

/// Rows of a block, at most.
pub(super) const BLOCK_ROWS_MAX: usize = 65_536;
/// Bytes of cells at which a block ends.
pub(super) const BLOCK_BYTES: usize = 16 << 20;
/// Pieces of at least this many rows stay a block of their own, without a copy.
pub(super) const WHOLE_ROWS_MIN: usize = 4_096;
/// Bytes of cells that are decoded or gathered at once, unless a page or a row has more.
pub(super) const WINDOW_BYTES: usize = 16 << 20;
/// Of a cell that is no text, and of a time.
pub(super) const CELL_BYTES: usize = 8;
