//! What is not well with a node, for those who operate it.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Something that is not well, though the rest of the node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is concerned: `disk`, `log`, `tablet 17`.
    pub name: String,
    /// What was found, and what would mend it.
    pub message: String,
}

/// The troubles of a node by name. Each is logged when it comes, when its text changes in kind,
/// and when it goes.
#[derive(Default)]
pub(super) struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    /// Notes a trouble. `message` may change while it lasts.
    pub(super) fn set(&self, name: &str, message: String) {
        let before = self.0.lock().insert(name.to_owned(), message.clone());
        if before.is_none() {
            tracing::error!(what = name, message, "something is not well");
        }
    }

    /// Notes that a trouble is over, if there was one.
    pub(super) fn clear(&self, name: &str) {
        if self.0.lock().remove(name).is_some() {
            tracing::info!(what = name, "all is well again");
        }
    }

    /// Sets it or clears it.
    pub(super) fn update(&self, name: &str, message: Option<String>) {
        match message {
            Some(message) => self.set(name, message),
            None => self.clear(name),
        }
    }

    pub(super) fn list(&self) -> Vec<Trouble> {
        let all = self.0.lock();
        let trouble = |(name, message): (&String, &String)| Trouble {
            name: name.clone(),
            message: message.clone(),
        };
        all.iter().map(trouble).collect()
    }
}
