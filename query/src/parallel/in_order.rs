//! Reads parts on several threads and takes their blocks in the order of one.

use super::{STACK_BYTES, Sharing, StopOnPanic, panicked};
use crate::{Error, Result, watch::Watch};
use oribi_model::{Block, BlockIter};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{collections::VecDeque, ops::ControlFlow, time::Duration};

/// How long a thread sleeps before it asks the watch again.
const LOOK_AFTER: Duration = Duration::from_millis(20);

/// What was made of the blocks of one part.
struct Part<T> {
    /// With the bytes that each takes.
    made: VecDeque<(T, usize)>,
    reading: Reading,
}

/// Who reads a part.
enum Reading {
    /// Nobody yet.
    Nobody(BlockIter),
    /// Some thread.
    Somebody,
    /// It was read to its end.
    Done,
}

struct Shelf<T> {
    parts: Vec<Part<T>>,
    /// The part that is taken now.
    current: usize,
    held_bytes: usize,
    /// No more is wanted, for what reason there may be.
    ended: Option<Option<Error>>,
}

struct Reader<'a, T> {
    shelf: Mutex<Shelf<T>>,
    changed: Condvar,
    bytes_max: usize,
    watch: &'a Watch,
}

/// Makes something of every block of `parts` and takes it, part by part and block by block.
/// `make` gives the bytes as well, of which those that wait take no more than `bytes_max`, or are
/// one block; it runs on several threads, `take` on the caller's own. `take` breaks where no more is
/// wanted.
///
/// # Errors
/// The first error of a block, of `make`, of `take`, or of the watch.
pub(crate) fn in_order<T: Send>(
    parts: Vec<BlockIter>,
    sharing: Sharing,
    bytes_max: usize,
    watch: &Watch,
    make: impl Fn(Block) -> Result<(T, usize)> + Sync,
    mut take: impl FnMut(T) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut parts: VecDeque<BlockIter> = parts.into();
    let rows_max = if sharing.threads > 1 { sharing.rows_alone_max } else { usize::MAX };
    let mut rows = 0;
    while let Some(part) = parts.front_mut() {
        let Some(block) = part.next() else {
            parts.pop_front();
            continue;
        };
        watch.check_between()?;
        let block = block?;
        rows += block.rows();
        if take(make(block)?.0)?.is_break() {
            return Ok(());
        }
        if rows >= rows_max {
            break;
        }
    }
    let reader = Reader::new(parts, bytes_max, watch);
    let helpers = sharing.threads.min(reader.shelf.lock().parts.len());
    std::thread::scope(|scope| {
        let help = || {
            let _stop = StopOnPanic(watch);
            reader.help(&make);
        };
        let start = || {
            let thread = std::thread::Builder::new().name("oribi-read".into());
            thread.stack_size(STACK_BYTES).spawn_scoped(scope, help)
        };
        // Where the system gives no more threads, those that there are do the work.
        let helpers: Vec<_> = (0..helpers).map_while(|_| start().ok()).collect();
        let taken = {
            let _stop = StopOnPanic(watch);
            reader.take_all(&make, &mut take)
        };
        reader.end(None);
        for helper in helpers {
            helper.join().map_err(|_| panicked())?;
        }
        taken
    })
}

impl<'a, T> Reader<'a, T> {
    fn new(parts: VecDeque<BlockIter>, bytes_max: usize, watch: &'a Watch) -> Reader<'a, T> {
        let part = |blocks| Part { made: VecDeque::new(), reading: Reading::Nobody(blocks) };
        let parts = parts.into_iter().map(part).collect();
        let shelf = Shelf { parts, current: 0, held_bytes: 0, ended: None };
        Reader { shelf: Mutex::new(shelf), changed: Condvar::new(), bytes_max, watch }
    }

    /// Reads parts that nobody reads, the first ones first.
    fn help(&self, make: &impl Fn(Block) -> Result<(T, usize)>) {
        while let Some((number, blocks)) = self.claim_next() {
            for block in blocks {
                let made = self.watch.check_between().and_then(|()| make(block?));
                match made.map(|made| self.put(number, made)) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return,
                    Err(error) => return self.end(Some(error)),
                }
            }
            self.shelf.lock().parts[number].reading = Reading::Done;
            self.changed.notify_all();
        }
    }

    fn claim_next(&self) -> Option<(usize, BlockIter)> {
        let mut shelf = self.shelf.lock();
        if shelf.ended.is_some() {
            return None;
        }
        (shelf.current..shelf.parts.len()).find_map(|at| Some((at, claim(&mut shelf.parts[at])?)))
    }

    /// Puts what was made of a block; breaks where nothing is wanted any more.
    fn put(&self, number: usize, made: (T, usize)) -> ControlFlow<()> {
        let mut shelf = self.shelf.lock();
        loop {
            if shelf.ended.is_some() {
                return ControlFlow::Break(());
            }
            let is_next = number == shelf.current && shelf.parts[number].made.is_empty();
            if is_next || shelf.held_bytes.saturating_add(made.1) <= self.bytes_max {
                break;
            }
            self.sleep(&mut shelf);
        }
        shelf.held_bytes += made.1;
        shelf.parts[number].made.push_back(made);
        self.changed.notify_all();
        ControlFlow::Continue(())
    }

    /// Waits for a change; where the query has to stop, ends all.
    fn sleep(&self, shelf: &mut MutexGuard<'_, Shelf<T>>) {
        self.changed.wait_for(shelf, LOOK_AFTER);
        if let Err(error) = self.watch.check()
            && shelf.ended.is_none()
        {
            shelf.ended = Some(Some(error));
            self.changed.notify_all();
        }
    }

    fn end(&self, error: Option<Error>) {
        self.shelf.lock().ended.get_or_insert(error);
        self.changed.notify_all();
    }

    fn take_all(
        &self,
        make: &impl Fn(Block) -> Result<(T, usize)>,
        take: &mut impl FnMut(T) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let count = self.shelf.lock().parts.len();
        for number in 0..count {
            let unread = {
                let mut shelf = self.shelf.lock();
                shelf.current = number;
                claim(&mut shelf.parts[number])
            };
            self.changed.notify_all();
            if let Some(blocks) = unread {
                for block in blocks {
                    self.watch.check_between()?;
                    if take(make(block?)?.0)?.is_break() {
                        return Ok(());
                    }
                }
                continue;
            }
            while let Some(made) = self.next(number)? {
                if take(made)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What was made of the next block of a part that somebody reads; `None` at its end.
    fn next(&self, number: usize) -> Result<Option<T>> {
        let mut shelf = self.shelf.lock();
        loop {
            if let Some(Some(error)) = &shelf.ended {
                return Err(error.clone());
            }
            if let Some((made, bytes)) = shelf.parts[number].made.pop_front() {
                shelf.held_bytes -= bytes;
                self.changed.notify_all();
                return Ok(Some(made));
            }
            if matches!(shelf.parts[number].reading, Reading::Done) {
                return Ok(None);
            }
            self.sleep(&mut shelf);
        }
    }
}

fn claim<T>(part: &mut Part<T>) -> Option<BlockIter> {
    match std::mem::replace(&mut part.reading, Reading::Somebody) {
        Reading::Nobody(blocks) => Some(blocks),
        other => {
            part.reading = other;
            None
        }
    }
}
