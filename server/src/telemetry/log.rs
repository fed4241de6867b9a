//! The log: one line a fact, on standard error.

use anyhow::{Result, anyhow};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// Directives that come before the configured ones: libraries speak up
/// when something is wrong; the consensus library also warns of what is in order at a start.
const LIBRARIES: &str = "openraft=error,hyper=warn,h2=warn,datafusion=warn,rumqttc=warn";

/// Begins to log; `directives` is a level, or directives such as `info,oribi_query=debug`.
///
/// # Errors
/// Directives that cannot be read.
pub(crate) fn start_log(directives: &str) -> Result<()> {
    let filter = EnvFilter::try_new(format!("{LIBRARIES},{directives}")).map_err(|wrong| {
        anyhow!(
            "cannot use log {directives:?}: {wrong}; expected error, warn, info, debug, trace, or \
             directives such as info,oribi_query=debug"
        )
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|wrong| anyhow!("cannot begin to log: {wrong}"))
}
