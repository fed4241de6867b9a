//! What may be changed in the catalog. A change is what a log entry of the catalog carries.

use super::{NodeState, Presence};
use crate::{ClusterKeyId, JoinNonce, MemberId};
use oribi_access::Token;
use oribi_model::{
    ColumnKind, ColumnType, Ints, Name, NodeId, TableId, TableOptions, TabletId, TimeRange,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A column that a table should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSpec {
    /// Its name.
    pub name: Name,
    /// Tag or field.
    pub kind: ColumnKind,
    /// The type; text for a tag.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// What is known of the integers that it is to hold.
    #[serde(default)]
    pub ints: Ints,
}

/// One change. All are idempotent: what is there already is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Makes a database.
    CreateDatabase {
        /// Its name.
        db: Name,
    },
    /// Drops a database with its tables and their rows.
    DropDatabase {
        /// Its name.
        db: Name,
    },
    /// Makes a table, and its database where that is missing, or gives a table more columns.
    /// A column that exists with another type is left alone, unless it is an integer, known to
    /// hold none beyond 2⁵³, and a float is asked for: then it is widened for good. What is known
    /// of an integer column's values is noted, once and for all where they are wide. A column of
    /// the other kind refuses the change.
    EnsureColumns {
        /// The database.
        db: Name,
        /// The table.
        table: Name,
        /// What it should have, in the order of their appearance.
        columns: Vec<ColumnSpec>,
    },
    /// Sets a table's options as a whole.
    SetOptions {
        /// The table.
        table: TableId,
        /// All of them; they concern new tablets, and retention.
        options: TableOptions,
    },
    /// Drops a table with its rows.
    DropTable {
        /// The table.
        table: TableId,
    },
    /// Makes the tablets of new time ranges. A range that overlaps a present one is left out.
    CreateTablets {
        /// The table.
        table: TableId,
        /// New ranges.
        ranges: Vec<TimeRange>,
        /// Hash buckets of each.
        buckets: u32,
        /// Nodes that are away at present, as far as who asks knows: they found no group, or it
        /// would have no leader before they are back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        away: Vec<NodeId>,
    },
    /// Makes a connector, or replaces it. It is to run.
    PutConnector {
        /// Its name.
        name: Name,
        /// What it is, as JSON.
        spec: Arc<str>,
    },
    /// Drops a connector and forgets how far it has got.
    DropConnector {
        /// Its name.
        name: Name,
    },
    /// Notes that a connector, made at run time or not, is not to run until it is resumed.
    PauseConnector {
        /// Its name.
        name: Name,
    },
    /// Notes that a connector is to run.
    ResumeConnector {
        /// Its name.
        name: Name,
    },
    /// Notes how far a connector has got. Sources that are not named keep theirs.
    SaveCursors {
        /// The connector, made at run time or not.
        connector: Name,
        /// For each source the first place that is not done.
        cursors: BTreeMap<String, u64>,
        /// Since when the node that says so runs it; refused where another one has taken it since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
    },
    /// Has a node run a connector from now on, made at run time or not. Refused where another one
    /// was given it meanwhile.
    SeatConnector {
        /// The connector.
        connector: Name,
        /// The node.
        node: NodeId,
        /// The epoch of who ran it before; 0 for nobody.
        after: u64,
    },
    /// Makes tokens, all of them or none where one of their names is taken. They get new ids.
    CreateTokens {
        /// At most [`super::TOKENS_AT_ONCE_MAX`].
        tokens: Vec<Token>,
    },
    /// Replaces a token by its next version; refused where it was changed meanwhile.
    ChangeToken {
        /// What it is to be.
        token: Token,
    },
    /// Takes a token back.
    RevokeToken {
        /// Its name.
        name: String,
    },
    /// Says which key secrets of connectors are sealed with from now on; refused where another one was
    /// named meanwhile.
    NameClusterKey {
        /// The key.
        id: ClusterKeyId,
        /// The one that was named before, which nobody has any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead_of: Option<ClusterKeyId>,
    },
    /// Takes a node into the cluster, which gets the next id; it joins. A wish that was granted
    /// before is granted again, with the same id.
    RegisterNode {
        /// The wish.
        nonce: JoinNonce,
        /// What the node says of itself.
        presence: Presence,
    },
    /// Notes what a node says of itself in its present run. The first node becomes known by it.
    AnnounceNode {
        /// Which node.
        node: NodeId,
        /// What it says; what an earlier run said changes nothing.
        presence: Presence,
    },
    /// Notes what a node is to the others.
    SetNodeState {
        /// Which node.
        node: NodeId,
        /// What it is.
        state: NodeState,
    },
    /// Decides which replicas a tablet is to have.
    AssignReplicas {
        /// Which tablet.
        tablet: TabletId,
        /// All of them, the founder first.
        replicas: Vec<MemberId>,
    },
    /// Begins to move replicas of a tablet: has some leave, and adds one on each of some nodes, under an
    /// incarnation that the tablet never had. One that leaves stays listed until
    /// [`Change::ForgetReplica`]; a node that it is on may be named to have it stay after all, or, where
    /// it begins to leave, to have another one take its place there. That is refused while any other
    /// replica leaves.
    MoveReplicas {
        /// Which tablet.
        tablet: TabletId,
        /// Those that are to leave.
        from: Vec<MemberId>,
        /// Where replicas are added.
        to: Vec<NodeId>,
    },
    /// Notes that a replica that was to leave is no member of its group any more. To be said only
    /// once the group has committed that.
    ForgetReplica {
        /// Which tablet.
        tablet: TabletId,
        /// The replica.
        member: MemberId,
    },
    /// Notes that the group of a tablet has these replicas as its members and no others, and as many
    /// of them as may be vote. To be said only once the group has committed that.
    SettleReplicas {
        /// Which tablet.
        tablet: TabletId,
        /// All of them.
        members: Vec<MemberId>,
    },
    /// Leaves everything to one node: all others were removed, and it has one replica of each tablet,
    /// its own, or an empty one where it had none. For a majority that is gone for good.
    TakeOver {
        /// Which node.
        node: NodeId,
    },
    /// Notes that a node was not heard of for a while: new tablets are founded elsewhere.
    NoteAway {
        /// Which node.
        node: NodeId,
    },
    /// Notes that a node is heard of again.
    NoteBack {
        /// Which node.
        node: NodeId,
    },
    /// Never gives the tablet ids up to this one: something on disk bears them already.
    SkipTablets {
        /// The greatest of them.
        upto: TabletId,
    },
    /// Drops tablets with their rows.
    DropTablets {
        /// Which ones.
        tablets: Vec<TabletId>,
    },
}
