//! Oribi and its peers under the same load: data, loaders, questions and the report.
//!
//! `bench/run` starts the servers one at a time and calls this program for each measurement.

mod answer;
mod ask;
mod bodies;
mod commands;
mod dialect;
mod http;
mod load;
mod moment;
mod mqtt;
mod process;
mod questions;
mod random;
mod recovery;
mod report;
mod results;
mod workload;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Parser;

use crate::{
    ask::{Asker, Extent},
    bodies::Bodies,
    commands::Rest,
    dialect::Dialect,
    http::Target,
    mqtt::Publishing,
    process::Process,
    recovery::{Recovery, free_ports},
    results::{Results, Sink},
    workload::Workload,
};

/// Measures Oribi and its peers.
#[derive(Parser)]
#[command(name = "oribi-bench")]
enum Command {
    /// Makes request bodies of line protocol in a directory, unless they are there already.
    Generate {
        /// Where the bodies go.
        #[arg(long)]
        dir: PathBuf,
        /// Lines of each body.
        #[arg(long, default_value_t = 5000)]
        batch_rows: u64,
        #[command(flatten)]
        workload: Workload,
        #[command(flatten)]
        sink: Sink,
    },
    /// Writes the same rows as CSV without a head: seconds, tags, fields.
    Csv {
        /// The file.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        workload: Workload,
    },
    /// Sends all bodies to a server and measures rates and acks.
    Load {
        /// Where the bodies are.
        #[arg(long)]
        bodies: PathBuf,
        /// Where they go, such as http://127.0.0.1:8640/write?db=benchmark
        #[arg(long)]
        url: Target,
        /// Connections at once.
        #[arg(long, default_value_t = 2)]
        clients: usize,
        /// Id of the server's process, to measure its memory and CPU time.
        #[arg(long)]
        pid: Option<u32>,
        #[command(flatten)]
        sink: Sink,
    },
    /// Waits until a server holds all rows that were sent.
    Count {
        /// What the server speaks.
        #[arg(long)]
        dialect: Dialect,
        /// HOST:PORT.
        #[arg(long)]
        addr: String,
        /// How long to wait, s.
        #[arg(long, default_value_t = 120)]
        wait_s: u64,
        /// The bodies that were sent.
        #[arg(long)]
        bodies: PathBuf,
    },
    /// Asks a server the questions of every kind.
    Ask {
        /// What the server speaks.
        #[arg(long)]
        dialect: Dialect,
        /// HOST:PORT.
        #[arg(long)]
        addr: String,
        #[command(flatten)]
        extent: Extent,
        #[command(flatten)]
        workload: Workload,
        #[command(flatten)]
        sink: Sink,
    },
    /// Prints questions, one a line: kind, a tab, the text.
    Questions {
        /// The words to ask in.
        #[arg(long)]
        dialect: Dialect,
        #[command(flatten)]
        extent: Extent,
        #[command(flatten)]
        workload: Workload,
    },
    /// Publishes at QoS 1 and measures rates and acks.
    Mqtt {
        #[command(flatten)]
        publishing: Publishing,
        /// Oribi's HTTP address, HOST:PORT: rows must be as many as acks afterwards.
        #[arg(long)]
        count_addr: Option<String>,
        /// Id of the server's process, to measure its CPU time.
        #[arg(long)]
        pid: Option<u32>,
        #[command(flatten)]
        sink: Sink,
    },
    /// Kills a loaded Oribi and measures how soon it serves again, with every acked row.
    Recover {
        /// Where the bodies are.
        #[arg(long)]
        bodies: PathBuf,
        #[command(flatten)]
        recovery: Recovery,
        #[command(flatten)]
        sink: Sink,
    },
    /// Asks a server once and prints the answer; fails unless the status is 2xx.
    Http {
        /// GET or POST.
        method: String,
        /// http://HOST:PORT/PATH
        url: Target,
        /// Ask again for so long until the status is 2xx, s.
        #[arg(long, default_value_t = 0)]
        wait_s: u64,
    },
    /// Prints free ports of 127.0.0.1, one a line.
    FreePorts {
        /// How many.
        count: usize,
    },
    /// Keeps what a server takes at rest as a result.
    Rest {
        #[command(flatten)]
        rest: Rest,
        /// The bodies that were sent.
        #[arg(long)]
        bodies: PathBuf,
        #[command(flatten)]
        sink: Sink,
    },
    /// Prints the tables of a file of results.
    Report {
        /// The file.
        results: PathBuf,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Generate { dir, batch_rows, workload, sink } => {
            let bodies = Bodies::prepare(&dir, workload, batch_rows)?;
            commands::generated(&bodies, &sink)
        }
        Command::Csv { out, workload } => commands::write_csv(&out, workload),
        Command::Load { bodies, url, clients, pid, sink } => {
            commands::load(&Bodies::open(&bodies)?, &url, clients, pid.map(Process::new), &sink)
        }
        Command::Count { dialect, addr, wait_s, bodies } => {
            let wait = Duration::from_secs(wait_s);
            commands::wait_for_rows(dialect, &addr, wait, &Bodies::open(&bodies)?)
        }
        Command::Ask { dialect, addr, extent, workload, sink } => {
            Asker::new(dialect, &addr, extent).run(workload, &sink)
        }
        Command::Questions { dialect, extent, workload } => {
            commands::print_questions(dialect, extent, workload);
            Ok(())
        }
        Command::Mqtt { publishing, count_addr, pid, sink } => {
            commands::publish(&publishing, count_addr.as_deref(), pid.map(Process::new), &sink)
        }
        Command::Recover { bodies, recovery, sink } => recovery.run(&Bodies::open(&bodies)?, &sink),
        Command::Http { method, url, wait_s } => {
            commands::ask_once(&method, &url, Duration::from_secs(wait_s))
        }
        Command::FreePorts { count } => {
            free_ports(count)?.iter().for_each(|port| println!("{port}"));
            Ok(())
        }
        Command::Rest { rest, bodies, sink } => {
            commands::keep_rest(rest, &Bodies::open(&bodies)?, &sink)
        }
        Command::Report { results } => {
            print!("{}", report::report(&Results::read(&results)?));
            Ok(())
        }
    }
}
