//! Nodes in the catalog, and the replicas that it gives them.

use super::*;

fn presence(port: u16, boot: u64) -> Presence {
    let address = |port: u16| format!("127.0.0.1:{port}");
    let addresses =
        NodeAddresses { node: address(port), http: address(port + 1), mqtt: address(port + 2) };
    Presence { addresses, version: "0.1.0".into(), boot: Boot(boot), pin: None }
}

fn announce(node: u32, port: u16, boot: u64) -> Change {
    Change::AnnounceNode { node: NodeId(node), presence: presence(port, boot) }
}

fn register(nonce: u128, port: u16) -> Change {
    Change::RegisterNode { nonce: JoinNonce(nonce), presence: presence(port, 1) }
}

fn state(node: u32, state: NodeState) -> Change {
    Change::SetNodeState { node: NodeId(node), state }
}

/// As the entry would be read from a log.
fn apply(catalog: &Catalog, change: &Change) -> Result<Catalog, String> {
    let form = serde_json::to_string(change).unwrap();
    catalog.apply(&serde_json::from_str(&form).unwrap())
}

/// A catalog with a table and so many nodes that are up.
fn of_nodes(count: u32) -> Catalog {
    let joins = (2..=count).flat_map(|node| {
        let port = u16::try_from(node).unwrap() * 10;
        [register(u128::from(node), port), state(node, NodeState::Up)]
    });
    let changes = [announce(1, 10, 1)].into_iter().chain(joins);
    changes.fold(with_table(), |catalog, change| apply(&catalog, &change).unwrap())
}

fn create(catalog: &Catalog, start: i64, buckets: u32) -> Catalog {
    let table = catalog.table("default", "m").unwrap().id;
    let ranges = vec![TimeRange::new(start, start + 10)];
    apply(catalog, &Change::CreateTablets { table, ranges, buckets, away: Vec::new() }).unwrap()
}

#[test]
fn a_node_that_asks_again_gets_the_id_it_has() {
    let catalog = of_nodes(3);
    let ids = |catalog: &Catalog| catalog.nodes().map(|(node, _)| node.0).collect::<Vec<_>>();
    assert_eq!(ids(&catalog), [1, 2, 3]);
    let again = apply(&catalog, &register(3, 77)).unwrap();
    assert_eq!(ids(&again), [1, 2, 3]);
    assert_eq!(again.node_of(JoinNonce(3)), Some(NodeId(3)));
    let record = again.node(NodeId(3)).unwrap();
    assert_eq!((&record.presence, record.state), (&presence(77, 1), NodeState::Up));

    let gone = apply(&again, &state(3, NodeState::Removed)).unwrap();
    assert!(apply(&gone, &register(3, 77)).unwrap_err().contains("removed"));
    assert!(apply(&gone, &state(3, NodeState::Up)).is_err());
    let next = apply(&gone, &register(4, 90)).unwrap();
    assert_eq!(next.node_of(JoinNonce(4)), Some(NodeId(4)), "no id is given twice");
    assert_eq!(next.node(NodeId(4)).unwrap().state, NodeState::Joining);
}

#[test]
fn what_an_earlier_run_said_changes_nothing() {
    let catalog = apply(&of_nodes(2), &announce(2, 50, 3)).unwrap();
    assert_eq!(catalog.node(NodeId(2)).unwrap().presence, presence(50, 3));
    assert_eq!(apply(&catalog, &announce(2, 60, 2)).unwrap(), catalog);
    assert!(apply(&catalog, &announce(3, 60, 1)).unwrap_err().contains("no node 3"));
}

#[test]
fn new_tablets_lie_on_as_many_nodes_as_are_wished_and_up() {
    for (nodes, wish, expected) in [(1, None, 1), (2, None, 1), (3, None, 3), (5, Some(5), 5)] {
        let mut catalog = of_nodes(nodes);
        let table = catalog.table("default", "m").unwrap().id;
        let options = TableOptions { replication: wish, ..TableOptions::default() };
        catalog = apply(&catalog, &Change::SetOptions { table, options }).unwrap();
        catalog = create(&catalog, 0, 6);
        for tablet in catalog.tablets() {
            assert_eq!(catalog.replicas_of(tablet.id).len(), expected, "{nodes} {wish:?}");
            let voters = catalog.assignment_of(tablet.id).voters();
            assert_eq!(voters.len(), expected);
        }
    }
    // One that only joins gets none.
    let joining = apply(&of_nodes(2), &register(9, 90)).unwrap();
    let catalog = create(&joining, 0, 1);
    assert_eq!(catalog.replicas_of(TabletId(1)).len(), 1);
    assert!(catalog.replica_on(TabletId(1), NodeId(3)).is_none());
}

#[test]
fn a_tablet_that_has_too_few_replicas_gets_more() {
    let tablet = TabletId(1);
    let alone = create(&of_nodes(1), 0, 1);
    assert!(alone.growth_of(tablet).is_empty());
    let changes =
        [register(2, 20), state(2, NodeState::Up), register(3, 30), state(3, NodeState::Up)];
    let catalog = changes.iter().fold(alone, |catalog, change| apply(&catalog, change).unwrap());
    let more = catalog.growth_of(tablet);
    assert_eq!(more, [2, 3].map(NodeId));
    let assign = |replicas: &[u32]| {
        let replicas = replicas.iter().map(|node| MemberId::first(NodeId(*node))).collect();
        Change::AssignReplicas { tablet, replicas }
    };
    let grown = apply(&catalog, &assign(&[1, 2, 3])).unwrap();
    assert!(grown.growth_of(tablet).is_empty());
    assert_eq!(grown.assignment_of(tablet).founder(), MemberId::first(NodeId(1)));
    for wrong in [&[2, 1, 3][..], &[1, 2, 2], &[1, 2, 4], &[]] {
        assert!(apply(&grown, &assign(wrong)).is_err(), "{wrong:?}");
    }
    let dropped = apply(&grown, &Change::DropTablets { tablets: vec![tablet] }).unwrap();
    assert!(apply(&dropped, &assign(&[1])).is_err());
}

#[test]
fn a_replica_leaves_once_its_group_has_let_it_go_and_never_comes_back() {
    let tablet = TabletId(1);
    let member = |node, incarnation| MemberId {
        node: NodeId(node),
        incarnation: crate::Incarnation(incarnation),
    };
    let go = |from: &[MemberId], to: &[u32]| {
        let to = to.iter().copied().map(NodeId).collect();
        Change::MoveReplicas { tablet, from: from.to_vec(), to }
    };
    let forget = |member| Change::ForgetReplica { tablet, member };
    let three = create(&apply(&of_nodes(4), &state(4, NodeState::Draining)).unwrap(), 0, 1);
    let three = apply(&three, &state(4, NodeState::Up)).unwrap();
    let founder = three.assignment_of(tablet).founder();
    let first = three.replicas_of(tablet)[0];
    assert_eq!(founder, first);
    assert!(matches!(three.assignment_of(tablet).birth_of(first), crate::Birth::Founds(_)));

    let moving = apply(&three, &go(&[first], &[4])).unwrap();
    assert_eq!(moving.leaving(tablet), [first].into());
    assert_eq!(moving.tablets_moving().collect::<Vec<_>>(), [tablet]);
    assert_eq!(moving.replicas_of(tablet).len(), 4);
    assert_eq!(moving.staying(tablet).last(), Some(&member(4, 1)));
    assert_eq!(moving.replica_on(tablet, first.node), Some(first), "it votes yet");
    assert_eq!(apply(&moving, &forget(member(4, 1))).unwrap(), moving, "that one stays");
    let gone = apply(&moving, &forget(first)).unwrap();
    assert_eq!(gone.replica_on(tablet, first.node), None);
    assert_eq!(gone.replicas_of(tablet), gone.staying(tablet));
    assert_eq!(apply(&gone, &forget(first)).unwrap(), gone);
    let settle =
        |members: &[MemberId]| Change::SettleReplicas { tablet, members: members.to_vec() };
    let members = gone.replicas_of(tablet);
    assert_eq!(apply(&gone, &settle(&members[1..])).unwrap(), gone, "that is not all");
    assert_eq!(apply(&moving, &settle(moving.replicas_of(tablet))).unwrap(), moving);
    let settled = apply(&gone, &settle(members)).unwrap();
    assert!(settled.is_settled(tablet) && !gone.is_settled(tablet) && three.is_settled(tablet));
    // Nobody founds the group again, whoever is listed first.
    let next = gone.replicas_of(tablet)[0];
    assert_eq!(gone.assignment_of(tablet).birth_of(next), crate::Birth::Joins);
    let back = apply(&gone, &go(&[], &[first.node.0])).unwrap();
    assert_eq!(back.replica_on(tablet, first.node), Some(member(first.node.0, 2)));

    // One that leaves stays after all where it is named, and is made anew where it is damaged.
    let stays = apply(&moving, &go(&[member(4, 1)], &[first.node.0])).unwrap();
    assert_eq!(stays.leaving(tablet), [member(4, 1)].into());
    assert!(stays.staying(tablet).contains(&first));
    let anew = apply(&three, &go(&[first], &[first.node.0])).unwrap();
    assert_eq!(anew.replica_on(tablet, first.node), Some(member(first.node.0, 1)));
    assert_eq!(anew.assignment_of(tablet).founder(), first);

    let other = three.replicas_of(tablet)[1];
    assert!(apply(&anew, &go(&[other], &[other.node.0])).unwrap_err().contains("is leaving"));

    for wrong in [go(&[], &[1]), go(&[], &[4, 4]), go(&[], &[9]), go(&[member(4, 9)], &[])] {
        assert!(apply(&three, &wrong).is_err(), "{wrong:?}");
    }
    let all = three.replicas_of(tablet).to_vec();
    assert!(apply(&three, &go(&all, &[])).unwrap_err().contains("no replica"));
}

#[test]
fn one_node_takes_over_with_what_it_has() {
    let catalog = create(&of_nodes(4), 0, 9);
    let own = |tablet: TabletId| catalog.replica_on(tablet, NodeId(2));
    let alone = apply(&catalog, &Change::TakeOver { node: NodeId(2) }).unwrap();
    let states = alone.nodes().map(|(_, record)| record.state).collect::<Vec<_>>();
    use NodeState::{Removed, Up};
    assert_eq!(states, [Removed, Up, Removed, Removed]);
    let (mut here, mut lost) = (0, 0);
    for tablet in alone.tablets().map(|spec| spec.id) {
        let [only] = alone.replicas_of(tablet) else { panic!("it has no others") };
        match own(tablet) {
            Some(kept) => {
                here += 1;
                assert_eq!(*only, kept);
            }
            None => {
                lost += 1;
                assert_eq!((only.node, only.incarnation.0), (NodeId(2), 1));
            }
        }
        let birth = alone.assignment_of(tablet).birth_of(*only);
        assert_eq!(birth, crate::Birth::Founds([*only].into()));
    }
    assert!(here > 0 && lost > 0);
}

#[test]
fn new_tablets_are_not_founded_on_a_node_that_is_away() {
    let away = apply(&of_nodes(3), &Change::NoteAway { node: NodeId(2) }).unwrap();
    let catalog = create(&away, 0, 9);
    for tablet in catalog.tablets() {
        assert_eq!(catalog.replicas_of(tablet.id).len(), 3);
        assert_ne!(catalog.assignment_of(tablet.id).founder().node, NodeId(2));
    }
    // Of four the others are taken.
    let away = apply(&of_nodes(4), &Change::NoteAway { node: NodeId(2) }).unwrap();
    let catalog = create(&away, 0, 9);
    assert!(catalog.tablets().all(|one| catalog.replica_on(one.id, NodeId(2)).is_none()));
    let back = apply(&catalog, &Change::NoteBack { node: NodeId(2) }).unwrap();
    let after = create(&back, 50, 1);
    assert!(after.replica_on(TabletId(10), NodeId(2)).is_some());
    assert!(apply(&back, &Change::NoteAway { node: NodeId(8) }).is_err());
}

/// What is counted of each node must be what a reader of the file counts.
#[test]
fn counts_follow_every_change() {
    let mut catalog = of_nodes(4);
    let mut check = |change: Change| {
        catalog = apply(&catalog, &change).unwrap();
        let form = serde_json::to_string(&catalog).unwrap();
        let mut read: Catalog = serde_json::from_str(&form).unwrap();
        read.reindex();
        let loads = |catalog: &Catalog| {
            let nodes = (1..=4).map(|node| catalog.index.loads.get(&NodeId(node)).copied());
            nodes.map(Option::unwrap_or_default).collect::<Vec<_>>()
        };
        assert_eq!(loads(&read), loads(&catalog));
        assert_eq!(read.placements, catalog.placements);
    };
    let table = TableId(1);
    for start in [0, 10, 20] {
        let ranges = vec![TimeRange::new(start, start + 10)];
        check(Change::CreateTablets { table, ranges, buckets: 3, away: Vec::new() });
    }
    let (tablet, from) = (TabletId(1), MemberId::first(NodeId(1)));
    let to = (1..=4).map(NodeId).find(|node| catalog.replica_on(tablet, *node).is_none());
    let from = catalog.replicas_of(tablet).iter().copied().find(|one| *one != from).unwrap();
    let mut check = |change: Change| {
        catalog = apply(&catalog, &change).unwrap();
        let mut read: Catalog =
            serde_json::from_str(&serde_json::to_string(&catalog).unwrap()).unwrap();
        read.reindex();
        assert_eq!((&read.moving, &read.placements), (&catalog.moving, &catalog.placements));
    };
    check(Change::MoveReplicas { tablet, from: vec![from], to: to.into_iter().collect() });
    check(Change::ForgetReplica { tablet, member: from });
    check(Change::DropTablets { tablets: vec![TabletId(2), TabletId(7), TabletId(70)] });
    check(Change::DropTable { table });
}

/// As this program wrote it before it knew of nodes.
#[test]
fn a_catalog_from_before_there_were_nodes_has_its_tablets_on_the_first() {
    let old = r#"{"databases":["default"],"tables":{"1":{"id":1,"db":"default","name":"m","schema":
        {"version":1,"columns":[]},"options":{"retention_ns":null,"range_ns":null,"buckets":null,
        "replication":null}}},"last_columns":{"1":0},"tablets":{"1":{"id":1,"table":1,"range":
        {"start":0,"end":10},"bucket":{"index":0,"count":1}}},"connectors":{},"paused":[],
        "cursors":{},"last_table":1,"last_tablet":1}"#;
    let mut catalog: Catalog = serde_json::from_str(old).unwrap();
    catalog.reindex();
    assert_eq!(catalog.nodes().count(), 0);
    assert_eq!(catalog.replicas_of(TabletId(1)), [MemberId::first(NodeId(1))]);
    let known = apply(&catalog, &announce(1, 10, 4)).unwrap();
    let joined = apply(&known, &register(8, 20)).unwrap();
    assert_eq!(joined.node_of(JoinNonce(8)), Some(NodeId(2)));
    let later = create(&catalog, 50, 1);
    assert_eq!(later.replicas_of(TabletId(2)), [MemberId::first(NodeId(1))]);
}

#[test]
fn a_catalog_out_of_a_backup_forgets_who_the_nodes_were() {
    let tablet = TabletId(1);
    let three = create(&of_nodes(4), 0, 1);
    let first = three.replicas_of(tablet)[0];
    let free = (1..=4).map(NodeId).find(|node| three.replica_on(tablet, *node).is_none()).unwrap();
    let moving = Change::MoveReplicas { tablet, from: vec![first], to: vec![free] };
    let moving = apply(&three, &moving).unwrap();
    let put = Change::PutConnector { name: Name::new("plant").unwrap(), spec: "{}".into() };
    let before = apply(&moving, &put).unwrap();
    for (connectors, paused) in
        [(RestoredConnectors::Paused, 1), (RestoredConnectors::AsTheyWere, 0)]
    {
        let after = before.clone().of_one_node(connectors);
        assert_eq!(after.nodes().count(), 0);
        assert_eq!(after.paused().count(), paused);
        assert_eq!(after.replicas_of(tablet), [MemberId::FIRST]);
        assert_eq!(after.staying(tablet), [MemberId::FIRST]);
        assert_eq!(after.tablets_moving().count(), 0);
        let birth = after.assignment_of(tablet).birth_of(MemberId::FIRST);
        assert_eq!(birth, crate::Birth::Founds([MemberId::FIRST].into()));
        let next = create(&after, 100, 1);
        assert!(next.tablets().all(|spec| spec.id == tablet || spec.id > before.last_tablet()));
    }
}
