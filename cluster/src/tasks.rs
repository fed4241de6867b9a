//! Tasks and time, as all that a simulation runs has them: those of the runtime, or those of the
//! simulation that runs on this thread.

#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod switched;

#[cfg(test)]
pub(crate) use switched::{
    Ended, Late, Sleep, Task, Timeout, now, sleep, sleep_until, spawn, timeout, timeout_at,
};
#[cfg(not(test))]
pub(crate) use tokio::{
    spawn,
    time::{sleep, sleep_until, timeout, timeout_at},
};

use crate::{Error, Result};

/// The time by a clock that never goes back.
#[cfg(not(test))]
pub(crate) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Runs blocking work off the asynchronous threads.
///
/// # Errors
/// The work's own, or [`Error::Panicked`].
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    #[cfg(test)]
    if simulated::runs_here() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => Err(Error::Panicked(panic_text(error.into_panic()))),
        Err(_) => Err(Error::Stopping),
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
