//! Commands and reads for groups that other nodes lead: who is asked (`leaders`), how much may be
//! on its way there (`load`), and what is said
//! (`wire`, `scan`, `sounding`), and until when what is here is known to lack nothing (`proofs`). Knows no
//! node and no socket.

mod leaders;
mod load;
mod moments;
pub(crate) mod scan;
pub(crate) mod sounding;
pub(crate) mod wire;

pub(crate) use leaders::{Hint, Leaders, News};
pub(crate) use load::Load;
pub(crate) use moments::{Moments, Proven, proven};
