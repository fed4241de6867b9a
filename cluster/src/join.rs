//! How a node comes into a cluster: before it has an id, and whenever it starts.
//!
//! `form` is what is said; `ask` asks one address. A directory that is empty draws a wish at random and
//! notes it down before it is said, so that a node which asks again, even after a crash, gets the id
//! that it was given.

mod ask;
mod form;

pub(crate) use ask::{Asked, ask};
pub(crate) use form::{Answer, Ask, Who};

use crate::{
    Boot, ClusterId, Error, JoinNonce, KeyPin, NodeAddresses, NodeIdentity, Presence, Result,
    node::{Claim, Remains, Vacancy, leave},
    secured::{Admission, KeyHolder, NodeKey, NodeTls, Standing},
    tasks::blocking,
    transport::{self, Asker, Pending},
};
use futures::future::join_all;
use oribi_model::NodeId;
use oribi_store::disk::Disk;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Before the same addresses are asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a start waits to learn that it was told of another cluster.
const CHECK_WAIT: Duration = Duration::from_secs(1);
/// How long somebody may take who comes meanwhile.
const TURN_AWAY_WAIT: Duration = Duration::from_secs(15);
/// Addresses that an answer may lead to, one after the other.
const HOPS_MAX: usize = 8;

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// By other nodes, `HOST:PORT`.
    pub(crate) address: String,
    /// In which run.
    pub(crate) boot: Boot,
    /// The key that it has, where it is known.
    #[serde(default)]
    pub(crate) pin: Option<KeyPin>,
}

/// What a node that starts says of itself, and to whom.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// Nodes of the cluster, `HOST:PORT`; any of them will do.
    pub join: Vec<String>,
    /// Where this node is reached.
    pub addresses: NodeAddresses,
    /// The version of the program.
    pub version: String,
    /// How long a node may be dead before others take its place, s.
    pub replace_after_s: u64,
    /// How long a group of several is quiet before its replica here sleeps, s; 0 for never.
    pub sleep_after_s: u64,
    /// The node that this one was before its directory was damaged: it never comes back.
    pub replaces: Option<NodeId>,
    /// The key of this node.
    pub key: Arc<NodeKey>,
    /// What is asked of those whose keys nobody knows, and proven to them.
    pub admission: Admission,
    /// The key under which the cluster keeps secrets, as far as this node has it.
    pub cluster_key: Arc<KeyHolder>,
}

/// Makes a directory that of a node of the cluster that others belong to, and waits until one of
/// them answers; whoever asks at `listener` meanwhile is told to wait. A directory that has an id, or
/// without anybody to ask, stays as it is. `waiting` is told what is waited for.
///
/// # Errors
/// [`Error::Join`] where nobody that was asked will ever answer, or the directory belongs to
/// another cluster; else as [`Node::open`](crate::Node::open).
pub async fn join(
    data_dir: PathBuf,
    disk: Arc<dyn Disk>,
    listener: &TcpListener,
    options: &JoinOptions,
    waiting: impl Fn(String) + Send,
) -> Result<()> {
    if options.join.is_empty() {
        return Ok(());
    }
    let claiming = tokio::task::spawn_blocking(move || Claim::of(disk, data_dir));
    let claimed = claiming.await.map_err(|error| Error::Panicked(error.to_string()))??;
    let vacancy = match claimed {
        Claim::Taken(identity) => return check(identity, options).await,
        Claim::Vacant(vacancy) => vacancy,
    };
    let nonce = vacancy.nonce();
    let tls = Arc::new(options.tls(None)?);
    let identity = tokio::select! {
        identity = find(nonce, &tls, options, waiting) => identity?,
        never = stand_at(listener, &tls, nonce) => match never {},
    };
    settle(vacancy, identity).await
}

/// Has a node begin anew that cannot be opened, since its log is damaged, where others have what it
/// had: the directory becomes that of a new node of the same cluster, and all that was in it goes into
/// the folder `ORIBI.damaged-N`, as soon as the cluster has taken the new one in. Gives the id that the
/// node had; `None` where there are no two others, or none of them answers for the cluster now.
///
/// # Errors
/// As [`Node::open`](crate::Node::open).
pub async fn renew(
    data_dir: PathBuf,
    disk: Arc<dyn Disk>,
    options: &JoinOptions,
) -> Result<Option<NodeId>> {
    let (dir, reader) = (data_dir.clone(), disk.clone());
    let Some(remains) = blocking(move || Remains::read(&reader, &dir)).await? else {
        return Ok(None);
    };
    let before = remains.identity;
    if remains.others.len() < 2 {
        return Ok(None);
    }
    let nonce = JoinNonce(u128::from(disk.salt()) << 64 | u128::from(disk.salt()));
    let body = Ask::new(Who::New { nonce }, options.presence(Boot(0))).encode();
    let (tls, pins) = (options.tls(None)?, remains.pins);
    let addresses = remains.others.into_values().chain(options.join.iter().cloned());
    for address in addresses.filter(|address| *address != options.addresses.node) {
        let Found::Identity(identity) =
            follow(&address, &tls, &body, |pin| pins.contains(&pin)).await
        else {
            continue;
        };
        if identity.cluster != before.cluster {
            continue;
        }
        let (dir, disk) = (data_dir.clone(), disk.clone());
        let aside = blocking(move || leave(&disk, &dir, identity)).await?;
        let (node, was, aside) = (identity.node.0, before.node.0, aside.display());
        tracing::warn!(node, was, %aside, "the log is damaged: this is a new node now");
        return Ok(Some(before.node));
    }
    Ok(None)
}

async fn settle(vacancy: Vacancy, identity: NodeIdentity) -> Result<()> {
    let settling = tokio::task::spawn_blocking(move || vacancy.settle(identity));
    settling.await.map_err(|error| Error::Panicked(error.to_string()))?
}

/// Asks everybody who was named whether the directory belongs to another cluster.
async fn check(identity: NodeIdentity, options: &JoinOptions) -> Result<()> {
    let boot = identity.next_boot().boot;
    let who = Who::Known { cluster: identity.cluster, node: identity.node };
    let body = Ask::new(who, options.presence(boot)).encode();
    let tls = &options.tls(Some(identity))?;
    // Only a refusal counts, which nobody has to be trusted for.
    let asked = options.join.iter().map(|address| {
        let body = body.clone();
        async move { (address, timeout(CHECK_WAIT, ask(address, tls, body, |_| false)).await) }
    });
    for (address, answered) in join_all(asked).await {
        if let Ok(Asked::Answered(Answer::Refused { reason })) = answered {
            return Err(Error::Join { address: address.clone(), reason });
        }
    }
    Ok(())
}

/// Asks until one has answered with an id.
async fn find(
    nonce: JoinNonce,
    tls: &NodeTls,
    options: &JoinOptions,
    waiting: impl Fn(String) + Send,
) -> Result<NodeIdentity> {
    let body = Ask::new(Who::New { nonce }, options.presence(Boot(0))).encode();
    let mut left = options.join.clone();
    loop {
        let mut refused = None;
        let (mut reasons, mut still) = (Vec::new(), Vec::new());
        for address in left {
            match follow(&address, tls, &body, |_| false).await {
                Found::Identity(identity) => return Ok(identity),
                Found::Later(reason) => {
                    reasons.push(format!("{address}: {reason}"));
                    still.push(address);
                }
                Found::Never(reason) => {
                    tracing::warn!(%address, %reason, "not asked again");
                    refused = Some(Error::Join { address, reason });
                }
            }
        }
        if let (Some(error), true) = (refused, still.is_empty()) {
            return Err(error);
        }
        left = still;
        waiting(reasons.join("; "));
        tokio::time::sleep(AGAIN).await;
    }
}

enum Found {
    Identity(NodeIdentity),
    Later(String),
    Never(String),
}

/// Asks one address, and those that it names.
async fn follow(
    address: &str,
    tls: &NodeTls,
    body: &bytes::Bytes,
    trusts: impl Fn(KeyPin) -> bool,
) -> Found {
    let (mut queue, mut seen) = (VecDeque::from([address.to_owned()]), Vec::new());
    let mut last = String::new();
    while let Some(next) = queue.pop_front().filter(|_| seen.len() < HOPS_MAX) {
        if seen.contains(&next) {
            continue;
        }
        seen.push(next.clone());
        let told_by = |reason: String| match next == address {
            true => reason,
            false => format!("it names {next}: {reason}"),
        };
        match ask(&next, tls, body.clone(), &trusts).await {
            Asked::Answered(Answer::Joined { cluster, node }) => {
                return Found::Identity(NodeIdentity { cluster, node, boot: Boot(0) });
            }
            Asked::Answered(Answer::Elsewhere { addresses }) => {
                last = format!("it names {}", addresses.join(", "));
                queue.extend(addresses);
            }
            Asked::Answered(Answer::Later { reason }) | Asked::Nobody(reason) => {
                last = told_by(reason);
            }
            Asked::Answered(Answer::Refused { reason }) | Asked::Stranger(reason) => {
                return Found::Never(told_by(reason));
            }
            Asked::Answered(Answer::Heard { .. }) => {
                return Found::Never(told_by("it answers something else".into()));
            }
        }
    }
    Found::Later(last)
}

/// Answers others while this node waits itself.
async fn stand_at(
    listener: &TcpListener,
    tls: &Arc<NodeTls>,
    own: JoinNonce,
) -> std::convert::Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(turn_away(stream, tls.clone(), own))),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

async fn turn_away(stream: TcpStream, tls: Arc<NodeTls>, own: JoinNonce) {
    let answer = move |asker: Asker, body: bytes::Bytes| -> Pending<Option<bytes::Bytes>> {
        let answer = match (Ask::decode(&body), asker.standing) {
            (Ok(Ask { who: Who::New { nonce }, .. }), _) if nonce == own => {
                Answer::Refused { reason: "it is this node itself".into() }
            }
            (Ok(_), Standing::Unproven(reason)) => Answer::Refused { reason: reason.into_owned() },
            (Ok(_), Standing::Undecided(reason)) => Answer::Later { reason: reason.into() },
            (Ok(_), Standing::Proven) => {
                Answer::Later { reason: "it waits for a cluster itself".into() }
            }
            (Err(answer), _) => answer,
        };
        Box::pin(std::future::ready(Some(answer.encode())))
    };
    let turning = async {
        let (mut stream, peer) = tls.accept(stream).await?;
        transport::answer(&mut stream, &tls, &peer, answer).await
    };
    match timeout(TURN_AWAY_WAIT, turning).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "somebody came while this node waits for a cluster");
        }
        Err(_) => tracing::debug!("somebody came and said nothing"),
    }
}

impl JoinOptions {
    pub(crate) fn presence(&self, boot: Boot) -> Presence {
        Presence {
            addresses: self.addresses.clone(),
            version: self.version.clone(),
            boot,
            pin: Some(self.key.pin()),
        }
    }

    /// How the connections of this node are secured, as whom it is now.
    pub(crate) fn tls(&self, identity: Option<NodeIdentity>) -> Result<NodeTls> {
        let tls = NodeTls::new(&self.key, identity, self.admission.clone())?;
        Ok(tls.admitting_by(self.cluster_key.clone()))
    }
}

/// Where the nodes of a cluster are, by id.
pub(crate) type Places = BTreeMap<NodeId, Known>;

/// What an answer says to a node of another cluster.
pub(crate) fn other_cluster(theirs: ClusterId, ours: ClusterId) -> Answer {
    let reason = format!("the node belongs to cluster {theirs}, this one to {ours}");
    Answer::Refused { reason }
}

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use crate::secured::{PassName, SEAL_BYTES};

    let sealed = bytes.split_first_chunk::<SEAL_BYTES>();
    for said in sealed.map(|(_, said)| said).into_iter().chain([bytes]) {
        let mut said = bytes::Bytes::copy_from_slice(said);
        let _ = PassName::take(&mut said);
        let _ = (Ask::decode(&said).is_ok(), Answer::decode(&said));
    }
}
