//! The one door from tasks to work that blocks.

use crate::{Error, Result};

/// Runs blocking work off the asynchronous threads.
///
/// # Errors
/// The work's own, or [`Error::Panicked`].
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
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
