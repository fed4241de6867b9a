//! Who lives: one matter between nodes, for all groups at once.
//!
//! `machine` is the whole of it, without threads, sockets or a clock: it is told what happened and
//! when, and says what to do. `ping` is what nodes send one another for it, and `watch` the thread
//! that does it, before all others where it may (`priority`).

mod machine;
mod ping;
mod priority;
#[cfg(test)]
mod tests;
mod watch;

pub use machine::{
    Action, Doubt, Event, Liveness, PAUSE_MS, PING_MS, RECONNECT_MS, STALL_MS, SUSPECT_MS,
    UNHEARD_MS,
};
pub use ping::{Echo, Health, NODES_MAX, Ping};
pub use watch::{Teller, Watch, Watcher};
