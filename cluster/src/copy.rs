//! The files of one replica, taken over by another where the log no longer has what that lacks.
//!
//! The leader offers what it has pinned; the other asks for it piece by piece and puts it together
//! beside its own. What becomes of it then is decided by `replica`.

mod budget;
mod origin;
mod pull;
mod wire;

pub(crate) use budget::Copies;
pub use budget::CopyOptions;
pub(crate) use origin::{Held, Origin};
pub(crate) use pull::{Pull, Pulled};
pub(crate) use wire::{Answer, Ask, Offer};

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    wire::fuzz(bytes);
}
