//! `oribi demo`: a node on a fresh folder, and devices that publish to it.

use crate::{
    demo::{self, DemoArgs},
    listen::{Listeners, Taken},
    node_args::NodeArgs,
    serve::Server,
};
use anyhow::{Context, Result};
use std::process::ExitCode;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Runs the demo to its end, or until `stop`. Fails where rows sent, acked and counted differ.
pub(crate) async fn run(
    node: &NodeArgs,
    args: &DemoArgs,
    stop: CancellationToken,
) -> Result<ExitCode> {
    // Removed with all in it once the demo is over.
    let fresh = TempDir::with_prefix("oribi-demo-").context("cannot make a temporary folder")?;
    let defaults = vec![
        ("data_dir", fresh.path().display().to_string()),
        // What goes well shows on the screen.
        ("log", "warn".to_owned()),
    ];
    let Some(config) = node.configure(defaults)? else { return Ok(ExitCode::from(2)) };
    let listeners = Listeners::bind(&config, Taken::TakeFree)?;
    for (what, asked, bound) in [
        ("http", &config.http_listen, &listeners.http),
        ("mqtt", &config.mqtt_listen, &listeners.mqtt),
        ("nodes", &config.node_listen, &listeners.node),
    ] {
        if bound.is_elsewhere {
            println!("{asked} is taken; {what} listens on {} instead", bound.address);
        }
    }
    let data_dir = config.data_dir.clone();
    // The demo may end by itself; the node outlives it until its rows are counted.
    let server_stop = CancellationToken::new();
    let Some(server) = Server::start(config, listeners, server_stop).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let addresses = server.addresses();
    let equal = demo::run(args, addresses.http, addresses.mqtt, &data_dir, stop).await;
    server.stop().await;
    Ok(if equal? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
