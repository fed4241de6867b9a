//! Reads the parts of a scan, on as many threads as are worth it.

mod in_order;

pub(crate) use in_order::in_order;

use crate::{Error, Result, watch::Watch};
use oribi_model::{Block, BlockIter};
use parking_lot::Mutex;
use std::{collections::VecDeque, ops::ControlFlow};

/// How a fold is shared out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sharing {
    /// Threads at most.
    pub(crate) threads: usize,
    /// Rows that one thread reads before others help.
    pub(crate) rows_alone_max: usize,
}

/// As large as that of the threads that plan: predicates are as deep here.
const STACK_BYTES: usize = 32 << 20;

/// Tells the others, and the asker, when a thread panics.
struct StopOnPanic<'a>(&'a Watch);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(panicked());
        }
    }
}

fn panicked() -> Error {
    Error::Internal { detail: "a reading thread panicked".into() }
}

/// Folds all blocks of `parts` into states made by `make`, one a thread. `take` gets the number of
/// the block's part, and breaks where no more blocks are wanted; blocks of one part come to it in
/// their order.
///
/// # Errors
/// The first error of a block, of `take`, or of the watch, which stops the other threads.
pub(crate) fn fold<S: Send>(
    parts: Vec<BlockIter>,
    sharing: Sharing,
    watch: &Watch,
    make: impl Fn() -> S + Sync,
    take: impl Fn(&mut S, usize, Block) -> Result<ControlFlow<()>> + Sync,
) -> Result<Vec<S>> {
    let queue: Mutex<VecDeque<_>> = Mutex::new(parts.into_iter().enumerate().collect());
    let worker = |state: &mut S, rows_max: usize| -> Result<Option<(usize, BlockIter)>> {
        let mut rows = 0;
        loop {
            let Some((number, mut part)) = queue.lock().pop_front() else { return Ok(None) };
            while let Some(block) = part.next() {
                watch.check_between()?;
                let block = block?;
                rows += block.rows();
                if take(state, number, block)?.is_break() {
                    queue.lock().clear();
                    return Ok(None);
                }
                if rows >= rows_max {
                    return Ok(Some((number, part)));
                }
            }
        }
    };
    let mut first = make();
    let Some(rest) = worker(&mut first, sharing.rows_alone_max)? else { return Ok(vec![first]) };
    let helpers = sharing.threads.saturating_sub(1).min(queue.lock().len());
    queue.lock().push_front(rest);
    // Whoever waits for the answer wakes at once, and is to see why.
    let tell = |error: &Error| watch.fail(error.clone());
    std::thread::scope(|scope| {
        let help = || {
            let _stop = StopOnPanic(watch);
            let mut state = make();
            worker(&mut state, usize::MAX).inspect_err(tell).map(|_| state)
        };
        let start = || {
            let thread = std::thread::Builder::new().name("oribi-fold".into());
            thread.stack_size(STACK_BYTES).spawn_scoped(scope, help)
        };
        // Where the system gives no more threads, those that there are do the work.
        let helpers: Vec<_> = (0..helpers).map_while(|_| start().ok()).collect();
        let _stop = StopOnPanic(watch);
        let own = worker(&mut first, usize::MAX).inspect_err(tell);
        let mut first_error = own.err();
        let mut states = vec![first];
        for helper in helpers {
            let theirs = helper.join().map_err(|_| panicked());
            match theirs.and_then(|state| state) {
                Ok(state) => states.push(state),
                // A thread that failed stops the others, whose own error is then the echo.
                Err(error) if matches!(first_error, None | Some(Error::Cancelled)) => {
                    first_error = Some(error);
                }
                Err(_) => {}
            }
        }
        first_error.map_or(Ok(states), Err)
    })
}

#[cfg(test)]
mod tests;
