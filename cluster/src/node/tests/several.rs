//! Three nodes over a network in memory: whichever is asked, the leader does it.

use super::*;
use crate::{
    Assignment, Boot, ClusterId, MemberId, WriteOutcome,
    elections::{Lives, Said, Supervisor},
    route::wire,
    transport::{
        Agreed, CallError, Channel, Frame, Kind, Network, Pending, Request, Role, Service,
    },
};
use bytes::Bytes;
use oribi_model::Consistency;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::task::JoinSet;

mod commands;
mod drops;
mod reads;
mod sleeping;
mod stale;

const NODES: [u32; 3] = [1, 2, 3];

/// Sees each request before it is handed on.
type Sees = Box<dyn Fn(NodeId, NodeId, &Request) -> Way + Send + Sync>;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It arrives, and its answer comes back.
    Open,
    /// It is not sent.
    Shut,
    /// It arrives; what it is answered does not.
    Deaf,
}

/// Hands requests from node to node.
#[derive(Default)]
struct Hall {
    nodes: Mutex<BTreeMap<NodeId, Arc<Node>>>,
    sees: Mutex<Option<Sees>>,
}

struct Door(NodeId, Arc<Hall>);

impl Network for Door {
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>> {
        let Door(from, hall) = self;
        let sees = |sees: &Sees| sees(*from, to, &request);
        let way = hall.sees.lock().as_ref().map_or(Way::Open, sees);
        let node = hall.nodes.lock().get(&to).cloned().filter(|_| way != Way::Shut);
        let Some(node) = node else {
            return Box::pin(std::future::ready(Err(CallError::NotConnected(to))));
        };
        let channel = request.kind.channel().unwrap_or(Channel::Raft);
        let from = Agreed { protocol: 1, node: *from, boot: Boot(1), channel };
        let Request { kind, group, incarnation, body } = request;
        let frame = Frame { kind, role: Role::Request, group, incarnation, request: 1, body };
        let (answer, hall) = (node.serve(&from, frame), hall.clone());
        drop(node);
        Box::pin(async move {
            let answer = answer.await;
            if way == Way::Deaf || !hall.nodes.lock().contains_key(&to) {
                return Err(CallError::Lost(to));
            }
            answer.map_err(|refusal| CallError::Refused { node: to, refusal })
        })
    }

    fn notify(&self, to: NodeId, _: Request) -> Result<(), CallError> {
        Err(CallError::NotConnected(to))
    }
}

/// Three nodes that all have a replica of everything.
struct Three {
    hall: Arc<Hall>,
    disks: BTreeMap<u32, SimDisk>,
    clock: Arc<TestClock>,
    said: Arc<Said>,
    supervisors: BTreeMap<u32, Arc<Supervisor>>,
    assign: fn(GroupId) -> Assignment,
    tasks: JoinSet<()>,
}

/// The catalog begins at node 1, and tablets at each node in turn.
fn assignment(group: GroupId) -> Assignment {
    let founder = match group {
        CATALOG_GROUP => 1,
        GroupId(tablet) => NODES[tablet as usize % NODES.len()],
    };
    let others = NODES.into_iter().filter(|node| *node != founder);
    let member = |node| MemberId::first(NodeId(node));
    Assignment::new(member(founder), others.map(member).collect())
}

/// Each tablet is on one node only.
fn alone_in_turn(group: GroupId) -> Assignment {
    match group {
        CATALOG_GROUP => assignment(group),
        group => Assignment::alone(assignment(group).founder()),
    }
}

impl Three {
    async fn open() -> Three {
        Three::open_with(assignment).await
    }

    async fn open_with(assign: fn(GroupId) -> Assignment) -> Three {
        let disk = |id| (id, SimDisk::new());
        let mut three = Three {
            hall: Arc::default(),
            disks: NODES.into_iter().map(disk).collect(),
            clock: clock(),
            said: Arc::default(),
            supervisors: BTreeMap::new(),
            assign,
            tasks: JoinSet::new(),
        };
        for id in NODES {
            let identity = NodeIdentity { node: NodeId(id), ..NodeIdentity::first(ClusterId(7)) };
            data_dir::write_first(&three.disks[&id], "/data".as_ref(), identity).unwrap();
            three.start(id).await;
        }
        three
    }

    async fn start(&mut self, id: u32) {
        let door = Door(NodeId(id), self.hall.clone());
        let said = self.said.clone();
        let around = Around { assign: Some(Arc::new(self.assign)), ..Around::default() };
        around.links.set(Arc::new(door), Arc::new(move |nodes| said.trusts_majority(nodes)));
        let disk = Arc::new(self.disks[&id].clone());
        let clock = self.clock.clone();
        let node = Node::open_among("/data".into(), small(), disk, clock, around).await;
        let node = node.unwrap();
        self.hall.nodes.lock().insert(NodeId(id), node);
        self.said.came_back(NodeId(id));
        let supervisor = Arc::<Supervisor>::default();
        let (hall, said, running) = (self.hall.clone(), self.said.clone(), supervisor.clone());
        self.tasks.spawn(async move {
            let here = || {
                let node = hall.nodes.lock().get(&NodeId(id)).cloned();
                node.map(|node| node.awake()).unwrap_or_default()
            };
            running.run(Duration::from_secs(1), here, |look| look(&*said)).await;
        });
        self.supervisors.insert(id, supervisor);
        self.supervisors.values().for_each(|supervisor| supervisor.restarted(NodeId(id)));
    }

    /// Ends a node as a power cut does.
    async fn kill(&mut self, id: u32) {
        let node = self.hall.nodes.lock().remove(&NodeId(id)).unwrap();
        let disk = self.disks.get_mut(&id).unwrap();
        *disk = disk.reboot(id.into());
        self.supervisors.remove(&id).unwrap().stop();
        self.said.died(NodeId(id));
        self.supervisors.values().for_each(|supervisor| supervisor.look_now());
        node.stop().await;
    }

    fn node(&self, id: u32) -> Arc<Node> {
        self.hall.nodes.lock()[&NodeId(id)].clone()
    }

    fn see(&self, sees: impl Fn(NodeId, NodeId, &Request) -> Way + Send + Sync + 'static) {
        *self.hall.sees.lock() = Some(Box::new(sees));
    }

    fn see_nothing(&self) {
        *self.hall.sees.lock() = None;
    }

    /// A node that does not lead this group, and the one that does.
    async fn pair(&self, group: GroupId) -> (u32, u32) {
        loop {
            for id in NODES {
                let Some(node) = self.hall.nodes.lock().get(&NodeId(id)).cloned() else { continue };
                let Some(replica) = node.replica(group) else { continue };
                if replica.leads(Duration::from_millis(300)).await {
                    let other = NODES.into_iter().find(|other| {
                        *other != id && self.hall.nodes.lock().contains_key(&NodeId(*other))
                    });
                    return (other.unwrap(), id);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn end(mut self) {
        self.supervisors.values().for_each(|supervisor| supervisor.stop());
        while self.tasks.join_next().await.is_some() {}
        let nodes = std::mem::take(&mut *self.hall.nodes.lock());
        futures::future::join_all(nodes.values().map(|node| node.stop())).await;
    }
}

/// The rows that a question at this node finds, by time.
async fn read(node: &Arc<Node>, table: TableId) -> Vec<(i64, i64)> {
    let node = node.clone();
    let read = move || {
        let question = node.begin(Consistency::Linearizable).unwrap().unwrap();
        let stats = question.stats(table);
        let rows = rows_by(&*question, table);
        let count = rows.iter().filter(|(time, _)| stats.time.unwrap().contains(*time)).count();
        assert_eq!(count, rows.len(), "it holds rows of other times than it says");
        rows
    };
    let mut rows = tokio::task::spawn_blocking(read).await.unwrap();
    rows.sort_unstable();
    rows
}

/// A table with one tablet for each of so many days, and these in order.
async fn tablets(node: &Node, days: i64) -> (TableId, Vec<(TabletId, i64)>) {
    let table = table(node).await.unwrap();
    let times: Vec<i64> = (0..days).map(|day| NOW - day * 40 * NS_PER_DAY).collect();
    let catalog = node.cover(table, &times, |wanted| wanted.count).await.unwrap().catalog;
    let tablet = |time: &i64| (catalog.tablets_at(table, *time)[0].id, *time);
    let tablets: Vec<_> = times.iter().map(tablet).collect();
    let different: BTreeSet<_> = tablets.iter().map(|(tablet, _)| *tablet).collect();
    assert_eq!(different.len() as i64, days);
    (table, tablets)
}
