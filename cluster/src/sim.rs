//! A whole cluster in one thread, decided by a seed: time, the network, pauses, disks and crashes.
//!
//! `timeline` is time and chance, `wire` the network between nodes down to the bytes, `node` what
//! runs on each of them, `faults` what befalls them, `world` all of it together; `tests` run seeds and judge what was seen. A
//! failing seed is printed; `SIM_SEED` runs it alone, `SIM_SEEDS` runs as many. `groups` runs consensus groups, over
//! the tasks of `crate::tasks` instead.

mod faults;
mod groups;
mod node;
mod tests;
mod timeline;
mod wire;
mod world;
