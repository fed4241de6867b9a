//! How hard a process is pressed by what it is asked to do: questions give way before writes do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Looks in a row at which writes wait, from which on questions give way: a single write waits now
/// and then.
const LOOKS_BEHIND: usize = 4;
/// Part of the memory from which on questions give way, so that they end before writes have to wait.
const TIGHT: (u64, u64) = (7, 8);

/// Seen by all who take work. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Writes that wait for room.
    waiting: AtomicUsize,
    /// Looks in a row at which some waited.
    behind: AtomicUsize,
    /// Little memory is left.
    is_tight: AtomicBool,
    /// None is left.
    is_full: AtomicBool,
}

/// A write that waits for room, until this goes.
#[derive(Debug)]
pub struct WaitingWrite<'a>(&'a Pressure);

impl Pressure {
    /// Looks, which is to be done at a regular pace: so much memory is held, bytes, of so much.
    pub fn look(&self, held_bytes: u64, bytes_max: u64) {
        let State { waiting, behind, is_tight, is_full } = &*self.0;
        let (of, parts) = TIGHT;
        is_tight.store(held_bytes / of >= bytes_max / parts, Ordering::Relaxed);
        is_full.store(held_bytes >= bytes_max, Ordering::Relaxed);
        match waiting.load(Ordering::Relaxed) {
            0 => behind.store(0, Ordering::Relaxed),
            _ => drop(behind.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Whether the process holds all the memory that it may.
    pub fn is_full(&self) -> bool {
        self.0.is_full.load(Ordering::Relaxed)
    }

    /// Whether writes have waited for room for longer than a moment.
    pub fn is_behind(&self) -> bool {
        self.0.behind.load(Ordering::Relaxed) >= LOOKS_BEHIND
    }

    /// Whether questions are to give way.
    pub fn is_high(&self) -> bool {
        self.is_behind() || self.0.is_tight.load(Ordering::Relaxed)
    }

    /// Writes that wait for room.
    pub fn waiting_writes(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Counts a write among those that wait for room.
    pub fn wait_for_room(&self) -> WaitingWrite<'_> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingWrite(self)
    }
}

impl Drop for WaitingWrite<'_> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_give_way_before_writes_wait_for_memory() {
        let pressure = Pressure::default();
        let of = |held| {
            pressure.look(held, 800);
            (pressure.is_high(), pressure.is_full())
        };
        assert_eq!([of(699), of(700), of(799)], [(false, false), (true, false), (true, false)]);
        assert!(!pressure.is_behind());
        assert_eq!([of(800), of(0)], [(true, true), (false, false)]);
    }

    #[test]
    fn questions_give_way_while_writes_wait_for_longer() {
        let pressure = Pressure::default();
        let waiting = pressure.wait_for_room();
        let looks = [0; LOOKS_BEHIND].map(|_| {
            pressure.look(0, 800);
            pressure.is_high() && pressure.is_behind()
        });
        assert_eq!((looks, pressure.waiting_writes()), ([false, false, false, true], 1));
        drop(waiting);
        pressure.look(0, 800);
        assert!(!pressure.is_high());
    }
}
