//! `/api/v1/tokens` and `/api/v1/whoami`.

mod request;
mod view;

use super::{
    Admin,
    params::Given,
    problem::{ApiError, Result},
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use oribi_access::{ANONYMOUS, Access, Deed, Previous, Rights, Secret, Token};
use oribi_cluster::{Change, NodeState};
use oribi_model::NodeId;
use oribi_query::http::Problem;
use request::{New, Patch, Rotation};
use std::{sync::Arc, time::Duration};
use view::{Me, Revoked, TokenList, TokenView};

/// Tokens of one page of a list.
const LIMIT_MAX: u64 = 1_000;
/// How long a replaced secret holds unless told otherwise, ns.
const KEEP_OLD_NS: i64 = 24 * 3_600_000_000_000;

/// Who asks, and what that token may do.
#[utoipa::path(
    get,
    path = "/api/v1/whoami",
    tag = "tokens",
    responses(
        (status = 200, description = "the token that was shown", body = Me),
        (status = 401, description = "no token, or none that is known", body = Problem),
    )
)]
pub(super) async fn whoami(Extension(access): Extension<Access>) -> Json<Me> {
    Json(Me::of(&access))
}

/// Makes a token, or up to 1,000 in a list. The secret is in this answer and nowhere else.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    request_body = serde_json::Value,
    responses(
        (status = 201, description = "the token with its secret, or a list", body = TokenView),
        (status = 400, description = "a member is wrong", body = Problem),
        (status = 409, description = "the name is taken", body = Problem),
    )
)]
pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    body: Bytes,
) -> Result<Response> {
    let new = New::read(&body)?;
    let (now_ns, by) = (admin.clock.now_ns(), access.name().unwrap_or("nobody").to_owned());
    let mut secrets = Vec::new();
    let mut tokens = Vec::new();
    for one in new.all() {
        let secret = secret()?;
        tokens.push(one.token(&by, now_ns, secret.digest())?);
        secrets.push(secret);
    }
    let names: Vec<String> = tokens.iter().map(|token| token.name.clone()).collect();
    let catalog = admin.node.change(Change::CreateTokens { tokens }).await?;
    let mut views = Vec::new();
    for (name, secret) in names.iter().zip(&secrets) {
        let token = catalog.token(name).ok_or_else(|| unknown(name))?;
        tracing::info!(token = name, by, "a token was made");
        views.push(TokenView::of(token, &admin.keyring).with(secret));
    }
    let body = match (new.is_list(), views.pop()) {
        (false, Some(one)) => Json(one).into_response(),
        (_, last) => {
            views.extend(last);
            Json(views).into_response()
        }
    };
    let deed = Deed { event: None, object: names.join(" ") };
    Ok((StatusCode::CREATED, Extension(deed), body).into_response())
}

/// The tokens by name, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    params(
        ("name" = Option<String>, Query, description = "a pattern with stars"),
        ("after" = Option<String>, Query, description = "only names behind this one"),
        ("limit" = Option<u64>, Query, description = "tokens at most; 1000"),
    ),
    responses((status = 200, description = "the tokens", body = TokenList))
)]
pub(super) async fn list(State(admin): State<Arc<Admin>>, given: Given) -> Result<Json<TokenList>> {
    let params = given.params(&["name", "after", "limit"])?;
    let glob = params.text("name")?.map(oribi_access::Glob::new).transpose();
    let glob = glob.map_err(|wrong| ApiError::parameter("name", wrong))?;
    let after = params.text("after")?.unwrap_or_default();
    let limit = params.number("limit")?.flatten().unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let catalog = admin.node.catalog();
    let found = catalog.tokens().filter(|token| {
        token.name.as_str() > after && glob.as_ref().is_none_or(|glob| glob.fits(&token.name))
    });
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let tokens = found.take(limit).map(|token| TokenView::of(token, &admin.keyring)).collect();
    Ok(Json(TokenList { tokens }))
}

/// One token, without its secret.
#[utoipa::path(
    get,
    path = "/api/v1/tokens/{name}",
    tag = "tokens",
    params(("name" = String, Path, description = "its name")),
    responses(
        (status = 200, description = "the token", body = TokenView),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn get(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<TokenView>> {
    let token = found(&admin, &name)?;
    Ok(Json(TokenView::of(&token, &admin.keyring)))
}

/// Changes what a token may do, when it ends, and its note. Members that are absent leave what is.
/// `anonymous`, the token of who shows none, comes into being by this.
#[utoipa::path(
    patch,
    path = "/api/v1/tokens/{name}",
    tag = "tokens",
    params(("name" = String, Path, description = "its name")),
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "the token as it is now", body = TokenView),
        (status = 400, description = "a member is wrong", body = Problem),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn patch(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<TokenView>> {
    let patch = Patch::read(&body)?;
    let (now_ns, by) = (admin.clock.now_ns(), access.name().unwrap_or("nobody"));
    if name == ANONYMOUS && admin.node.catalog().token(&name).is_none() {
        let token = anonymous(by, now_ns);
        admin.node.change(Change::CreateTokens { tokens: vec![token] }).await?;
    }
    let next = patch.applied(found(&admin, &name)?.as_ref(), now_ns)?;
    let token = change(&admin, next).await?;
    tracing::info!(token = name, by, "a token was changed");
    Ok(Json(TokenView::of(&token, &admin.keyring)))
}

/// Gives a token another secret. The one before holds for `keep_old` longer, a day unless told
/// otherwise.
#[utoipa::path(
    post,
    path = "/api/v1/tokens/{name}/rotate",
    tag = "tokens",
    params(("name" = String, Path, description = "its name")),
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "the token with its new secret", body = TokenView),
        (status = 400, description = "a member is wrong, or the token has no secret", body = Problem),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn rotate(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<TokenView>> {
    let keep_ns = Rotation::read(&body)?.keep_old_ns()?.unwrap_or(KEEP_OLD_NS);
    let known = found(&admin, &name)?;
    let Some(digest) = known.digest else {
        return Err(ApiError::parameter("name", format!("the token {name:?} has no secret")));
    };
    let secret = secret()?;
    let until_ns = admin.clock.now_ns().saturating_add(keep_ns);
    let next = Token {
        version: known.version + 1,
        digest: Some(secret.digest()),
        previous: (keep_ns > 0).then_some(Previous { digest, until_ns }),
        ..Token::clone(&known)
    };
    let token = change(&admin, next).await?;
    let by = access.name().unwrap_or("nobody");
    tracing::info!(token = name, by, "a token was rotated");
    Ok(Json(TokenView::of(&token, &admin.keyring).with(&secret)))
}

/// Takes a token back: it is refused from now on, on open connections too.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{name}",
    tag = "tokens",
    params(("name" = String, Path, description = "its name")),
    responses(
        (status = 200, description = "how many nodes know", body = Revoked),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn revoke(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    Path(name): Path<String>,
) -> Result<Json<Revoked>> {
    found(&admin, &name)?;
    let catalog = admin.node.change(Change::RevokeToken { name: name.clone() }).await?;
    let by = access.name().unwrap_or("nobody");
    tracing::info!(token = name, by, "a token was revoked");
    let present = catalog.nodes().filter(|(_, record)| record.state != NodeState::Removed);
    let nodes = present.count().max(1);
    Ok(Json(Revoked::of(nodes, &told(&admin).await)))
}

/// Waits a moment for the others to know the catalog as it is here; who does not, so far.
async fn told(admin: &Admin) -> Vec<NodeId> {
    const PAUSE: Duration = Duration::from_millis(50);
    const TRIES: usize = 20;
    let change = admin.peers.catalog_applied();
    let mut behind = admin.peers.behind(change);
    for _ in 0..TRIES {
        if behind.is_empty() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        behind = admin.peers.behind(change);
    }
    behind
}

async fn change(admin: &Admin, token: Token) -> Result<Arc<Token>> {
    let name = token.name.clone();
    let catalog = admin.node.change(Change::ChangeToken { token }).await?;
    catalog.token(&name).cloned().ok_or_else(|| unknown(&name))
}

fn found(admin: &Admin, name: &str) -> Result<Arc<Token>> {
    admin.node.catalog().token(name).cloned().ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    ApiError::new(StatusCode::NOT_FOUND, "unknown-token", format!("there is no token {shown:?}"))
}

fn secret() -> Result<Secret> {
    Secret::make().ok_or_else(|| {
        let detail = "the system gives no random bytes";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    })
}

/// The token of who shows none, which may do nothing at first.
fn anonymous(by: &str, now_ns: i64) -> Token {
    Token {
        id: 0,
        version: 0,
        name: ANONYMOUS.to_owned(),
        digest: None,
        previous: None,
        rights: Rights::default(),
        expires_ns: None,
        created_ns: now_ns,
        created_by: by.to_owned(),
        note: String::new(),
    }
}
