//! What other nodes may ask of a node.

use super::*;
use crate::{
    Boot, Incarnation,
    transport::{Agreed, Channel, Frame, Kind, Refusal, Role, Service},
};

fn frame(kind: Kind, group: u64, incarnation: u32) -> Frame {
    let (group, incarnation) = (GroupId(group), Incarnation(incarnation));
    let body = bytes::Bytes::from_static(b"?");
    Frame { kind, role: Role::Request, group, incarnation, request: 1, body }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_its_replica_or_is_refused_by_name() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW], 1).await.unwrap();
    let tablet = node.catalog().tablets_of(table)[0].id.0;
    let from = Agreed { protocol: 1, node: NodeId(2), boot: Boot(1), channel: Channel::Raft };
    let wrong = Refusal::WrongReplica { have: Incarnation(0) };
    for (frame, refusal) in [
        (frame(Kind::Append, 0, 1), wrong),
        (frame(Kind::Append, tablet, 7), wrong),
        (frame(Kind::Vote, tablet, 0), Refusal::Malformed),
        (frame(Kind::Vote, tablet + 1, 0), Refusal::NoReplica),
        (frame(Kind::Write, 0, 0), Refusal::Malformed),
        (frame(Kind::ReadIndex, 0, 0), Refusal::Malformed),
        (frame(Kind::Segment, tablet, 0), Refusal::Malformed),
        (frame(Kind::Transfer, tablet, 0), Refusal::Malformed),
        (frame(Kind::Ping, tablet, 0), Refusal::UnknownKind(2)),
    ] {
        assert_eq!(node.serve(&from, frame).await, Err(refusal));
    }
    assert!(node.replica(GroupId(tablet)).is_some() && node.replica(GroupId(99)).is_none());
    write(&node, table, &[NOW + 1], 2).await.unwrap();
    node.stop().await;
    assert_eq!(node.serve(&from, frame(Kind::Append, 0, 0)).await, Err(Refusal::Stopping));
}
