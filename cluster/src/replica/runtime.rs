//! The runtime of consensus instances in tests: a simulation's where one runs.

use crate::tasks::{self, Ended, Late, Sleep, Task, Timeout};
use openraft::{AsyncRuntime, OptionalSend, async_runtime::Instant, impls::TokioRuntime};
use std::{
    future::Future,
    ops::{Add, AddAssign, Sub, SubAssign},
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Switched(TokioRuntime);

/// A time of whichever clock is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(tokio::time::Instant);

impl Add<Duration> for At {
    type Output = At;

    fn add(self, duration: Duration) -> At {
        At(self.0 + duration)
    }
}

impl AddAssign<Duration> for At {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for At {
    type Output = At;

    fn sub(self, duration: Duration) -> At {
        At(self.0 - duration)
    }
}

impl Sub<At> for At {
    type Output = Duration;

    fn sub(self, earlier: At) -> Duration {
        self.0 - earlier.0
    }
}

impl SubAssign<Duration> for At {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl Instant for At {
    fn now() -> At {
        At(tasks::now())
    }
}

impl AsyncRuntime for Switched {
    type JoinError = Ended;
    type JoinHandle<T: OptionalSend + 'static> = Task<T>;
    type Sleep = Sleep;
    type Instant = At;
    type TimeoutError = Late;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    /// Draws only between bounds that leave no choice here.
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Task<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        tasks::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        tasks::sleep(duration)
    }

    fn sleep_until(deadline: At) -> Sleep {
        tasks::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        tasks::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: At, future: F) -> Timeout<F> {
        tasks::timeout_at(deadline.0, future)
    }

    fn is_panic(_: &Ended) -> bool {
        false
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Switched {
        Switched(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
