//! Tries the disk, on a thread of its own: what keeps tasks waiting says nothing of the disk.

use crate::{
    Node,
    liveness::{Event, Teller},
};
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
    /// # Errors
    /// No thread can be had.
    pub(super) fn begin(node: Arc<Node>, teller: Teller) -> io::Result<Trial> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut tried = Tried::default();
            loop {
                tried.again(&node, &teller);
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
    fn again(&mut self, node: &Node, teller: &Teller) {
        let syncs = node.log_syncs();
        if syncs != self.syncs {
            self.syncs = syncs;
            return teller.tell(Event::DiskProved);
        }
        let waits = |trial: &mpsc::Receiver<()>| trial.try_recv().is_err();
        if self.under_way.as_ref().is_some_and(waits) {
            return;
        }
        let (synced, trial) = mpsc::sync_channel(1);
        let teller = teller.clone();
        // Told where the sync ends, whatever this thread does then.
        node.try_disk(move || {
            teller.tell(Event::DiskProved);
            let _ = synced.try_send(());
        });
        self.under_way = Some(trial);
    }
}
