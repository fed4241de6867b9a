//! How old what a question reads may be, and what it has read.

use std::time::Duration;

/// How old what a question reads may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// It has every row that was acked before it began, wherever that was.
    #[default]
    Linearizable,
    /// It may lack what was acked within this time before it began, and asks nobody as long as it
    /// lacks no more.
    Stale(Duration),
}

/// What a question has read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Nodes that have answered, the asked one among them.
    pub nodes: usize,
    /// Tablets that were asked.
    pub tablets: usize,
    /// The age of the oldest thing that was read; `None` for a question that lacks nothing.
    pub staleness: Option<Duration>,
}
