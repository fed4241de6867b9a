//! A row to come.

use crate::windows::Window;

/// Place at which there is no value.
pub(super) const NONE: u32 = u32::MAX;

/// One row to come: window, group, and its slot or, in a grid, its place among the cells found,
/// which is [`NONE`] where no row fell into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) window: Window,
    pub(super) group: u32,
    pub(super) place: u32,
}
