//! What a kind of connector is.

use super::{Common, FeedSpec, RunContext};
use crate::{Error, Result};
use futures::future::BoxFuture;
use oribi_decode::{RouteSpec, mapping::TopicStyle};
use std::{collections::BTreeMap, path::PathBuf};

/// Longest message that a source takes unless configured otherwise, bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A kind of connector, as its own members of the configuration. Those that all kinds have stand
/// beside them.
pub(crate) trait Kind: Send + Sync {
    /// Checks what the types cannot. `key` is how the configuration calls the connector.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and what was expected.
    fn check(&self, common: &Common, key: &str) -> Result<()>;

    /// Runs until the context says stop.
    ///
    /// # Errors
    /// Something that a new start may heal.
    fn run<'r>(&'r self, common: &'r Common, context: &'r RunContext) -> BoxFuture<'r, Result<()>>;

    /// What others have to know of it.
    fn describe(&self) -> Outline<'_>;

    /// Its members that name files.
    fn files(&mut self) -> Vec<(String, FileMember<'_>)>;

    /// Addresses of servers beside the broker that its options name, with the members that do.
    fn urls(&self) -> Vec<(String, &str)> {
        Vec::new()
    }
}

/// What others have to know of a connector.
#[derive(Debug, Clone, Copy)]
pub struct Outline<'a> {
    /// How the topics of its broker look.
    pub style: TopicStyle,
    /// How messages become rows; empty for a sink.
    pub routes: &'a [RouteSpec],
    /// What is passed on; empty for a source.
    pub feeds: &'a [FeedSpec],
}

/// A member of the configuration that names a file.
pub(crate) enum FileMember<'a> {
    Path(&'a mut PathBuf),
    Text(&'a mut String),
}

/// Checks the routes of a source.
///
/// # Errors
/// [`Error::Config`] names the key and what was expected.
pub(crate) fn check_routes(
    common: &Common,
    routes: &[RouteSpec],
    style: TopicStyle,
    key: &str,
) -> Result<()> {
    if routes.iter().all(|route| route.topics.is_empty()) {
        let reason = "a source needs a route with topics";
        return Err(Error::config(format!("{key}.routes"), reason));
    }
    common.compile(routes, style, key).map(drop)
}

/// Checks a bound on messages.
///
/// # Errors
/// [`Error::Config`] names the key and what was expected.
pub(crate) fn check_message_bytes_max(bytes_max: Option<usize>, key: &str) -> Result<()> {
    match bytes_max {
        Some(bytes) if !(1..=256 << 20).contains(&bytes) => {
            Err(Error::config(format!("{key}.message_bytes_max"), "expected 1 byte to 256 MiB"))
        }
        _ => Ok(()),
    }
}

/// Checks the feeds of a sink.
///
/// # Errors
/// [`Error::Config`] names the key and what was expected.
pub(crate) fn check_feeds(common: &Common, feeds: &[FeedSpec], key: &str) -> Result<()> {
    if feeds.is_empty() {
        return Err(Error::config(format!("{key}.feeds"), "a sink needs a feed"));
    }
    if let Some(registry) = &common.registry {
        registry.open(&format!("{key}.registry"))?;
    }
    for (at, feed) in feeds.iter().enumerate() {
        if let Err((member, reason)) = feed.check() {
            return Err(Error::config(format!("{key}.feeds[{at}].{member}"), reason));
        }
    }
    Ok(())
}

/// The files of schemas that routes name.
pub(crate) fn schema_files(routes: &mut [RouteSpec]) -> Vec<(String, FileMember<'_>)> {
    let files = routes.iter_mut().enumerate().filter_map(|(at, route)| {
        let path = route.schema_file.as_mut()?;
        Some((format!("routes[{at}].schema_file"), FileMember::Path(path)))
    });
    files.collect()
}

/// The files that options of librdkafka name.
pub(crate) fn option_files(
    options: &mut BTreeMap<String, String>,
) -> Vec<(String, FileMember<'_>)> {
    /// Ends of the names of such options.
    const ENDS: [&str; 4] = [".location", ".file", ".keytab", ".stores"];
    let files = options.iter_mut().filter(|(name, _)| ENDS.iter().any(|end| name.ends_with(end)));
    files.map(|(name, text)| (format!("options.{name}"), FileMember::Text(text))).collect()
}
