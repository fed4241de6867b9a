//! The log: one line a fact, on standard error.

use anyhow::{Context, Result, anyhow};
use std::{io::IsTerminal, sync::OnceLock};
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// Directives that come before the configured ones: libraries speak up
/// when something is wrong; the consensus library also warns of what is in order at a start.
const LIBRARIES: &str = "openraft=error,hyper=warn,h2=warn,datafusion=warn,rumqttc=warn";

/// What is logged now.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log; `directives` is a level, or directives such as `info,oribi_query=debug`.
///
/// # Errors
/// Directives that cannot be read.
pub(crate) fn start_log(directives: &str) -> Result<()> {
    let (filter, handle) = reload::Layer::new(filter(directives)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|wrong| anyhow!("cannot begin to log: {wrong}"))?;
    // Only the first one logs.
    let _ = FILTER.set(handle);
    Ok(())
}

/// Logs by other directives from now on.
///
/// # Errors
/// Directives that cannot be read; the old ones stay.
pub(crate) fn change_log(directives: &str) -> Result<()> {
    let filter = filter(directives)?;
    let Some(handle) = FILTER.get() else { return Ok(()) };
    handle.reload(filter).context("cannot change what is logged")
}

fn filter(directives: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(format!("{LIBRARIES},{directives}")).map_err(|wrong| {
        anyhow!(
            "cannot use log {directives:?}: {wrong}; expected error, warn, info, debug, trace, or \
             directives such as info,oribi_query=debug"
        )
    })
}
