//! `oribi sql`.

use super::{NodeUrl, client, client::Client, text_table};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::{io, io::Write, process::ExitCode};

/// Flags of `oribi sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// One SELECT, WITH, VALUES, EXPLAIN or SHOW.
    #[arg(value_name = "SQL")]
    text: String,
    #[command(flatten)]
    node: NodeUrl,
    /// Database of tables that name none [default: default]
    #[arg(long, value_name = "DB")]
    db: Option<String>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for a terminal.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One object.
    Json,
    /// One object a line.
    Ndjson,
}

/// Asks and prints.
///
/// # Errors
/// What the node refuses, in its words.
pub(crate) fn run(args: &SqlArgs) -> Result<ExitCode> {
    let client = Client::new(&args.node)?;
    let name = match args.format {
        Format::Table | Format::Json => "json",
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
    };
    let answer = client.sql(&args.text, args.db.as_deref(), name)?;
    if args.format == Format::Table {
        print_table(client::json(answer)?)?;
    } else {
        print(&client::bytes(answer)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(answer: Value) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Answer {
        columns: Vec<Column>,
        rows: Vec<Vec<Value>>,
        stats: Stats,
    }
    #[derive(serde::Deserialize)]
    struct Column {
        name: String,
    }
    #[derive(serde::Deserialize)]
    struct Stats {
        elapsed_ms: f64,
    }
    let answer: Answer = serde_json::from_value(answer).context("the answer is not understood")?;
    let columns: Vec<String> = answer.columns.into_iter().map(|column| column.name).collect();
    print(text_table::format(&columns, &answer.rows).as_bytes())?;
    let rows = answer.rows.len();
    let plural = if rows == 1 { "row" } else { "rows" };
    eprintln!("{rows} {plural} in {:.1} ms", answer.stats.elapsed_ms);
    Ok(())
}

/// Writes to standard output; a reader that has seen enough is no error.
///
/// # Errors
/// Any other failure of the output.
pub(super) fn print(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(wrong) if wrong.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("cannot write the output"),
    }
}
