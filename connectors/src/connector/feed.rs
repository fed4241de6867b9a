//! What a sink passes on.

use oribi_model::{WindowQuestion, name::DEFAULT_DB};
use serde::{Deserialize, Serialize};

/// How a sink writes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// One JSON object.
    #[default]
    Json,
    /// One line of line protocol.
    LineProtocol,
    /// An Avro datum behind the id of its schema in the connector's registry or, without one,
    /// behind the fingerprint of its schema.
    Avro,
}

/// What a sink passes on, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSpec {
    /// The database; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db: Option<String>,
    /// The table.
    pub table: String,
    /// The topic.
    pub topic: String,
    /// How records are written.
    #[serde(default)]
    pub format: RecordFormat,
    /// Length of windows, such as `1m`; absent: rows are passed on as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Zone of calendar windows; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Columns of a window, such as `mean(temperature)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// Tags that make groups, comma-separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// How long after its end a window closes, ms; 5,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness_ms: Option<u64>,
}

impl FeedSpec {
    /// The database.
    pub(crate) fn db(&self) -> &str {
        self.db.as_deref().unwrap_or(DEFAULT_DB)
    }

    /// What is asked of windows, if the feed passes windows on.
    pub(crate) fn question(&self) -> Option<WindowQuestion> {
        Some(WindowQuestion {
            db: self.db().to_owned(),
            table: self.table.clone(),
            select: self.select.clone()?,
            window: self.window.clone()?,
            timezone: self.timezone.clone(),
            group_by: self.group_by.clone(),
        })
    }

    /// The member that is wrong, and why.
    pub(super) fn check(&self) -> std::result::Result<(), (&'static str, &'static str)> {
        const LATENESS_MS_MAX: u64 = 86_400_000 * 366;
        let of_windows = self.select.is_some()
            || self.timezone.is_some()
            || self.group_by.is_some()
            || self.lateness_ms.is_some();
        match (&self.window, &self.select) {
            (Some(_), None) => Err(("select", "a window needs columns such as mean(temperature)")),
            (None, _) if of_windows => {
                Err(("window", "select, timezone, group_by and lateness_ms belong to a window"))
            }
            _ if self.lateness_ms.is_some_and(|lateness| lateness > LATENESS_MS_MAX) => {
                Err(("lateness_ms", "expected at most a year"))
            }
            _ => Ok(()),
        }
    }
}
