//! Who stands for the lead of which group, and when: of all groups of a node at once, by what its
//! liveness says.
//!
//! A voter ends the lease of a leader whose node is dead or runs anew. Of those that are left one
//! stands first, another one for each group, so that leaders spread; the others stand after it, each
//! in its turn, and all again and again: nothing inside a group ever tries a second time.

mod plan;
mod proofs;
#[cfg(test)]
mod said;
mod supervisor;
mod voters;

pub use plan::{Elections, Lives, Standing, Step, Vote};
pub use proofs::{Failed, Proofs};
#[cfg(test)]
pub(crate) use said::Said;
pub use supervisor::Supervisor;
pub use voters::Voters;
