//! Tasks and time in tests: the simulation's where one runs on this thread, the runtime's otherwise.

use super::simulated::{self, Timer};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

/// A task that was started.
pub(crate) enum Task<T> {
    Real(JoinHandle<T>),
    Simulated(oneshot::Receiver<T>),
}

/// A task ended without an answer.
#[derive(Debug)]
pub(crate) struct Ended(String);

/// It took too long.
#[derive(Debug)]
pub(crate) struct Late;

pub(crate) enum Sleep {
    Real(Pin<Box<tokio::time::Sleep>>),
    Simulated(Timer),
}

/// A future that is given up at a time.
pub(crate) struct Timeout<F> {
    until: Sleep,
    future: Pin<Box<F>>,
}

pub(crate) fn now() -> Instant {
    simulated::now().unwrap_or_else(Instant::now)
}

pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match simulated::runs_here() {
        true => Task::Simulated(simulated::spawn(future)),
        false => Task::Real(tokio::spawn(future)),
    }
}

pub(crate) fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

pub(crate) fn sleep_until(at: Instant) -> Sleep {
    match simulated::runs_here() {
        true => Sleep::Simulated(Timer::new(at)),
        false => Sleep::Real(Box::pin(tokio::time::sleep_until(at))),
    }
}

pub(crate) fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    timeout_at(now() + duration, future)
}

pub(crate) fn timeout_at<F: Future>(at: Instant, future: F) -> Timeout<F> {
    Timeout { until: sleep_until(at), future: Box::pin(future) }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Ended>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Ended>> {
        match self.get_mut() {
            Task::Real(handle) => {
                Pin::new(handle).poll(context).map_err(|error| Ended(error.to_string()))
            }
            Task::Simulated(answer) => {
                Pin::new(answer).poll(context).map_err(|_| Ended("the task was cut short".into()))
            }
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it took too long")
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Sleep::Real(sleep) => sleep.as_mut().poll(context),
            Sleep::Simulated(timer) => timer.poll(context),
        }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Late>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(output) = this.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut this.until).poll(context).map(|()| Err(Late))
    }
}
