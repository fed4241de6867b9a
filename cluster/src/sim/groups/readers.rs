//! Whoever asks: a question has whatever was acked before it began, at whichever node.

use super::{
    clients::{self, Became, CLIENTS, Ledger, Tries},
    hall::Hall,
    host::{GROUPS, owner_of},
    judge,
};
use crate::tasks::{self, simulated};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

const PROOF_WAIT: Duration = Duration::from_millis(300);
const FOLLOW_WAIT: Duration = Duration::from_secs(1);

/// A client that asks until it is over.
pub(super) fn start(nodes: &[NodeId], hall: &Arc<Hall>, ledger: &Arc<Ledger>) {
    let (nodes, hall, ledger) = (nodes.to_vec(), hall.clone(), ledger.clone());
    drop(simulated::spawn_of(CLIENTS, async move {
        while !ledger.is_over.load(Ordering::Relaxed) {
            tasks::sleep(Duration::from_micros(200 + simulated::below(40_000))).await;
            let group = GROUPS[simulated::below(GROUPS.len() as u64) as usize];
            let before = acked(&ledger.tries.lock(), group);
            let leader = clients::leading(&hall, &nodes, group);
            let node = nodes[simulated::below(nodes.len() as u64) as usize];
            let Some(held) = ask(&hall, group, leader, node).await else { continue };
            ledger.reads.fetch_add(1, Ordering::Relaxed);
            let looked = look(&ledger.tries.lock(), group, &before, &held);
            if let Err(what) = looked {
                ledger.wrong.lock().get_or_insert(format!(
                    "{group:?}: asked at {node}, {leader} said how far to go: {what}"
                ));
            }
        }
    }));
}

/// Of each row of a group the place of the last try that was acked.
type Acked = Vec<(clients::RowKey, usize)>;

fn acked(tries: &Tries, group: GroupId) -> Acked {
    let of_group = tries.iter().filter(|((of, _), _)| *of == group);
    let acked = of_group.filter_map(|((_, key), tries)| {
        let at = tries.iter().rposition(|(_, became)| *became == Became::Stored)?;
        Some((key.clone(), at))
    });
    acked.collect()
}

/// Asks who leads up to where a replica has to be, and reads another one there.
async fn ask(
    hall: &Arc<Hall>,
    group: GroupId,
    leader: NodeId,
    node: NodeId,
) -> Option<judge::Held> {
    let leading = hall.replica(leader, group)?;
    let proof = async move { leading.read_index(PROOF_WAIT).await.ok() };
    let index = simulated::spawn_of(owner_of(leader), proof).await.ok()??;
    let (replica, tablet) = (hall.replica(node, group)?, hall.tablet(node, group)?);
    let reading = async move {
        match index {
            Some(index) if !replica.reaches(index, FOLLOW_WAIT).await => None,
            // What cannot be read is no answer.
            _ => judge::read(&tablet).ok(),
        }
    };
    simulated::spawn_of(owner_of(node), reading).await.ok()?
}

fn look(tries: &Tries, group: GroupId, before: &Acked, held: &judge::Held) -> Result<(), String> {
    for (key, at) in before {
        let tries = &tries[&(group, key.clone())][*at..];
        let found = held.get(key);
        let may =
            |(value, became): &(i64, Became)| Some(value) == found && *became != Became::NotStored;
        if !tries.iter().any(may) {
            return Err(format!("{key:?} is {found:?}, and was tried as {tries:?}"));
        }
    }
    Ok(())
}
