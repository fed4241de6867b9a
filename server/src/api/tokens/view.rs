//! Tokens as they are shown.

use crate::auth::Keyring;
use jiff::Timestamp;
use oribi_access::{Access, Grant, Secret, Token};
use oribi_model::NodeId;
use serde::Serialize;
use std::sync::atomic::Ordering;
use utoipa::ToSchema;

/// A right on tables.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct GrantView {
    /// `read`, `write` or `admin`.
    may: &'static str,
    /// A pattern of databases.
    db: String,
    /// A pattern of tables.
    table: String,
}

/// All tokens of a page of the list.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TokenList {
    /// By name.
    pub(super) tokens: Vec<TokenView>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TokenView {
    id: u64,
    name: String,
    /// The secret, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    grants: Vec<GrantView>,
    ops: bool,
    all: bool,
    topics: Vec<String>,
    clients: Vec<String>,
    /// A pattern of the identities in certificates that it stands for.
    certificate: Option<String>,
    expires: Option<String>,
    /// Until when the secret before holds; null where there is none.
    previous_until: Option<String>,
    created: Option<String>,
    created_by: String,
    note: String,
    /// When it was shown last to the node that was asked.
    last_used: Option<String>,
    /// How often that was since the node started.
    uses: u64,
    /// How often it was not enough.
    denied: u64,
    /// For what, last.
    last_denied: Option<DeniedView>,
}

/// What a token was not enough for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct DeniedView {
    time: Option<String>,
    /// The topic or path.
    topic: String,
    client_id: String,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Me {
    /// The token's name; null where tokens are off.
    name: Option<String>,
    /// `token`, `file`, `anonymous`, or `off` where tokens are off.
    via: &'static str,
    grants: Vec<GrantView>,
    ops: bool,
    all: bool,
    expires: Option<String>,
}

/// Which nodes know that a token was revoked.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Revoked {
    /// All nodes.
    nodes: usize,
    /// Those that are known to know.
    confirmed: usize,
    /// The others. They learn it as soon as they hear of the catalog.
    waiting: Vec<u32>,
}

fn moment(ns: i64) -> Option<String> {
    Timestamp::from_nanosecond(i128::from(ns)).ok().map(|at| at.to_string())
}

fn grants(all: &[Grant]) -> Vec<GrantView> {
    let view = |grant: &Grant| GrantView {
        may: grant.may.as_str(),
        db: grant.db.as_str().to_owned(),
        table: grant.table.as_str().to_owned(),
    };
    all.iter().map(view).collect()
}

impl TokenView {
    /// A token, with what is counted of it here.
    pub(super) fn of(token: &Token, keyring: &Keyring) -> TokenView {
        let usage = keyring.usage(token.id);
        let last_used_ns = usage.last_used_ns.load(Ordering::Relaxed);
        let denied = |one: oribi_access::LastDenied| DeniedView {
            time: moment(one.time_ns),
            topic: one.what,
            client_id: one.client_id,
        };
        TokenView {
            id: token.id,
            name: token.name.clone(),
            token: None,
            grants: grants(&token.rights.grants),
            ops: token.rights.ops,
            all: token.rights.all,
            topics: token.rights.topics.clone(),
            clients: token.rights.clients.iter().map(|one| one.as_str().to_owned()).collect(),
            certificate: token.rights.certificate.as_ref().map(|one| one.as_str().to_owned()),
            expires: token.expires_ns.and_then(moment),
            previous_until: token.previous.and_then(|one| moment(one.until_ns)),
            created: moment(token.created_ns),
            created_by: token.created_by.clone(),
            note: token.note.clone(),
            last_used: (last_used_ns != 0).then(|| moment(last_used_ns)).flatten(),
            uses: usage.uses.load(Ordering::Relaxed),
            denied: usage.denied.load(Ordering::Relaxed),
            last_denied: usage.last_denied().map(denied),
        }
    }

    /// The same with its secret.
    pub(super) fn with(self, secret: &Secret) -> TokenView {
        TokenView { token: Some(secret.as_str().to_owned()), ..self }
    }
}

impl Me {
    /// Who asks.
    pub(super) fn of(access: &Access) -> Me {
        let Some(token) = access.token() else {
            let (name, via, grants) = (None, "off", Vec::new());
            return Me { name, via, grants, ops: true, all: true, expires: None };
        };
        let via = match (token.id, token.digest.is_some()) {
            (0, _) => "file",
            (_, true) => "token",
            (_, false) => "anonymous",
        };
        Me {
            name: Some(token.name.clone()),
            via,
            grants: grants(&token.rights.grants),
            ops: token.rights.may_ops(),
            all: token.rights.all,
            expires: token.expires_ns.and_then(moment),
        }
    }
}

impl Revoked {
    /// Known to all of so many nodes but these.
    pub(super) fn of(nodes: usize, behind: &[NodeId]) -> Revoked {
        let waiting: Vec<u32> = behind.iter().map(|node| node.0).collect();
        Revoked { nodes, confirmed: nodes.saturating_sub(waiting.len()), waiting }
    }
}
