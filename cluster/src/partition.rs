//! Where a table is cut: pure decisions.
