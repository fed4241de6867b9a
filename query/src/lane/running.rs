//! What every lane does.

use super::{
    slice::Slice,
    values::{Values, Wanted},
};
use crate::{Result, form::Take};
use std::any::Any;

/// Running figures of one input, by slot.
pub(crate) trait Lane: Any + Send {
    /// Adds an empty slot and returns its bytes.
    fn push(&mut self) -> usize;

    /// Takes rows into a slot; returns the bytes that it now holds in addition.
    fn fold(&mut self, slot: usize, slice: &Slice<'_>) -> usize;

    /// Takes slot `from` of a lane of the same spec into `slot`, in any order; returns the bytes
    /// that the slot now holds in addition.
    fn merge(&mut self, slot: usize, other: &mut dyn Lane, from: usize) -> usize;

    /// Turns figures of single series into figures that sum over series.
    fn settle(&mut self);

    /// The values that a function makes of the figures. These may be used up by it.
    ///
    /// # Errors
    /// [`crate::Error::Overflow`] where one does not fit.
    fn values(&mut self, wanted: &Wanted<'_>) -> Result<Values>;

    /// Appends a slot as bytes, which are read before any is settled.
    fn write(&self, slot: usize, out: &mut Vec<u8>);

    /// Reads a slot that is empty so far; returns the bytes that it now holds in addition.
    ///
    /// # Errors
    /// [`crate::Error::Figures`] for bytes that are none of it.
    fn read(&mut self, slot: usize, from: &mut Take<'_>) -> Result<usize>;
}
