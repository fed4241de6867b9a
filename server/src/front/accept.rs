//! Accepting connections, up to a bound, and closing those that take too long.

use super::{
    Bounds,
    connection::{self, SharedRouter},
    entry::Entry,
    progress::Progress,
};
use axum::Router;
use parking_lot::{Mutex, RwLock};
use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, net::TcpStream, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a connection is silent before the system asks whether its peer is there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// What the front door counts.
#[derive(Debug, Default)]
pub(crate) struct FrontCounters {
    /// Connections open now.
    pub(crate) connections: AtomicU64,
    /// Connections accepted in total.
    pub(crate) accepted: AtomicU64,
    /// Connections closed by this side, because they took too long or others needed room.
    pub(crate) cut: AtomicU64,
    /// Connections refused, as all others were busy.
    pub(crate) refused: AtomicU64,
}

/// A running front door.
pub(crate) struct FrontDoor {
    router: SharedRouter,
    counters: Arc<FrontCounters>,
    task: JoinHandle<()>,
}

impl FrontDoor {
    /// Serves `router` on `listener` to who comes in by `entry`, until `stop`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A socket that cannot be used.
    pub(crate) fn open(
        listener: std::net::TcpListener,
        entry: Entry,
        router: Router,
        bounds: Bounds,
        stop: CancellationToken,
    ) -> std::io::Result<FrontDoor> {
        let listener = TcpListener::from_std(listener)?;
        let router = Arc::new(RwLock::new(router));
        let counters = Arc::new(FrontCounters::default());
        let door = Arc::new(Door {
            entry,
            router: router.clone(),
            bounds,
            stop,
            counters: counters.clone(),
            open: Mutex::default(),
        });
        Ok(FrontDoor { router, counters, task: tokio::spawn(run(door, listener)) })
    }

    /// From now on `router` answers, on open connections too.
    pub(crate) fn serve(&self, router: Router) {
        *self.router.write() = router;
    }

    /// What was counted so far.
    pub(crate) fn counters(&self) -> &Arc<FrontCounters> {
        &self.counters
    }

    /// After the stop: waits until the requests in progress are answered, or their time is over.
    pub(crate) async fn join(self) {
        if let Err(wrong) = self.task.await {
            tracing::error!(%wrong, "the http front door ended abnormally");
        }
    }
}

struct Door {
    entry: Entry,
    router: SharedRouter,
    bounds: Bounds,
    stop: CancellationToken,
    counters: Arc<FrontCounters>,
    open: Mutex<HashMap<u64, Arc<Progress>>>,
}

async fn run(door: Arc<Door>, listener: TcpListener) {
    /// After an accept failed, as for want of files.
    const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
    const SWEEP_PAUSE: Duration = Duration::from_millis(500);
    let tasks = TaskTracker::new();
    let mut sweep = tokio::time::interval(SWEEP_PAUSE);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => door.clone().admit(socket, &tasks),
                Err(wrong) => {
                    tracing::warn!(%wrong, "cannot accept an http connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = sweep.tick() => door.sweep(),
            () = door.stop.cancelled() => break,
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(door.bounds.drain_max, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "requests were cut off by the stop");
        door.open.lock().values().for_each(|progress| progress.close());
        tasks.wait().await;
    }
}

impl Door {
    fn admit(self: Arc<Self>, socket: TcpStream, tasks: &TaskTracker) {
        let number = self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        if !self.make_room() {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            refuse(socket);
            return;
        }
        // Answers are written as a whole; waiting for more bytes would only delay.
        let _ = socket.set_nodelay(true);
        // Peers that are gone without a word are found.
        let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
        let progress = Arc::new(Progress::new());
        self.open.lock().insert(number, progress.clone());
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        let leave = Leave { door: self.clone(), number };
        tasks.spawn(async move {
            let door = &leave.door;
            let (router, stop) = (door.router.clone(), door.stop.clone());
            connection::serve(socket, door.entry.clone(), router, progress, door.bounds, stop)
                .await;
        });
    }

    /// Whether one more connection may come. Those that are idle longest make room; several at
    /// once, so that a flood does not search them all each time.
    fn make_room(&self) -> bool {
        const SHARE: usize = 16;
        let mut open = self.open.lock();
        if open.len() < self.bounds.connections_max {
            return true;
        }
        let mut idle: Vec<(u64, u64)> = open
            .iter()
            .filter_map(|(number, one)| one.idle_ms().map(|idle_ms| (idle_ms, *number)))
            .collect();
        idle.sort_unstable_by(|one, other| other.cmp(one));
        idle.truncate((self.bounds.connections_max / SHARE).max(1));
        for (_, number) in &idle {
            if let Some(progress) = open.remove(number) {
                progress.close();
            }
        }
        self.counters.cut.fetch_add(idle.len() as u64, Ordering::Relaxed);
        !idle.is_empty()
    }

    fn sweep(&self) {
        for progress in self.open.lock().values() {
            if let Some(reason) = progress.overdue(&self.bounds) {
                tracing::debug!(?reason, "an http connection is closed");
                self.counters.cut.fetch_add(1, Ordering::Relaxed);
                progress.close();
            }
        }
    }
}

/// Takes a connection off the books, also when its task ends by a panic.
struct Leave {
    door: Arc<Door>,
    number: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.door.open.lock().remove(&self.number);
        self.door.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn refuse(socket: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
        Connection: close\r\nContent-Length: 0\r\n\r\n";
    // The buffer of a new socket is empty, so this goes out at once, or the client is gone.
    let _ = socket.into_std().and_then(|mut socket| socket.write(ANSWER));
}
