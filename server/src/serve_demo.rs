//! `oribi demo`: nodes on fresh folders, and devices that publish to them.

use crate::{
    config::TokenMode,
    demo::{self, DemoArgs, Doors, Fleet, Target},
    listen::{Listeners, Taken},
    node_args::NodeArgs,
    posture::Posture,
    serve::Server,
    telemetry,
};
use anyhow::{Context, Result, ensure};
use std::{path::Path, process::ExitCode};
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
    if args.nodes > 1 {
        return run_several(node, args, fresh.path(), stop).await;
    }
    ensure!(args.kill_after.is_none(), "--kill-after needs other nodes; pass --nodes 3 as well");
    let defaults = vec![
        ("data_dir", fresh.path().display().to_string()),
        // What goes well shows on the screen.
        ("log", "warn".to_owned()),
    ];
    let Some(config) = node.configure(defaults)? else { return Ok(ExitCode::from(2)) };
    let asks = Posture::of(&config)?.tokens == TokenMode::On;
    ensure!(!asks, "the demo's devices have no tokens; pass --insecure, or listen on loopback");
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
    let doors = vec![Doors { http: addresses.http, mqtt: addresses.mqtt }];
    let target = Target { doors, data_dir, fleet: None };
    let equal = demo::run(args, &target, stop).await;
    server.stop().await;
    Ok(code(equal?))
}

/// Runs the demo against nodes that are processes of their own.
async fn run_several(
    node: &NodeArgs,
    args: &DemoArgs,
    fresh: &Path,
    stop: CancellationToken,
) -> Result<ExitCode> {
    ensure!(
        node.is_plain(),
        "--nodes {} starts nodes by itself; flags of a node go with --nodes 1 only",
        args.nodes
    );
    telemetry::start_log("warn")?;
    let fleet = Fleet::start(args.nodes, fresh).await?;
    let target = Target { doors: fleet.doors(), data_dir: fresh.to_owned(), fleet: Some(fleet) };
    let equal = demo::run(args, &target, stop).await;
    if let Some(fleet) = target.fleet {
        fleet.stop().await;
    }
    Ok(code(equal?))
}

fn code(equal: bool) -> ExitCode {
    if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
