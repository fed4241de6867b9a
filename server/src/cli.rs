//! The command line.

use crate::{
    commands::{
        self,
        audit::AuditArgs,
        backup::BackupArgs,
        check::CheckArgs,
        cluster::{ClusterArgs, TabletsArgs},
        connectors::ConnectorsArgs,
        dead_letters::DeadLettersArgs,
        export::ExportArgs,
        health::HealthArgs,
        import::ImportArgs,
        repair::RepairArgs,
        restore::RestoreArgs,
        sql::SqlArgs,
        status::StatusArgs,
        token::TokenArgs,
        whoami::WhoamiArgs,
    },
    demo::{self, DemoArgs, simulate::SimulateArgs},
    listen::{Listeners, Taken},
    node_args::NodeArgs,
    serve::{Guarded, Server},
    serve_demo, telemetry,
};
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;
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
    /// Publish recorded sensor series to an MQTT broker, to Kafka, or to both.
    Simulate(SimulateArgs),
    /// Ask a node in SQL.
    Sql(SqlArgs),
    /// Show what a node is and holds.
    Status(StatusArgs),
    /// Make, list, change and take back tokens.
    Token(TokenArgs),
    /// Show which token is shown to a node, and what it may do.
    Whoami(WhoamiArgs),
    /// Show who has changed what on a node, and who was not let in.
    Audit(AuditArgs),
    /// Say whether a node serves; needs no token.
    Health(HealthArgs),
    /// Show the cluster that a node belongs to.
    Cluster(ClusterArgs),
    /// Show tablets, who leads them and how their replicas are.
    Tablets(TabletsArgs),
    /// Read everything in the data directory of a stopped node, and say what is damaged.
    Check(CheckArgs),
    /// Make the lost or damaged manifest of a stopped node's tablet again.
    Repair(RepairArgs),
    /// Copy all tables of a cluster to another place, while it serves.
    Backup(BackupArgs),
    /// Make the data directory of a new cluster's first node of a backup.
    Restore(RestoreArgs),
    /// Show connectors and how they are doing; make, pause, drop and try them.
    Connectors(ConnectorsArgs),
    /// Put dead letters through again.
    DeadLetters(DeadLettersArgs),
    /// Write a file's rows into a node.
    Import(ImportArgs),
    /// Write a table's rows to standard output.
    Export(ExportArgs),
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
        Command::Demo(command) => run_demo(&command),
        Command::Simulate(args) => simulate(&args),
        Command::Sql(args) => commands::sql::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Token(args) => commands::token::run(&args),
        Command::Whoami(args) => commands::whoami::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Health(args) => commands::health::run(&args),
        Command::Cluster(args) => commands::cluster::run(&args),
        Command::Tablets(args) => commands::cluster::tablets(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Repair(args) => commands::repair::run(&args),
        Command::Backup(args) => commands::backup::run(&args),
        Command::Restore(args) => commands::restore::run(&args),
        Command::Connectors(args) => commands::connectors::run(&args),
        Command::DeadLetters(args) => commands::dead_letters::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Export(args) => commands::export::run(&args),
    };
    done.unwrap_or_else(|wrong| {
        eprintln!("oribi: {}", describe(&wrong));
        ExitCode::FAILURE
    })
}

/// An error with its causes, each told once: many texts hold that of their cause already.
fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn serve(args: &NodeArgs) -> Result<ExitCode> {
    let Some(config) = args.configure(Vec::new())? else { return Ok(ExitCode::from(2)) };
    if let Err(wrong) = Guarded::of(&config) {
        eprintln!("oribi: {}", describe(&wrong));
        return Ok(ExitCode::from(2));
    }
    let listeners = Listeners::bind(&config, Taken::Refuse)?;
    runtime()?.block_on(async {
        let stop = stop_on_signals()?;
        reload_on_hangup(args.clone())?;
        if let Some(server) = Server::start(config, listeners, stop.clone()).await? {
            stop.cancelled().await;
            server.stop().await;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn run_demo(command: &DemoCommand) -> Result<ExitCode> {
    telemetry::raise_file_limit();
    runtime()?.block_on(async {
        let stop = stop_on_signals()?;
        serve_demo::run(&command.node, &command.demo, stop).await
    })
}

fn simulate(args: &SimulateArgs) -> Result<ExitCode> {
    runtime()?.block_on(async {
        let stop = stop_on_signals()?;
        demo::simulate::run(args, stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("oribi")
        .build()
        .context("cannot start threads")
}

/// Reads the configuration again at each SIGHUP. One that is refused changes nothing.
fn reload_on_hangup(args: NodeArgs) -> Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("cannot await SIGHUP")?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if let Err(wrong) = args.reload() {
                tracing::warn!("the configuration stays as it is: {}", describe(&wrong));
            }
        }
    });
    Ok(())
}

/// A token that SIGTERM or Ctrl-C cancels; a second signal ends the process at once. Two others
/// would end it too, and must not: a terminal that goes away, and a file that reaches the limit of
/// the process, which is an error of that write.
fn stop_on_signals() -> Result<CancellationToken> {
    const KILLED_BY_USER: i32 = 130;
    const FILE_SIZE_EXCEEDED: i32 = 25;
    for harmless in [SignalKind::hangup(), SignalKind::from_raw(FILE_SIZE_EXCEEDED)] {
        // Once a signal has been asked for, it no longer does what it does by default.
        drop(signal(harmless).context("cannot take over a signal")?);
    }
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
