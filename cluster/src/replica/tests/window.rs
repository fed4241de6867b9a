//! What is on its way to a member is bounded: what finds no room waits, and goes on with the answers.

use super::*;
use crate::{
    copy::Origin,
    replica::{
        in_flight::GROUP_BYTES_MAX,
        peers::Peers,
        types::Vote,
        wire::{self, Append, Appended},
    },
};
use futures::{FutureExt, stream};
use openraft::{
    EmptyNode, RaftNetworkFactory, RaftNetworkV2, entry::RaftEntry, network::RPCOption,
    raft::StreamAppendResult,
};
use oribi_model::{ColumnId, TagPredicate, TimeRange};
use tokio::sync::oneshot;

/// As much of an append that two have room together and a third has not.
const BYTES: usize = GROUP_BYTES_MAX * 2 / 5;
const APPENDS: u64 = 7;

/// A member that answers when it is told to.
#[derive(Default)]
struct Member(Mutex<Vec<oneshot::Sender<Bytes>>>);

impl Member {
    fn asked(&self) -> usize {
        self.0.lock().len()
    }

    fn answer_first(&self) {
        let answer = wire::encode_appended(&Appended::Success);
        self.0.lock().remove(0).send(answer).unwrap();
    }
}

impl Network for Member {
    fn call(&self, to: NodeId, _: Request) -> Pending<Result<Bytes, CallError>> {
        let (answer, answered) = oneshot::channel();
        self.0.lock().push(answer);
        Box::pin(async move { answered.await.map_err(|_| CallError::NotConnected(to)) })
    }

    fn notify(&self, _: NodeId, _: Request) -> Result<(), CallError> {
        Ok(())
    }
}

fn append(at: u64) -> Append {
    let tags = TagPredicate::In(ColumnId(1), vec!["x".repeat(BYTES)].into());
    let command = Command::delete(TimeRange::ALL, tags);
    let id = |index| forms::LogIdForm::new(1, 1, index).to_id();
    let entry = types::Entry::new(id(at), EntryPayload::Normal(command));
    let prev_log_id = Some(id(at - 1));
    Append {
        vote: Vote::new_committed(1, 1),
        prev_log_id,
        entries: vec![entry],
        leader_commit: None,
    }
}

#[tokio::test]
async fn what_finds_no_room_on_its_way_waits_and_goes_on_with_the_answers() {
    let member = Arc::new(Member::default());
    let mut peers = Peers {
        group: GroupId(1),
        network: member.clone(),
        origin: Arc::new(Origin::new(Arc::new(Memory::default()))),
        instances: Arc::default(),
    };
    let mut peer = peers.new_client(2, &EmptyNode::default()).await;
    let appends = stream::iter(1..=APPENDS).map(append);
    let mut answers =
        peer.stream_append(appends, RPCOption::new(Duration::from_secs(100))).await.unwrap();
    let mut sent = 0;
    for answered in 0..APPENDS {
        assert!(answers.next().now_or_never().is_none(), "nobody has answered");
        sent += member.asked();
        let room = (answered + 2).min(APPENDS) - answered;
        assert_eq!(member.asked() as u64, room, "on their way after {answered} answers");
        member.answer_first();
        let answer = answers.next().await.unwrap().unwrap();
        assert!(matches!(answer, StreamAppendResult::Ok(Some(upto)) if upto.index == answered + 1));
    }
    assert!(sent > 0 && answers.next().await.is_none());
}
