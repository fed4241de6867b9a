//! What a failed write leaves behind, and whether it may be done again.

use crate::Error;
use std::{io, path::Path};

/// Why a write did not happen.
pub(super) enum Failure {
    /// It may succeed later; the log is as it was.
    Passing(Error),
    /// What is on disk is unknown.
    Final(Error),
}

impl Failure {
    /// A failed operation that left nothing behind. What the system gives a reason for, such as
    /// space or descriptors that are used up, may pass.
    pub(super) fn of(action: &'static str, path: &Path, error: io::Error) -> Failure {
        let passes = error.kind() != io::ErrorKind::Other;
        let error = Error::io(action, path)(error);
        if passes { Failure::Passing(error) } else { Failure::Final(error) }
    }
}

pub(super) type Outcome<T = ()> = Result<T, Failure>;
