//! `oribi export`: a table's rows by ascending time, in as many answers as it takes.

use super::{
    NodeUrl,
    client::{self, Client},
    splice::Splice,
    sql::print,
};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use oribi_model::TimeRange;
use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use ureq::{Body, http::Response};

/// Rows that one answer should have.
const ROWS_AIMED: u64 = 200_000;

/// Flags of `oribi export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The table.
    #[arg(long, value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    node: NodeUrl,
    /// Database.
    #[arg(long, value_name = "DB", default_value = "default")]
    db: String,
    /// First time inside: RFC 3339, a number with a unit, -1h, now [default: the first row]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: Option<String>,
    /// First time after [default: after the last row]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: Option<String>,
    /// An SQL predicate over tags, fields and time.
    #[arg(long = "where", value_name = "PREDICATE")]
    filter: Option<String>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// One object a line.
    Ndjson,
    /// An Arrow IPC stream.
    Arrow,
}

/// Writes the rows to standard output.
///
/// # Errors
/// What the node refuses, in its words.
pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    let client = Client::new(&args.node)?;
    let (stored, rows) = stored(&client, args)?;
    let range = TimeRange::new(
        moment("start", args.start.as_deref())?.unwrap_or(stored.start),
        moment("end", args.end.as_deref())?.unwrap_or(stored.end),
    );
    let range = if stored.is_empty() { range } else { range.intersect(stored) };
    let (name, splice) = match args.format {
        Format::Csv => ("csv", Splice::Csv),
        Format::Ndjson => ("ndjson", Splice::Lines),
        Format::Arrow => ("arrow", Splice::Arrow),
    };
    let mut due = pieces(range, stored, rows);
    let mut is_first = true;
    while let Some(piece) = due.pop() {
        let answer = client.post("/api/v1/sql", &[], question(args, piece, name).as_bytes())?;
        let length = piece.end.saturating_sub(piece.start);
        let Some(bytes) = taken(answer, length)? else {
            let middle = piece.start + length / 2;
            due.push(TimeRange::new(middle, piece.end));
            due.push(TimeRange::new(piece.start, middle));
            continue;
        };
        print(splice.part(&bytes, is_first)?)?;
        is_first = false;
    }
    print(splice.end())?;
    Ok(ExitCode::SUCCESS)
}

/// The answer about a range of some length; `None` where it is too large, said at once or by
/// breaking off, and the range can be halved.
fn taken(answer: Response<Body>, length: i64) -> Result<Option<Vec<u8>>> {
    if answer.status().as_u16() == 422 && length > 1 {
        return Ok(None);
    }
    match client::bytes(client::accepted(answer)?) {
        Err(_) if length > 1 => Ok(None),
        bytes => bytes.map(Some),
    }
}

/// When the table's rows are, and how many.
fn stored(client: &Client, args: &ExportArgs) -> Result<(TimeRange, u64)> {
    let answer = client.get("/api/v1/tables", &[("db", &args.db)])?;
    let answer = client::json(client::accepted(answer)?)?;
    let tables = answer["tables"].as_array().context("the answer is not understood")?;
    let table = tables.iter().find(|table| table["name"].as_str() == Some(&args.table));
    let table = table
        .ok_or_else(|| anyhow!("cannot find table {:?} in database {:?}", args.table, args.db))?;
    let time = |name: &str| {
        let time: Timestamp = table[name].as_str()?.parse().ok()?;
        i64::try_from(time.as_nanosecond()).ok()
    };
    let range = match (time("start"), time("end")) {
        (Some(start), Some(end)) => TimeRange::new(start, end),
        _ => TimeRange::new(0, 0),
    };
    Ok((range, table["rows"].as_u64().unwrap_or(0)))
}

fn moment(flag: &str, text: Option<&str>) -> Result<Option<i64>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    match text {
        None => Ok(None),
        Some(text) => match oribi_query::parse_moment(flag, text, now_ns) {
            Ok(ns) => Ok(Some(ns)),
            Err(wrong) => bail!("cannot use --{flag}: {wrong}"),
        },
    }
}

/// `range` in pieces of about equal length, the first one last, so that each has about as many
/// rows as one answer should, were they spread evenly over what is stored.
fn pieces(range: TimeRange, stored: TimeRange, rows: u64) -> Vec<TimeRange> {
    let length = i128::from(range.end) - i128::from(range.start);
    let all = (i128::from(stored.end) - i128::from(stored.start)).max(1);
    let rows = i128::from(rows) * length.max(0) / all;
    let count = (rows / i128::from(ROWS_AIMED) + 1).min(length.max(1));
    // Within the range, which is one of 64-bit times.
    let bound = |at: i128| (i128::from(range.start) + length * at / count) as i64;
    (0..count).rev().map(|at| TimeRange::new(bound(at), bound(at + 1))).collect()
}

fn question(args: &ExportArgs, piece: TimeRange, format: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let time = |ns: i64| {
        Timestamp::from_nanosecond(i128::from(ns))
            .map_or_else(|_| ns.to_string(), |t| t.to_string())
    };
    let filter = args.filter.as_ref().map(|filter| format!(" AND ({filter})")).unwrap_or_default();
    let q = format!(
        "SELECT * FROM {}.{} WHERE time >= TIMESTAMP '{}' AND time < TIMESTAMP '{}'{filter} \
         ORDER BY time",
        quoted(&args.db),
        quoted(&args.table),
        time(piece.start),
        time(piece.end),
    );
    serde_json::json!({"q": q, "format": format}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_range_without_overlap() {
        let range = TimeRange::new(-5, 1_000_003);
        let pieces = pieces(range, range, 10 * ROWS_AIMED);
        assert_eq!(pieces.len(), 11);
        assert_eq!(pieces.last().unwrap().start, range.start);
        assert_eq!(pieces[0].end, range.end);
        assert!(pieces.windows(2).all(|pair| pair[1].end == pair[0].start));
        assert_eq!(super::pieces(TimeRange::new(3, 3), range, 5), [TimeRange::new(3, 3)]);
    }
}
