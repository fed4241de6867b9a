//! `/api/v1/backups/…`: the files of tablets, and the catalog, for whoever keeps copies of them
//! elsewhere.

use super::{
    Admin,
    problem::{ApiError, Result},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use oribi_cluster::Node;
use oribi_model::{NodeId, TabletId};
use oribi_query::http::Problem;
use serde::Serialize;
use std::{io, sync::Arc};
use utoipa::ToSchema;

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes of the name of a backup.
const NAME_BYTES_MAX: usize = 64;

/// The files of a tablet that are held for a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Held {
    /// The node that holds them.
    node: u32,
    /// The last entry of the tablet's log that is in them; null where it has never had a row.
    index: Option<u64>,
    /// Its manifest, then its segments; they are asked for by their place here.
    files: Vec<HeldFile>,
}

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldFile {
    bytes: u64,
    /// CRC-32C of all of it.
    crc: u32,
}

/// Makes all rows of a tablet durable that were acked before, and holds its files as they are then for
/// the backup of this name, until that asks for nothing for 5 minutes or ends. A node that has no
/// replica of the tablet points to one that has.
#[utoipa::path(
    post,
    path = "/api/v1/backups/{backup}/tablets/{tablet}",
    tag = "admin",
    params(
        ("backup" = String, Path, description = "a name that whoever makes the backup chooses"),
        ("tablet" = u64, Path, description = "the tablet"),
    ),
    responses(
        (status = 200, description = "the files", body = Held),
        (status = 307, description = "the same path at a node that has a replica"),
        (status = 400, description = "a name that is none", body = Problem),
        (status = 404, description = "there is no such tablet", body = Problem),
        (status = 503, description = "not now: too many backups, or no leader", body = Problem),
    )
)]
pub(super) async fn hold(
    State(admin): State<Arc<Admin>>,
    path: std::result::Result<Path<(String, u64)>, PathRejection>,
) -> Result<Response> {
    let (backup, tablet) = of_tablet(path)?;
    if let Some(elsewhere) = elsewhere(&admin, &backup, tablet)? {
        return Ok(elsewhere);
    }
    let held = admin.node.hold_for_backup(&backup, tablet).await.map_err(described)?;
    let node = admin.node.identity().node.0;
    let index = held.as_ref().map(|held| held.index.0);
    let sums = held.map_or_else(Vec::new, |held| held.sums);
    let files = sums.into_iter().map(|sum| HeldFile { bytes: sum.bytes, crc: sum.crc }).collect();
    Ok(Json(Held { node, index, files }).into_response())
}

/// A file that is held for a backup, from its first byte to its last.
#[utoipa::path(
    get,
    path = "/api/v1/backups/{backup}/tablets/{tablet}/files/{file}",
    tag = "admin",
    params(
        ("backup" = String, Path, description = "the backup's name"),
        ("tablet" = u64, Path, description = "the tablet"),
        ("file" = usize, Path, description = "which of its files, counted from 0"),
    ),
    responses(
        (status = 200, description = "its bytes", content_type = "application/octet-stream"),
        (status = 409, description = "it is not held, or held no more", body = Problem),
    )
)]
pub(super) async fn file(
    State(admin): State<Arc<Admin>>,
    path: std::result::Result<Path<(String, u64, usize)>, PathRejection>,
) -> Result<Response> {
    let Path((backup, tablet, file)) = path.map_err(|wrong| wrong_path(&wrong))?;
    let (backup, tablet) = (checked(backup)?, TabletId(tablet));
    let bytes = admin.node.held_for_backup(&backup, tablet, file)?;
    let place = Place { node: admin.node.clone(), backup, tablet, file, bytes };
    let pieces = stream::try_unfold((place, 0), |(place, offset)| async move {
        if offset >= place.bytes {
            return Ok::<_, io::Error>(None);
        }
        let (piece, place) = place.read(offset).await?;
        let next = offset + piece.len() as u64;
        Ok(Some((piece, (place, next))))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The catalog with every change that was acked before, as its file has it: JSON.
#[utoipa::path(
    get,
    path = "/api/v1/backups/{backup}/catalog",
    tag = "admin",
    params(("backup" = String, Path, description = "the backup's name")),
    responses(
        (status = 200, description = "the catalog", content_type = "application/json"),
        (status = 503, description = "not now", body = Problem),
    )
)]
pub(super) async fn catalog(
    State(admin): State<Arc<Admin>>,
    Path(backup): Path<String>,
) -> Result<Response> {
    checked(backup)?;
    let catalog = admin.node.catalog_for_backup().await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], catalog).into_response())
}

/// Lets go of what this node holds for a backup.
#[utoipa::path(
    delete,
    path = "/api/v1/backups/{backup}",
    tag = "admin",
    params(("backup" = String, Path, description = "the backup's name")),
    responses((status = 204, description = "nothing is held for it"))
)]
pub(super) async fn end(
    State(admin): State<Arc<Admin>>,
    Path(backup): Path<String>,
) -> Result<StatusCode> {
    admin.node.end_backup(&checked(backup)?);
    Ok(StatusCode::NO_CONTENT)
}

/// A held file that is read piece by piece.
struct Place {
    node: Arc<Node>,
    backup: String,
    tablet: TabletId,
    file: usize,
    bytes: u64,
}

impl Place {
    async fn read(self, offset: u64) -> io::Result<(axum::body::Bytes, Place)> {
        let reading = tokio::task::spawn_blocking(move || {
            let piece = offset..self.bytes.min(offset + PIECE_BYTES);
            let read = self.node.read_for_backup(&self.backup, self.tablet, self.file, piece);
            read.map(|piece| (piece, self))
        });
        let outcome = reading.await.map_err(io::Error::other)?;
        outcome.map_err(|error| {
            tracing::warn!(%error, "a backup's read of a tablet breaks off");
            io::Error::other(error)
        })
    }
}

fn of_tablet(
    path: std::result::Result<Path<(String, u64)>, PathRejection>,
) -> Result<(String, TabletId)> {
    let Path((backup, tablet)) = path.map_err(|wrong| wrong_path(&wrong))?;
    Ok((checked(backup)?, TabletId(tablet)))
}

fn wrong_path(wrong: &PathRejection) -> ApiError {
    ApiError::parameter("path", wrong.body_text())
}

fn checked(backup: String) -> Result<String> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=NAME_BYTES_MAX).contains(&backup.len()) && backup.bytes().all(may) {
        return Ok(backup);
    }
    let detail = format!("expected 1 to {NAME_BYTES_MAX} letters, digits and -");
    Err(ApiError::parameter("backup", detail))
}

/// Points to a node that has a replica, where this one has none.
fn elsewhere(admin: &Admin, backup: &str, tablet: TabletId) -> Result<Option<Response>> {
    let catalog = admin.node.catalog();
    if catalog.tablet(tablet).is_none() {
        return Err(described(oribi_cluster::Error::NoTablet(tablet)));
    }
    let nodes: Vec<NodeId> = catalog.replicas_of(tablet).iter().map(|member| member.node).collect();
    if nodes.contains(&admin.node.identity().node) {
        return Ok(None);
    }
    let known = nodes.iter().find_map(|node| catalog.node(*node));
    let Some(known) = known else { return Ok(None) };
    let at = admin.at(known, &format!("/api/v1/backups/{backup}/tablets/{tablet}"));
    Ok(Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, at)]).into_response()))
}

fn described(error: oribi_cluster::Error) -> ApiError {
    match error {
        oribi_cluster::Error::NoTablet(_) => {
            ApiError::new(StatusCode::NOT_FOUND, "unknown-tablet", error.to_string())
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn a_backup_has_a_plain_name() {
        assert!(checked("20261130T012000Z-0f3a".into()).is_ok());
        for wrong in ["", "a b", "../x", "ä", &"x".repeat(65)] {
            assert!(checked(wrong.into()).is_err(), "{wrong}");
        }
    }
}
