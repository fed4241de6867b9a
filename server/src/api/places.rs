//! Answers that name no places of this machine: files of the data directory are named as from there. The
//! log has whole paths.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Response, header},
    middleware::Next,
};
use std::{path::Path, sync::Arc};

/// What InfluxDB's clients read an error from.
const INFLUX_ERROR: HeaderName = HeaderName::from_static("x-influxdb-error");
/// Errors are shorter.
const BYTES_MAX: usize = 64 << 10;

/// What goes before the names of files, and is left out.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<str>);

impl Places {
    /// Names of files in this directory.
    pub(crate) fn within(data_dir: &Path) -> Places {
        let shown = data_dir.display().to_string();
        Places(format!("{}/", shown.trim_end_matches('/')).into())
    }

    fn without(&self, text: &str) -> Option<String> {
        // Of the folder in which the process runs nothing is told anyway.
        let is_told = self.0.len() > "./".len() && text.contains(&*self.0);
        is_told.then(|| text.replace(&*self.0, ""))
    }
}

/// Leaves the place of the data directory out of errors, and out of what is told of the node's health.
pub(super) async fn leave_out(
    State(places): State<Places>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let is_health = request.uri().path() == "/health";
    let answer = next.run(request).await;
    let is_error = answer.status().is_client_error() || answer.status().is_server_error();
    if !is_error && !is_health {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let said = parts.headers.get(INFLUX_ERROR).and_then(|said| said.to_str().ok());
    if let Some(said) = said.and_then(|said| HeaderValue::from_str(&places.without(said)?).ok()) {
        parts.headers.insert(INFLUX_ERROR, said);
    }
    let Ok(bytes) = axum::body::to_bytes(body, BYTES_MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let body = match std::str::from_utf8(&bytes).ok().and_then(|text| places.without(text)) {
        Some(text) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Body::from(text)
        }
        None => Body::from(bytes),
    };
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_from_the_data_directory() {
        let places = Places::within(Path::new("/var/lib/oribi/"));
        let said = "cannot sync /var/lib/oribi/log/00000003.log: Input/output error";
        let told = "cannot sync log/00000003.log: Input/output error";
        assert_eq!(places.without(said).as_deref(), Some(told));
        assert_eq!(places.without("there is no table /var/lib"), None);
        for here in [".", "/"] {
            assert_eq!(Places::within(Path::new(here)).without("a ./b /c"), None, "{here}");
        }
    }
}
