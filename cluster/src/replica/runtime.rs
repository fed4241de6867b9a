//! The runtime of consensus instances in tests: a simulation's where one runs.

use crate::tasks::{self, Ended, Late, Sleep, Task, Timeout, simulated};
use openraft::{AsyncRuntime, OptionalSend, async_runtime::Instant, impls::TokioRuntime};
use rand_core::TryRng;
use std::{
    convert::Infallible,
    future::Future,
    ops::{Add, AddAssign, Sub, SubAssign},
    sync::atomic::{AtomicU64, Ordering},
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

/// Chance of the simulation; elsewhere, where nothing depends on it, one number after the other.
#[derive(Debug)]
pub(crate) struct Chance;

impl Chance {
    fn next() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        match simulated::runs_here() {
            true => simulated::below(u64::MAX),
            // Far apart, for those who look at the upper bits.
            false => NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
        }
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((Chance::next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(Chance::next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| (Chance::next() >> 56) as u8);
        Ok(())
    }
}

impl AsyncRuntime for Switched {
    type JoinError = Ended;
    type JoinHandle<T: OptionalSend + 'static> = Task<T>;
    type Sleep = Sleep;
    type Instant = At;
    type TimeoutError = Late;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Chance;
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

    fn thread_rng() -> Chance {
        Chance
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
