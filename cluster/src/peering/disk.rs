//! Tries the disk, on a thread of its own: what keeps tasks waiting says nothing of the disk.

use crate::Node;
use std::{io, sync::Arc, sync::mpsc, thread::JoinHandle, time::Duration};

/// How often the disk is tried where nothing else is written: a sync may take as long again, and more,
/// before the disk counts as stalled.
const PAUSE: Duration = Duration::from_millis(750);

/// The thread that tries the disk, until this goes.
pub(super) struct Trial {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Trial {
    /// Has `proved` called whenever the disk has synced what it was given.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn begin(
        node: Arc<Node>,
        proved: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Trial> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut tried = Tried::default();
            loop {
                tried.again(&node, &proved);
                if stopped.recv_timeout(PAUSE) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("oribi-disk".into()).spawn(run)?;
        Ok(Trial { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that tries the disk ended abnormally");
        }
    }
}

/// What was tried so far.
#[derive(Default)]
struct Tried {
    syncs: u64,
    /// Until the trial that was begun last has synced; one that fails never does.
    under_way: Option<mpsc::Receiver<()>>,
}

impl Tried {
    /// While something waits to be synced, nothing is added.
    fn again(&mut self, node: &Node, proved: &(impl Fn() + Clone + Send + 'static)) {
        let syncs = node.log_syncs();
        if syncs != self.syncs {
            self.syncs = syncs;
            return proved();
        }
        let waits = |trial: &mpsc::Receiver<()>| trial.try_recv().is_err();
        if self.under_way.as_ref().is_some_and(waits) {
            return;
        }
        let (synced, trial) = mpsc::sync_channel(1);
        let proved = proved.clone();
        // Told where the sync ends, whatever this thread does then.
        node.try_disk(move || {
            proved();
            let _ = synced.try_send(());
        });
        self.under_way = Some(trial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeOptions;
    use oribi_model::SystemClock;
    use oribi_store::disk::sim::SimDisk;
    use std::sync::atomic::{AtomicBool, Ordering};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_runtime_that_comes_to_nothing_leaves_the_disk_proved() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(SystemClock));
        let opening = Node::open("/data".into(), NodeOptions::default(), disk, clock);
        let node = runtime.block_on(opening).unwrap();
        let has_run = Arc::new(AtomicBool::new(false));
        let runs = has_run.clone();
        runtime.spawn(async move { runs.store(true, Ordering::Release) });
        // From here on its only thread does something else.
        let (told, proofs) = mpsc::channel();
        let proved = move || {
            let _ = told.send(());
        };
        let trial = Trial::begin(node.clone(), proved).unwrap();
        for _ in 0..3 {
            proofs.recv_timeout(PATIENCE).unwrap();
        }
        assert!(!has_run.load(Ordering::Acquire), "no task ran meanwhile");
        drop(trial);
        runtime.block_on(node.stop());
    }
}
