//! What log entries carry.
