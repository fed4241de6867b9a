//! Identities. Names on disk and between nodes are these, never what a user typed.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A machine that runs Oribi; given by the cluster's catalog, never reused.
    NodeId(u32)
);
id!(
    /// A table; never reused, not even after the table was dropped.
    TableId(u32)
);
id!(
    /// A tablet: the rows of one table in one time range and one hash bucket of series.
    TabletId(u64)
);
id!(
    /// A tag or field of a table; never reused within its table.
    ColumnId(u32)
);
id!(
    /// A place in the Raft log of one tablet.
    LogIndex(u64)
);
