//! One member of one consensus group.
