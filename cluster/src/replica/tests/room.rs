//! Members whose memory is full.

use super::{
    several::{Fate, Group},
    *,
};
use crate::transport::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_room_is_waited_for_by_nobody_and_has_all_later() {
    let mut group = Group::new();
    group.write(1).await;
    group.judge().await;
    let machine = group.nodes[&3].machine.clone();
    machine.is_full.store(true, Ordering::Relaxed);
    let before = machine.applied.lock().len();
    for _ in 0..20 {
        group.write(1).await;
    }
    assert_eq!(machine.applied.lock().len(), before, "it takes nothing more");
    machine.is_full.store(false, Ordering::Relaxed);
    group.write(1).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_a_majority_with_room() {
    let mut group = Group::new();
    group.write(1).await;
    group.judge().await;
    let machines = [2, 3].map(|id| group.nodes[&id].machine.clone());
    machines.iter().for_each(|machine| machine.is_full.store(true, Ordering::Relaxed));
    let (said, mut again) = tokio::sync::mpsc::unbounded_channel();
    group.hall.judge(move |_, request| {
        if request.kind == Kind::Append {
            let _ = said.send(());
        }
        Fate::Answered
    });
    let hall = group.hall.clone();
    let mut writing = Box::pin(group.write(1));
    // Each was sent it and told to wait, and one was sent it once more.
    for _ in 0..3 {
        tokio::select! {
            biased;
            () = &mut writing => panic!("nobody has taken it"),
            sent = again.recv() => sent.unwrap(),
        }
    }
    hall.judge_no_more();
    machines.iter().for_each(|machine| machine.is_full.store(false, Ordering::Relaxed));
    writing.await;
    group.judge().await;
    group.end().await;
}
