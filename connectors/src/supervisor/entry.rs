//! What is known of a connector by its name.

use crate::{
    connector::{Closed, Parts, State},
    spec::{ConnectorSpec, Shown, files, sealed},
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

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
    /// Its secrets stay closed; here they are empty.
    Closed {
        spec: Arc<ConnectorSpec>,
        why: Closed,
    },
    /// The configuration file has it, and one of its name was made over HTTP.
    Doubled(Arc<ConnectorSpec>),
}

/// Why a connector does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Halt {
    /// The state that it has for it.
    pub(super) state: State,
    pub(super) reason: String,
}

impl Entry {
    /// One that was kept as JSON under this name.
    pub(super) fn kept(name: &str, json: &str, parts: &Parts) -> Entry {
        let mut closed = Ok(());
        let read = serde_json::from_str::<Value>(json).and_then(|mut members| {
            closed = sealed::open(name, &mut members, &*parts.vault);
            ConnectorSpec::deserialize(members)
        });
        let placed = read.map_err(|wrong| wrong.to_string()).and_then(|spec| {
            files::placed(spec, &parts.files, "connector").map_err(|wrong| wrong.to_string())
        });
        match (placed, closed) {
            (Ok(spec), Ok(())) => Entry::Readable(Arc::new(spec)),
            (Ok(spec), Err(why)) => Entry::Closed { spec: Arc::new(spec), why },
            (Err(wrong), _) => {
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
            Entry::Readable(spec) | Entry::Doubled(spec) | Entry::Closed { spec, .. } => Some(spec),
            Entry::Unreadable { .. } => None,
        }
    }

    /// What runs, or why nothing does.
    pub(super) fn runs(&self) -> Result<&Arc<ConnectorSpec>, Halt> {
        let (state, reason) = match self {
            Entry::Readable(spec) => return Ok(spec),
            Entry::Unreadable { reason, .. } => (State::Failed, reason.clone()),
            Entry::Closed { why: Closed::Yet(why), .. } => (State::Starting, why.clone()),
            Entry::Closed { why: Closed::ForGood(why), .. } => {
                (State::Sealed, format!("make it anew, with its secrets: {why}"))
            }
            Entry::Doubled(_) => (
                State::Failed,
                "it stands in the configuration file and was made over HTTP; DELETE drops the one made \
                 over HTTP"
                    .into(),
            ),
        };
        Err(Halt { state, reason })
    }

    /// Whether it may be another one though nothing else is kept of it.
    pub(super) fn may_open(&self) -> bool {
        matches!(self, Entry::Closed { .. })
    }

    pub(super) fn shown(&self) -> Shown {
        match self {
            Entry::Readable(spec) | Entry::Doubled(spec) | Entry::Closed { spec, .. } => {
                Shown::Spec(Box::new((**spec).clone()))
            }
            Entry::Unreadable { shown, .. } => shown.clone(),
        }
    }
}
