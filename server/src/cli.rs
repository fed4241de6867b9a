//! The command line.

use crate::{
    commands::{self, export::ExportArgs, import::ImportArgs, sql::SqlArgs, status::StatusArgs},
    config::{self, Config},
    demo::DemoArgs,
    listen::{Listeners, Taken},
    serve::Server,
    serve_demo, telemetry,
};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Rows in from devices and streams, time windows out.
#[derive(Debug, Parser)]
#[command(name = "oribi", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Serve(NodeArgs),
    /// Run a node with a handful of devices that publish recorded sensor series.
    Demo(DemoCommand),
    /// Ask a node in SQL.
    Sql(SqlArgs),
    /// Show what a node is and holds.
    Status(StatusArgs),
    /// Write a file's rows into a node.
    Import(ImportArgs),
    /// Write a table's rows to standard output.
    Export(ExportArgs),
}

/// Flags of a node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Where all data lies; made where it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "ORIBI_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Address of HTTP [default: 127.0.0.1:8640]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http_listen: Option<String>,
    /// Address of the MQTT listener [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt_listen: Option<String>,
    /// Address for other nodes [default: 127.0.0.1:8641]
    #[arg(long, value_name = "ADDR")]
    pub(crate) node_listen: Option<String>,
    /// A node of the cluster to join; not in this version.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) join: Option<String>,
    /// Listen on other addresses than loopback without TLS and tokens.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Set any key of the configuration, such as storage.log_bytes_max=268435456; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
struct DemoCommand {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    demo: DemoArgs,
}

/// Runs what the command line asks for. Status 2 is a command line or configuration that cannot
/// be, 1 any other failure.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Demo(command) => demo(&command),
        Command::Sql(args) => commands::sql::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Export(args) => commands::export::run(&args),
    };
    done.unwrap_or_else(|wrong| {
        eprintln!("oribi: {wrong:#}");
        ExitCode::FAILURE
    })
}

impl NodeArgs {
    /// The configuration out of all sources; the log begins. `None`: it was refused, and said so.
    pub(crate) fn configure(&self) -> Result<Option<Config>> {
        match self.load() {
            Ok(config) => Ok(Some(config)),
            Err(wrong) => {
                eprintln!("oribi: {wrong:#}");
                Ok(None)
            }
        }
    }

    fn load(&self) -> Result<Config> {
        if let Some(other) = &self.join {
            bail!(
                "cannot join {other}: replication to other nodes is not part of this version; \
                 start without --join"
            );
        }
        let mut flags = Vec::new();
        let named = [
            ("--data-dir", "data_dir", self.data_dir.as_ref().map(|dir| dir.display().to_string())),
            ("--http-listen", "http_listen", self.http_listen.clone()),
            ("--mqtt-listen", "mqtt_listen", self.mqtt_listen.clone()),
            ("--node-listen", "node_listen", self.node_listen.clone()),
            ("--insecure", "insecure", self.insecure.then(|| "true".to_owned())),
        ];
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| anyhow!("cannot use --set {pair}: expected --set KEY=VALUE"))?;
            flags.push((format!("--set {pair}"), key.trim().to_owned(), value.to_owned()));
        }
        for (flag, key, value) in named {
            flags.extend(value.map(|value| (flag.to_owned(), key.to_owned(), value)));
        }
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let sources = config::Sources { file: self.config.as_deref(), environment, flags };
        let (config, warnings) = config::load(sources)?;
        telemetry::start_log(&config.log)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

fn serve(args: &NodeArgs) -> Result<ExitCode> {
    let Some(config) = args.configure()? else { return Ok(ExitCode::from(2)) };
    telemetry::raise_file_limit();
    let listeners = Listeners::bind(&config, Taken::Refuse)?;
    runtime()?.block_on(async {
        let stop = stop_on_signals()?;
        if let Some(server) = Server::start(config, listeners, stop.clone()).await? {
            stop.cancelled().await;
            server.stop().await;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn demo(command: &DemoCommand) -> Result<ExitCode> {
    telemetry::raise_file_limit();
    runtime()?.block_on(async {
        let stop = stop_on_signals()?;
        serve_demo::run(&command.node, &command.demo, stop).await
    })
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("oribi")
        .build()
        .context("cannot start threads")
}

/// A token that SIGTERM or Ctrl-C cancels; a second signal ends the process at once.
fn stop_on_signals() -> Result<CancellationToken> {
    const KILLED_BY_USER: i32 = 130;
    let mut terminate = signal(SignalKind::terminate()).context("cannot await SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot await SIGINT")?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let signal = next().await;
        tracing::info!(signal, "stopping");
        cancel.cancel();
        next().await;
        std::process::exit(KILLED_BY_USER);
    });
    Ok(stop)
}
