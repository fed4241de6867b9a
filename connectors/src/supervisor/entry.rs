//! What is known of a connector by its name.

use crate::spec::{ConnectorSpec, Shown, files};
use serde_json::Value;
use std::{path::Path, sync::Arc};

/// Where a connector was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Http,
}

/// A connector as configured, or why it cannot run.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Readable(Arc<ConnectorSpec>),
    /// It was kept, perhaps by another version, and cannot be read.
    Unreadable {
        shown: Shown,
        reason: String,
    },
    /// The configuration file has it, and one of its name was made over HTTP.
    Doubled(Arc<ConnectorSpec>),
}

impl Entry {
    /// One that was kept as JSON under this name, whose files lie in `folder`.
    pub(super) fn kept(name: &str, json: &str, folder: &Path) -> Entry {
        let read = serde_json::from_str::<ConnectorSpec>(json).map_err(|wrong| wrong.to_string());
        let placed = read.and_then(|spec| {
            files::placed(spec, folder, "connector").map_err(|wrong| wrong.to_string())
        });
        match placed {
            Ok(spec) => Entry::Readable(Arc::new(spec)),
            Err(wrong) => {
                let members: Value = serde_json::from_str(json).unwrap_or_default();
                let text = |name: &str| members[name].as_str().unwrap_or_default().to_owned();
                let (name, kind, url) = (name.to_owned(), text("kind"), text("url"));
                let shown = Shown::Unreadable { name, kind, url };
                Entry::Unreadable { shown, reason: format!("it cannot be read as kept: {wrong}") }
            }
        }
    }

    pub(super) fn spec(&self) -> Option<&Arc<ConnectorSpec>> {
        match self {
            Entry::Readable(spec) | Entry::Doubled(spec) => Some(spec),
            Entry::Unreadable { .. } => None,
        }
    }

    /// What runs, or why nothing does.
    pub(super) fn runs(&self) -> Result<&Arc<ConnectorSpec>, String> {
        match self {
            Entry::Readable(spec) => Ok(spec),
            Entry::Unreadable { reason, .. } => Err(reason.clone()),
            Entry::Doubled(_) => {
                Err("it stands in the configuration file and was made over HTTP; \
                 DELETE drops the one made over HTTP"
                    .into())
            }
        }
    }

    pub(super) fn shown(&self) -> Shown {
        match self {
            Entry::Readable(spec) | Entry::Doubled(spec) => Shown::Spec(Box::new((**spec).clone())),
            Entry::Unreadable { shown, .. } => shown.clone(),
        }
    }
}
