//! Keeps what runs here in step with what is remembered: which connectors there are, which are
//! paused, and which node has each.

use super::{
    Inner, Known, Seat, State, Task,
    entry::{Entry, Halt, Origin},
    run::{end, supervise},
};
use crate::{
    connector::{Progress, RunContext},
    sparkplug_store::EdgeNodes,
};
use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};
use tokio::time::Instant;

/// That a node is gone is no change of what is remembered, so it is looked for.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Looks in a row that lead to another at once.
const LOOKS_MAX: usize = 8;

/// What is to be waited for before the next look.
#[derive(Default)]
pub(super) struct Due {
    /// Runs that are to end.
    ended: Vec<Task>,
    /// Connectors that this node takes, each with the epoch that it had.
    taken: Vec<(String, u64)>,
}

/// Keeps in step until the connectors are told to stop.
pub(super) async fn keep(inner: Arc<Inner>) {
    loop {
        let changed = inner.parts.store.changed();
        {
            let _one = inner.changing.lock().await;
            inner.settle().await;
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(LOOK_PAUSE) => {}
            () = inner.stop.cancelled() => return,
        }
    }
}

impl Inner {
    /// Ends and takes what is due, until there is nothing more.
    pub(super) async fn settle(&self) {
        for _ in 0..LOOKS_MAX {
            let Due { ended, taken } = self.look();
            if (ended.is_empty() && taken.is_empty()) || self.stop.is_cancelled() {
                // What is to end then, ends with all others.
                return;
            }
            for task in ended {
                end(task.stop, task.run).await;
            }
            for (name, epoch) in taken {
                // Another node may have been faster; the next look tells.
                if let Err(wrong) = self.parts.store.take(&name, epoch).await {
                    tracing::debug!(connector = name, wrong, "a connector was not taken");
                }
            }
        }
    }

    /// Ends the run of a connector, so that the next look begins another.
    pub(super) async fn replace(&self, name: &str) {
        let task = self.known.lock().get_mut(name).and_then(|known| known.task.take());
        if let Some(task) = task {
            end(task.stop, task.run).await;
        }
        self.known.lock().remove(name);
    }

    /// Brings the list up to date and starts what is to run here, but for what has to end first.
    pub(super) fn look(&self) -> Due {
        let mut due = Due::default();
        let mut known = self.known.lock();
        let mut before = mem::take(&mut *known);
        for (name, (kept, origin)) in self.wanted() {
            let same = before.remove(&name).filter(|one| one.is(origin, kept.as_deref()));
            let one = match same {
                Some(mut one) => {
                    if one.entry.may_open() {
                        one.entry = self.entry(&name, kept.as_deref());
                    }
                    one
                }
                None => Known::new(self.entry(&name, kept.as_deref()), origin, kept),
            };
            known.insert(name, one);
        }
        due.ended.extend(before.into_values().filter_map(|one| one.task));
        let paused = self.parts.store.paused();
        for (name, one) in known.iter_mut() {
            let seat = (!paused.contains(name)).then(|| self.parts.store.seat(name));
            place(name, one, seat, &mut due);
        }
        // What follows a run under its name waits until that has ended.
        if due.ended.is_empty() {
            for (name, one) in known.iter_mut().filter(|(name, _)| !paused.contains(*name)) {
                self.start(name, one);
            }
        }
        due
    }

    /// What there is by the file and by the store: the JSON of each that was kept.
    fn wanted(&self) -> BTreeMap<String, (Option<String>, Origin)> {
        let file = self.file.keys().map(|name| (name.clone(), (None, Origin::File)));
        let mut wanted: BTreeMap<_, _> = file.collect();
        for (name, json) in self.parts.store.connectors() {
            let one = wanted.entry(name).or_insert((None, Origin::Http));
            one.0 = Some(json);
        }
        wanted
    }

    fn entry(&self, name: &str, kept: Option<&str>) -> Entry {
        match (self.file.get(name), kept) {
            (Some(spec), None) => Entry::Readable(spec.clone()),
            (Some(spec), Some(_)) => Entry::Doubled(spec.clone()),
            (None, kept) => Entry::kept(name, kept.unwrap_or_default(), &self.parts),
        }
    }

    /// Starts a connector that is to run here and does not, if it can.
    fn start(&self, name: &str, one: &mut Known) {
        if one.task.is_some() {
            return;
        }
        let spec = match one.entry.runs() {
            Ok(spec) => spec.clone(),
            Err(halt) => return one.halt(name, &halt),
        };
        let Seat::Here { epoch } = self.parts.store.seat(name) else { return };
        one.progress.enter(State::Starting);
        let stop = self.stop.child_token();
        let name: Arc<str> = name.into();
        let context = RunContext {
            nodes: Arc::new(EdgeNodes::of(name.clone())),
            name,
            epoch,
            parts: self.parts.clone(),
            progress: one.progress.clone(),
            stop: stop.clone(),
        };
        let run = tokio::spawn(supervise(spec, one.origin, context));
        one.task = Some(Task { epoch, stop, run });
    }
}

/// Ends the run of what is not this node's to run, and takes what no node has. Nobody has a `seat` of
/// what is paused.
fn place(name: &str, one: &mut Known, seat: Option<Seat>, due: &mut Due) {
    let here = match seat {
        Some(Seat::Here { epoch }) => Some(epoch),
        _ => None,
    };
    if one.task.as_ref().is_some_and(|task| Some(task.epoch) != here) {
        due.ended.extend(one.task.take());
    }
    match seat {
        Some(Seat::Free { epoch, wait }) => {
            let since = *one.free_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= wait && one.entry.runs().is_ok() {
                due.taken.push((name.to_owned(), epoch));
            }
            return;
        }
        Some(Seat::Here { .. }) => {}
        Some(Seat::Elsewhere) => one.progress.enter(State::Elsewhere),
        None => match one.entry.runs() {
            // That it is paused says less than what it will need to run.
            Err(halt) if halt.state == State::Sealed => one.halt(name, &halt),
            _ => one.progress.enter(State::Paused),
        },
    }
    one.free_since = None;
}

impl Known {
    fn new(entry: Entry, origin: Origin, kept: Option<String>) -> Known {
        let progress = Arc::new(Progress::new(State::Starting));
        Known { entry, origin, kept, progress, task: None, free_since: None }
    }

    /// Notes why it does not run.
    fn halt(&self, name: &str, Halt { state, reason }: &Halt) {
        let told = self.progress.state.lock().1.as_ref().is_some_and(|(told, _)| told == reason);
        if !told {
            self.progress.failed(reason);
            if *state != State::Starting {
                tracing::error!(connector = name, reason, "a connector cannot run");
            }
        }
        self.progress.enter(*state);
    }

    fn is(&self, origin: Origin, kept: Option<&str>) -> bool {
        self.origin == origin && self.kept.as_deref() == kept
    }
}
