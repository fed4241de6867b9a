//! The same question in the words of each system.
//!
//! Peers are asked as TSBS's own query generators ask them, with two differences that make answers
//! comparable: ranges keep their nanoseconds where the system has them, and
//! groupby-orderby-limit asks everybody for the last five minutes, in descending order.

mod influx;
mod oribi;
mod sql;
mod victoria;

use crate::{questions::Question, workload::Workload};

/// A system that answers questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// Oribi: window questions, and SQL for rows.
    Oribi,
    /// VictoriaMetrics: MetricsQL.
    Victoria,
    /// InfluxDB 1.x: InfluxQL.
    Influx,
    /// QuestDB: SQL over HTTP.
    Questdb,
    /// DuckDB: SQL in the process that asks.
    Duckdb,
}

/// One way to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phrase {
    /// What sets it apart from other ways to ask the same.
    pub(crate) way: &'static str,
    /// A path and query for GET, or SQL for DuckDB.
    pub(crate) text: String,
}

impl Phrase {
    fn new(way: &'static str, text: String) -> Phrase {
        Phrase { way, text }
    }
}

/// The name under which a phrase stands for a question that is easier than the one asked.
pub(crate) const EASIER: &str = "easier";

impl Dialect {
    /// Every way to ask that is worth a try, none where the dialect cannot express the question.
    pub(crate) fn phrases(self, question: &Question) -> Vec<Phrase> {
        match self {
            Dialect::Oribi => oribi::phrases(question),
            Dialect::Victoria => victoria::phrases(question),
            Dialect::Influx => influx::phrases(question),
            Dialect::Questdb => sql::questdb(question),
            Dialect::Duckdb => sql::duckdb(question),
        }
    }

    /// Paths whose answers tell how many rows each table holds, see [`crate::answer::count`].
    pub(crate) fn count_paths(self, workload: &Workload) -> Vec<String> {
        let path = |table: &&str| match self {
            Dialect::Oribi => oribi::count_path(table),
            Dialect::Victoria => victoria::count_path(workload.end_ns()),
            Dialect::Influx => influx::count_path(),
            Dialect::Questdb | Dialect::Duckdb => sql::count_path(table),
        };
        workload.tables().iter().map(path).collect()
    }

    /// Whether a row replaces the last one of its key, by default.
    pub(crate) fn replaces_rows(self) -> bool {
        !matches!(self, Dialect::Questdb | Dialect::Duckdb)
    }
}

/// `max(a), max(b)` and so on.
fn calls(function: &str, fields: &[&str]) -> String {
    let calls: Vec<String> = fields.iter().map(|field| format!("{function}({field})")).collect();
    calls.join(", ")
}

/// `hostname = 'a'` or `hostname IN ('a', 'b')`.
fn host_is(hosts: &[String]) -> String {
    match hosts {
        [one] => format!("hostname = '{one}'"),
        several => format!("hostname IN ('{}')", several.join("', '")),
    }
}
