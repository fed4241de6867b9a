//! Tasks in one thread, whose order a seed decides, and time that passes only when all of them
//! wait. Each task belongs to an owner, and goes with it at once when it is killed.

use parking_lot::Mutex;
use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// Whose tasks are killed and stand still together. 0 is nobody's.
pub(crate) type Owner = u32;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static HERE: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// All tasks of a simulation. One at a time runs on a thread, until it is dropped.
pub(crate) struct Simulation(Arc<Shared>);

struct Shared {
    base: Instant,
    state: Mutex<State>,
    /// Apart, since a waker may be called from within anything.
    /// A set: in which order channels wake those who wait is not for a seed to say.
    ready: Mutex<BTreeSet<u64>>,
}

struct State {
    now: Duration,
    random: u64,
    count: u64,
    /// Whose task runs.
    owner: Owner,
    tasks: BTreeMap<u64, (Owner, Option<Work>)>,
    timers: BinaryHeap<Reverse<(Duration, u64)>>,
    wakers: BTreeMap<u64, Waker>,
    /// Owners that stand still, and their tasks that are due.
    still: BTreeMap<Owner, Vec<u64>>,
}

struct TaskWaker {
    task: u64,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.shared.ready.lock().insert(self.task);
    }
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Simulation {
        let state = State {
            now: Duration::ZERO,
            random: seed,
            count: 0,
            owner: 0,
            tasks: BTreeMap::new(),
            timers: BinaryHeap::new(),
            wakers: BTreeMap::new(),
            still: BTreeMap::new(),
        };
        let (state, ready) = (Mutex::new(state), Mutex::default());
        let shared = Arc::new(Shared { base: Instant::now(), state, ready });
        HERE.set(Some(shared.clone()));
        Simulation(shared)
    }

    /// Lets everything happen that is due within so long.
    pub(crate) fn run_for(&self, duration: Duration) {
        let until = self.0.state.lock().now + duration;
        while let Some(task) = self.next(until) {
            self.poll(task);
        }
    }

    /// Kills an owner's tasks.
    pub(crate) fn kill(&self, owner: Owner) {
        let mut state = self.0.state.lock();
        state.still.remove(&owner);
        let dead: BTreeMap<_, _> = state.tasks.extract_if(.., |_, task| task.0 == owner).collect();
        drop(state);
        drop(dead);
    }

    /// Lets an owner's tasks stand still.
    pub(crate) fn pause(&self, owner: Owner) {
        self.0.state.lock().still.entry(owner).or_default();
    }

    /// Lets them go on.
    pub(crate) fn resume(&self, owner: Owner) {
        let due = self.0.state.lock().still.remove(&owner).unwrap_or_default();
        self.0.ready.lock().extend(due);
    }

    /// The next task that is due until then; time passes where none is.
    fn next(&self, until: Duration) -> Option<u64> {
        loop {
            let mut state = self.0.state.lock();
            let mut ready = self.0.ready.lock();
            if !ready.is_empty() {
                let at = state.below(ready.len() as u64) as usize;
                let task = ready.iter().nth(at).copied()?;
                ready.remove(&task);
                return Some(task);
            }
            drop(ready);
            match state.timers.peek() {
                Some(Reverse((at, _))) if *at <= until => {}
                _ => {
                    state.now = until;
                    return None;
                }
            }
            let Reverse((at, number)) = state.timers.pop()?;
            state.now = state.now.max(at);
            let waker = state.wakers.remove(&number);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn poll(&self, number: u64) {
        let mut state = self.0.state.lock();
        let Some((owner, _)) = state.tasks.get(&number) else { return };
        let owner = *owner;
        if let Some(due) = state.still.get_mut(&owner) {
            return due.push(number);
        }
        let Some((_, work)) = state.tasks.get_mut(&number) else { return };
        let Some(mut future) = work.take() else { return };
        state.owner = owner;
        drop(state);
        let waker = Waker::from(Arc::new(TaskWaker { task: number, shared: self.0.clone() }));
        let outcome = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut state = self.0.state.lock();
        state.owner = 0;
        let done = match (outcome, state.tasks.get_mut(&number)) {
            (Poll::Pending, Some(task)) => {
                task.1 = Some(future);
                None
            }
            (_, known) => {
                let known = known.is_some();
                known.then(|| state.tasks.remove(&number));
                Some(future)
            }
        };
        drop(state);
        drop(done);
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        let tasks = std::mem::take(&mut self.0.state.lock().tasks);
        drop(tasks);
        HERE.set(None);
    }
}

impl State {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

fn here() -> Option<Arc<Shared>> {
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// Whether a simulation runs on this thread.
pub(crate) fn runs_here() -> bool {
    here().is_some()
}

/// The time of the simulation.
pub(crate) fn now() -> Option<Instant> {
    here().map(|shared| shared.base + shared.state.lock().now)
}

/// How much time has passed in the simulation.
pub(crate) fn elapsed() -> Duration {
    here().map_or(Duration::ZERO, |shared| shared.state.lock().now)
}

/// Starts a task of the owner whose task runs.
pub(crate) fn spawn<F>(future: F) -> oneshot::Receiver<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let owner = here().map_or(0, |shared| shared.state.lock().owner);
    spawn_of(owner, future)
}

/// Starts a task of an owner.
pub(crate) fn spawn_of<F>(owner: Owner, future: F) -> oneshot::Receiver<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let Some(shared) = here() else { return receiver };
    let work: Work = Box::pin(async move { drop(sender.send(future.await)) });
    let mut state = shared.state.lock();
    state.count += 1;
    let number = state.count;
    state.tasks.insert(number, (owner, Some(work)));
    drop(state);
    shared.ready.lock().insert(number);
    receiver
}

/// A number of the simulation's own chance.
pub(crate) fn below(bound: u64) -> u64 {
    here().map_or(0, |shared| shared.state.lock().below(bound))
}

/// Ends at a time of the simulation.
pub(crate) struct Timer {
    at: Instant,
    number: Option<u64>,
}

impl Timer {
    pub(crate) fn new(at: Instant) -> Timer {
        Timer { at, number: None }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = here() else { return Poll::Ready(()) };
        let at = self.at.saturating_duration_since(shared.base);
        let mut state = shared.state.lock();
        if state.now >= at {
            return Poll::Ready(());
        }
        let number = match self.number {
            Some(number) => number,
            None => {
                state.count += 1;
                let number = state.count;
                state.timers.push(Reverse((at, number)));
                *self.number.insert(number)
            }
        };
        let before = state.wakers.insert(number, context.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let (Some(number), Some(shared)) = (self.number, here()) {
            let waker = shared.state.lock().wakers.remove(&number);
            drop(waker);
        }
    }
}
