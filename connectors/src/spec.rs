//! A connector as configured: one shape for all kinds, in TOML and in JSON.

mod described;
mod explain;
pub(crate) mod files;
mod kinds;
mod read;
pub(crate) mod sealed;

pub use described::{Described, Shown};
pub use explain::{Explained, explain};
pub use kinds::KindSpec;

use crate::{
    Error, Result,
    connector::{Common, Outline, RunContext},
};
use oribi_model::WindowFeed;
use serde::Serialize;

/// A connector as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorSpec {
    /// What all kinds have.
    #[serde(flatten)]
    pub common: Common,
    /// What it is, with the members of its kind.
    #[serde(flatten)]
    pub kind: KindSpec,
}

impl ConnectorSpec {
    /// Its name, one of a kind.
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// Its kind, as the configuration calls it.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// What others have to know of it.
    pub fn describe(&self) -> Outline<'_> {
        self.kind.of().describe()
    }

    /// Checks what the types cannot. `key` is how the configuration calls the connector.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and what was expected.
    pub fn validate(&self, key: &str) -> Result<()> {
        self.common.check(self.describe().style, key)?;
        self.kind.of().check(&self.common, key)
    }

    /// As [`ConnectorSpec::validate`], and whether what its feeds ask of windows can be answered.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn validate_with(&self, windows: &dyn WindowFeed, key: &str) -> Result<()> {
        self.validate(key)?;
        for (at, feed) in self.describe().feeds.iter().enumerate() {
            if let Some(question) = feed.question() {
                windows.check(&question).map_err(|wrong| {
                    let key = format!("{key}.feeds[{at}].{}", wrong.member);
                    Error::config(key, wrong.reason)
                })?;
            }
        }
        Ok(())
    }

    /// Runs until the context says stop.
    ///
    /// # Errors
    /// Something that a new start may heal.
    pub(crate) async fn run(&self, context: &RunContext) -> Result<()> {
        self.kind.of().run(&self.common, context).await
    }
}

#[cfg(test)]
mod tests;
