//! A lane of cells of one kind.

use super::{
    running::Lane,
    slice::Slice,
    values::{Values, Wanted},
};
use crate::{Result, form::Take};
use std::any::Any;

/// The running figure of one slot.
pub(super) trait Cell: Sized + Send + 'static {
    /// What all cells of a lane have in common.
    type Rule: Copy + Send;

    /// A figure of no rows.
    fn empty(rule: Self::Rule) -> Self;

    /// Takes rows; returns the bytes that are now held in addition.
    fn fold(&mut self, rule: Self::Rule, slice: &Slice<'_>) -> usize;

    /// Takes another figure, in any order; returns the bytes that are now held in addition.
    fn merge(&mut self, rule: Self::Rule, other: Self) -> usize;

    /// Turns a figure of one series into one that sums over series.
    fn settle(&mut self) {}

    /// The values that a function makes of some of the figures.
    fn values(cells: &mut [Self], wanted: &Wanted<'_>) -> Result<Values>;

    /// Appends the figure as bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads a figure, and tells the bytes that it holds besides its own.
    fn read(from: &mut Take<'_>) -> Result<(Self, usize)>;
}

/// Cells by slot.
pub(super) struct Cells<C: Cell> {
    rule: C::Rule,
    cells: Vec<C>,
}

impl<C: Cell> Cells<C> {
    /// A lane without slots.
    pub(super) fn new(rule: C::Rule) -> Cells<C> {
        Cells { rule, cells: Vec::new() }
    }
}

impl<C: Cell> Lane for Cells<C> {
    fn push(&mut self) -> usize {
        self.cells.push(C::empty(self.rule));
        size_of::<C>()
    }

    fn fold(&mut self, slot: usize, slice: &Slice<'_>) -> usize {
        self.cells[slot].fold(self.rule, slice)
    }

    fn merge(&mut self, slot: usize, other: &mut dyn Lane, from: usize) -> usize {
        let other: &mut dyn Any = other;
        let Some(other) = other.downcast_mut::<Cells<C>>() else {
            unreachable!("lanes of one spec have cells of one kind")
        };
        let cell = std::mem::replace(&mut other.cells[from], C::empty(self.rule));
        self.cells[slot].merge(self.rule, cell)
    }

    fn settle(&mut self) {
        self.cells.iter_mut().for_each(C::settle);
    }

    fn values(&mut self, wanted: &Wanted<'_>) -> Result<Values> {
        C::values(&mut self.cells, wanted)
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        self.cells[slot].write(out);
    }

    fn read(&mut self, slot: usize, from: &mut Take<'_>) -> Result<usize> {
        let (cell, bytes) = C::read(from)?;
        self.cells[slot] = cell;
        Ok(bytes)
    }
}
