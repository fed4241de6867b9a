//! The other members of a group of one: there are none.

use super::{machine::FlushedRows, types::TypeConfig};
use openraft::{
    EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::{SnapshotOf, VoteOf},
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};

type Config = TypeConfig;

/// Reaches nobody.
pub(super) struct NoPeers;

impl RaftNetworkFactory<Config> for NoPeers {
    type Network = NoPeers;

    async fn new_client(&mut self, _: u64, _: &EmptyNode) -> NoPeers {
        NoPeers
    }
}

fn unreachable() -> Unreachable<Config> {
    Unreachable::from_string("this node has no peers")
}

impl RaftNetworkV2<Config> for NoPeers {
    type SnapshotData = FlushedRows;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Config>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Config>, RPCError<Config>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<Config>,
        _: RPCOption,
    ) -> Result<VoteResponse<Config>, RPCError<Config>> {
        Err(unreachable().into())
    }

    async fn pre_vote(
        &mut self,
        _: VoteRequest<Config>,
        _: RPCOption,
    ) -> Result<VoteResponse<Config>, RPCError<Config>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<Config>,
        _: SnapshotOf<Config, FlushedRows>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Config>, StreamingError<Config>> {
        Err(unreachable().into())
    }
}
