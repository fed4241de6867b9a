//! Commands and reads for groups that other nodes lead: who is asked (`leaders`), how much may be
//! on its way there (`load`), and what is said
//! (`wire`, `scan`). Knows no node and no socket.

mod leaders;
mod load;
pub(crate) mod scan;
pub(crate) mod wire;

pub(crate) use leaders::{Hint, Leaders, News};
pub(crate) use load::Load;
