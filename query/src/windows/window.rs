//! One window.

/// One window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its number; neighbours differ by one.
    pub(crate) index: i64,
    /// First ns inside.
    pub(crate) start: i64,
    /// First ns after it.
    pub(crate) end: i64,
}

/// The nearest time that can be told.
pub(super) fn saturate(ns: i128) -> i64 {
    ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}
