//! Connections that came in and have not said yet who they are: how many there may be, and how often one of
//! them may cost a handshake. Handshakes are done on the thread that hears pings, so that nobody who
//! does many of them may keep it from that.

use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Of more, the oldest ends: nodes say at once who they are.
const UNFINISHED_MAX: usize = 1_024;
/// One handshake in so long; it takes about a tenth of that.
const PACE: Duration = Duration::from_millis(4);
/// Handshakes that need not wait, after as long a pause: all nodes may come at once.
const BURST: u32 = 128;
/// Whoever would wait for longer goes at once, so that whoever comes after a rush finds no queue.
const TURN_WAIT_MAX: Duration = Duration::from_secs(2);

/// Those of one network.
#[derive(Debug, Default)]
pub(super) struct Newcomers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    given: u64,
    /// By age.
    unfinished: BTreeMap<u64, Arc<Notify>>,
    /// When the next handshake would be due if all came at their pace.
    next: Option<Instant>,
}

/// One of them, until it has said who it is.
#[derive(Debug)]
pub(super) struct Newcomer<'a> {
    all: &'a Newcomers,
    number: u64,
    ends: Arc<Notify>,
}

impl Newcomers {
    /// Takes one in.
    pub(super) fn arrive(&self) -> Newcomer<'_> {
        let ends = Arc::<Notify>::default();
        let mut state = self.0.lock();
        state.given += 1;
        let number = state.given;
        state.unfinished.insert(number, ends.clone());
        if state.unfinished.len() > UNFINISHED_MAX
            && let Some((_, oldest)) = state.unfinished.pop_first()
        {
            oldest.notify_one();
        }
        Newcomer { all: self, number, ends }
    }

    /// Waits until a handshake may be done, in the order in which they are asked for.
    ///
    /// # Errors
    /// Too many wait.
    pub(super) async fn turn(&self) -> io::Result<()> {
        let due = self.0.lock().take_turn(Instant::now());
        sleep_until(due.ok_or(io::ErrorKind::TimedOut)?).await;
        Ok(())
    }
}

impl State {
    /// When the next handshake may be done, which is then taken; `None`: too late. Source: the generic
    /// cell rate algorithm, ITU-T I.371.
    fn take_turn(&mut self, now: Instant) -> Option<Instant> {
        let next = self.next.map_or(now, |next| next.max(now));
        let early = (next - now).saturating_sub(PACE * BURST);
        if early > TURN_WAIT_MAX {
            return None;
        }
        self.next = Some(next + PACE);
        Some(now + early)
    }
}

impl Newcomer<'_> {
    /// Resolves when it has to make room.
    pub(super) async fn must_go(&self) {
        self.ends.notified().await;
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unfinished.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_come_at_once_and_many_at_their_pace() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!((0..=BURST).all(|_| state.take_turn(now) == Some(now)));
        let waits = (1..=3).map(|_| state.take_turn(now).unwrap() - now);
        assert_eq!(waits.collect::<Vec<_>>(), [PACE, PACE * 2, PACE * 3]);
        // Whoever comes after a while waits for those before it.
        assert_eq!(state.take_turn(now + PACE * 2), Some(now + PACE * 4));
        let later = now + PACE * 1_000;
        assert!((0..=BURST).all(|_| state.take_turn(later) == Some(later)));
    }

    #[test]
    fn a_rush_leaves_no_queue_behind() {
        let (mut state, now) = (State::default(), Instant::now());
        let taken = (0..100_000).filter_map(|_| state.take_turn(now)).collect::<Vec<_>>();
        assert_eq!(taken.last(), Some(&(now + TURN_WAIT_MAX)));
        let after = now + TURN_WAIT_MAX + PACE;
        assert_eq!(state.take_turn(after), Some(after));
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let all = Newcomers::default();
        let mut some: Vec<_> = (0..UNFINISHED_MAX).map(|_| all.arrive()).collect();
        drop(some.remove(1));
        let more = [all.arrive(), all.arrive()];
        some[0].must_go().await;
        let stays = tokio::time::timeout(Duration::ZERO, more[0].must_go()).await;
        assert!(stays.is_err());
        drop((some, more));
        assert!(all.0.lock().unfinished.is_empty());
    }
}
