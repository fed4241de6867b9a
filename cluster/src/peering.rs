//! A node among others: its connections, its liveness, its elections, and the members of the groups
//! that it leads.
//!
//! `state` is what is shared, `book` where the others are, `door` what they ask, `tasks` and `members`
//! what is done all the time, `disk` what has a thread for that, `plan` which step a group takes next.

mod absences;
mod book;
mod cluster_key;
mod disk;
mod door;
mod members;
mod moves;
mod never_begun;
mod plan;
mod proving;
mod removal;
mod scenery;
mod sleep;
mod spread;
mod state;
mod tablets;
mod tasks;
#[cfg(test)]
mod tests;
mod view;

pub use moves::{MovePhase, MoveView};
pub use tablets::{ReplicaState, ReplicaView, TabletView};
pub use view::{Awaited, NodeView, PeersView};

use crate::{
    Node,
    elections::Supervisor,
    join::JoinOptions,
    liveness::{Event, Watch},
    node::Leaving,
    transport::{Channel, Service, Tcp},
};
use book::Book;
use door::{Door, Eyes};
use oribi_model::NodeId;
use parking_lot::Mutex;
use state::State;
use std::{collections::BTreeSet, io, net::TcpListener, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinSet,
};

/// Once all has been calm for a while, it is only looked now and then whether it still is, unless
/// something is told.
const CALM_PAUSE: Duration = Duration::from_secs(3);
/// For so long nothing was told then.
const CALM: Duration = Duration::from_secs(10);
/// How long a node that ends hands over what it leads.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// A node among others.
pub struct Peering {
    state: Arc<State>,
    disk: disk::Trial,
    tasks: JoinSet<()>,
}

impl Peering {
    /// Listens to other nodes at `listener`, calls them, and does its part of what they do together.
    /// Works on the present runtime, liveness on a thread of its own.
    ///
    /// # Errors
    /// No thread or no sockets can be had.
    pub fn start(
        node: Arc<Node>,
        listener: TcpListener,
        options: JoinOptions,
    ) -> io::Result<Peering> {
        let door = Arc::<Door>::default();
        let channels = BTreeSet::from([Channel::Raft, Channel::Bulk]);
        let tls = Arc::new(options.tls(Some(node.identity())).map_err(io::Error::other)?);
        let service = door.clone() as Arc<dyn Service>;
        let tcp = Arc::new(Tcp::new(node.identity(), channels, service, tls.clone()));
        let supervisor = Arc::<Supervisor>::default();
        let book = Arc::<Mutex<Book>>::default();
        let eyes = Eyes {
            node: Arc::downgrade(&node),
            book: book.clone(),
            tcp: tcp.clone(),
            supervisor: supervisor.clone(),
        };
        let elsewhere = Some((Handle::current(), tcp.clone()));
        let watch =
            Watch::start(node.identity(), listener, tls.clone(), Arc::new(eyes), elsewhere)?;
        let state = Arc::new(State {
            node,
            options,
            tcp,
            watch,
            supervisor,
            tls,
            book,
            heard: Notify::new(),
            absences: Mutex::default(),
            planned: Mutex::default(),
            stopped: watch::Sender::new(false),
        });
        let eyes = Arc::downgrade(&state);
        let hears = move |nodes: &BTreeSet<NodeId>| {
            let mut hears = true;
            if let Some(state) = eyes.upgrade() {
                // What a disk that stalls does not sync is not committed here.
                state.watch.view(|view| hears = !view.is_stalled() && view.trusts_majority(nodes));
            }
            hears
        };
        state.node.connect(state.tcp.clone(), Arc::new(hears));
        door.open(&state);
        let mut tasks = JoinSet::new();
        tasks.spawn(tasks::call(state.clone()));
        tasks.spawn(tasks::announce(state.clone()));
        tasks.spawn(cluster_key::keep(state.clone()));
        tasks.spawn(members::run(state.clone()));
        tasks.spawn(proving::run(state.clone()));
        tasks.spawn(spread::run(state.clone()));
        tasks.spawn(elect(state.clone()));
        tasks.spawn(removal::replace(state.clone()));
        tasks.spawn(sleep::run(state.clone()));
        tasks.spawn(sleep::follow_wakes(state.clone()));
        let teller = state.watch.teller();
        let proved = move || teller.tell(Event::DiskProved);
        let disk = disk::Trial::begin(state.node.clone(), proved)?;
        Ok(Peering { state, disk, tasks })
    }

    /// Gives what the node leads to others, for a while at most, stops it and then whatever connects
    /// it to others. Everything acked is safe.
    pub async fn stop(mut self) {
        self.state.node.leave_lead(Leaving::Leaves);
        let leaving = tokio::time::timeout(LEAVE_WAIT, spread::leave(&self.state)).await;
        match leaving {
            Ok(0) => {}
            Ok(left) => tracing::info!(left, "some groups are without a leader for a moment"),
            Err(_) => tracing::info!("not all groups were handed over in time"),
        }
        self.state.stopped.send_replace(true);
        self.state.supervisor.stop();
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let Peering { state, disk, .. } = self;
        end(disk).await;
        state.node.stop().await;
        state.tcp.stop().await;
        end(state).await;
    }
}

/// Lets go of what has a thread that is waited for.
async fn end(threaded: impl Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(move || drop(threaded)).await {
        tracing::error!(%error, "ending a thread of the watch over other nodes broke off");
    }
}

async fn elect(state: Arc<State>) {
    // A group of one elects nobody.
    let replicas = || match state.node.has_no_others() {
        true => Vec::new(),
        false => state.node.awake(),
    };
    let supervisor = state.supervisor.clone();
    supervisor.run(CALM_PAUSE, replicas, |look| look(&state.watch.seen())).await;
}
