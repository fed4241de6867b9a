//! Who has changed what on this node, and who was not let in: lines of JSON in files of a bounded size.
//!
//! A line is on the disk before the change is answered. Where there is no room for it the change is
//! refused (`Audit::reserve`); rows and questions go on. Nothing secret is in it: of a request only what
//! it was about is noted, by name.

mod file;
mod logins;
pub(crate) mod members;

use crate::config::AuditOptions;
use file::Lines;
use jiff::Timestamp;
use logins::{Logins, Refused};
use oribi_model::{Clock, NodeId};
use serde::Serialize;
use serde_json::Value;
use std::{io, net::IpAddr, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Refusals within it are joined.
const JOIN_PAUSE: Duration = Duration::from_secs(60);

/// One line. Members that do not apply are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// What happened, such as `token_made`.
    pub(crate) event: &'static str,
    /// The name of the token that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<String>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_id: Option<u64>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<IpAddr>,
    /// By which way: `http`, `mqtt`, `node`, `file`.
    pub(crate) via: &'static str,
    /// What it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// `ok` or `refused`.
    pub(crate) result: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// By what the request is known, in its answer too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// How often, where it is joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
}

/// An entry as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    node: u32,
    #[serde(flatten)]
    entry: &'a Record,
}

/// The audit log of a node.
pub(crate) struct Audit {
    /// `None`: nothing is noted.
    lines: Option<Lines>,
    node: NodeId,
    clock: Arc<dyn Clock>,
    logins: Logins,
}

impl Audit {
    /// The log in a folder, which is made with the first line.
    pub(crate) fn open(
        dir: &Path,
        options: &AuditOptions,
        node: NodeId,
        clock: Arc<dyn Clock>,
    ) -> Arc<Audit> {
        let lines = Lines::new(dir, options.bytes_max, options.files_max);
        Arc::new(Audit { lines: Some(lines), node, clock, logins: Logins::default() })
    }

    /// One that notes nothing.
    #[cfg(test)]
    pub(crate) fn none(clock: Arc<dyn Clock>) -> Arc<Audit> {
        Arc::new(Audit { lines: None, node: NodeId(1), clock, logins: Logins::default() })
    }

    /// Makes sure that there is room for what is about to be changed.
    ///
    /// # Errors
    /// There is none, or the file cannot be written.
    pub(crate) async fn reserve(self: &Arc<Audit>) -> io::Result<()> {
        self.blocking(|audit| audit.lines.as_ref().map_or(Ok(()), Lines::reserve)).await
    }

    /// Writes a line.
    ///
    /// # Errors
    /// It was not written.
    pub(crate) async fn note(self: &Arc<Audit>, entry: Record) -> io::Result<()> {
        self.blocking(move |audit| audit.write(&entry)).await
    }

    /// Notes that somebody was not let in: the first of its kind at once, others within a minute
    /// joined.
    pub(crate) fn turned_away(
        self: &Arc<Audit>,
        via: &'static str,
        from: Option<IpAddr>,
        reason: &'static str,
    ) {
        if let Some(first) = self.logins.refused(Refused { via, from, reason }) {
            let audit = self.clone();
            // At most one of a kind waits, and their number is bounded.
            tokio::task::spawn_blocking(move || audit.write_or_warn(&first));
        }
    }

    /// Writes what was joined, every minute and at the end, until `stop`.
    pub(crate) async fn watch(self: Arc<Audit>, stop: CancellationToken) {
        loop {
            let is_over = tokio::select! {
                () = tokio::time::sleep(JOIN_PAUSE) => false,
                () = stop.cancelled() => true,
            };
            for entry in self.logins.take() {
                if let Err(wrong) = self.note(entry).await {
                    tracing::warn!(%wrong, "refused logins are not in the audit log");
                }
            }
            if is_over {
                return;
            }
        }
    }

    /// The newest entries, oldest first: at most `limit`, none older than `since_ns`.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) async fn read(
        self: &Arc<Audit>,
        since_ns: i64,
        limit: usize,
    ) -> io::Result<Vec<Value>> {
        let since = shown(since_ns);
        self.blocking(move |audit| {
            audit.lines.as_ref().map_or(Ok(Vec::new()), |lines| lines.newest(&since, limit))
        })
        .await
    }

    fn write(&self, entry: &Record) -> io::Result<()> {
        let Some(lines) = &self.lines else { return Ok(()) };
        let line = Line { time: shown(self.clock.now_ns()), node: self.node.0, entry };
        lines.append(&serde_json::to_vec(&line)?)
    }

    fn write_or_warn(&self, entry: &Record) {
        if let Err(wrong) = self.write(entry) {
            tracing::warn!(%wrong, event = entry.event, "an entry is not in the audit log");
        }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Audit>,
        work: impl FnOnce(&Audit) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let audit = self.clone();
        tokio::task::spawn_blocking(move || work(&audit)).await.map_err(io::Error::other)?
    }
}

/// Times as they stand in lines: the later one is the greater text.
fn shown(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
    format!("{time:.6}")
}
