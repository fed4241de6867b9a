//! Limits of queries.

use crate::parallel::Sharing;
use serde::Deserialize;

/// Limits of queries; every one is configurable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryOptions {
    /// Windows that one question may span.
    pub windows_max: u64,
    /// Rows of one answer.
    pub answer_rows_max: usize,
    /// Bytes of one answer as it is sent, before compression.
    pub answer_bytes_max: usize,
    /// Memory that one query may hold, bytes.
    pub memory_bytes_max: usize,
    /// Memory of all queries together, bytes. A query that finds none left is refused.
    pub memory_total_bytes_max: usize,
    /// Time that one query may take, waiting for its place included, but not for its reader, ms.
    pub time_ms_max: u64,
    /// Time for which nobody may read on in an answer, ms.
    pub unread_ms_max: u64,
    /// Time that one answer may wait for its reader in all, ms.
    pub sending_ms_max: u64,
    /// Queries that run at once.
    pub running_max: usize,
    /// Queries that wait for one of those; past it comes a 429.
    pub waiting_max: usize,
    /// Length of an SQL text, bytes.
    pub sql_bytes_max: usize,
    /// Nesting of an SQL text.
    pub sql_depth_max: usize,
    /// Operators of an SQL text, and keywords that can nest.
    pub sql_operators_max: usize,
    /// Tables that an SQL text reads, those of WITH clauses as often as these are named.
    pub sql_scans_max: usize,
    /// Threads that one query may use; 0: one for each core.
    pub threads_max: usize,
    /// Rows that one thread of a query reads before others help it; no key of the configuration.
    #[serde(skip)]
    pub rows_alone_max: usize,
}

impl Default for QueryOptions {
    fn default() -> QueryOptions {
        QueryOptions {
            windows_max: 1_000_000,
            answer_rows_max: 1_000_000,
            answer_bytes_max: 64 << 20,
            memory_bytes_max: 256 << 20,
            memory_total_bytes_max: 1 << 30,
            time_ms_max: 30_000,
            unread_ms_max: 30_000,
            sending_ms_max: 300_000,
            running_max: 8,
            waiting_max: 64,
            sql_bytes_max: 256 << 10,
            sql_depth_max: 64,
            sql_operators_max: 500,
            sql_scans_max: 64,
            threads_max: 0,
            // Starting a helper costs about as much as reading these.
            rows_alone_max: 50_000,
        }
    }
}

impl QueryOptions {
    /// Checks that the limits leave room for an answer.
    ///
    /// # Errors
    /// Names the key that does not.
    pub fn validate(&self) -> Result<(), String> {
        let positive = [
            ("windows_max", self.windows_max),
            ("answer_rows_max", self.answer_rows_max as u64),
            ("answer_bytes_max", self.answer_bytes_max as u64),
            ("time_ms_max", self.time_ms_max),
            ("unread_ms_max", self.unread_ms_max),
            ("sending_ms_max", self.sending_ms_max),
            ("running_max", self.running_max as u64),
            ("sql_bytes_max", self.sql_bytes_max as u64),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(format!("{key} is 0; expected at least 1"));
            }
        }
        if self.memory_bytes_max < 1 << 20 {
            return Err("memory_bytes_max is below 1 MiB; expected 1048576 or more".into());
        }
        if self.memory_total_bytes_max < self.memory_bytes_max {
            return Err("memory_total_bytes_max is less than memory_bytes_max; expected at least \
                        that"
                .into());
        }
        if !(1..=200).contains(&self.sql_depth_max) {
            return Err("sql_depth_max is out of range; expected 1 to 200".into());
        }
        if !(1..=1_000).contains(&self.sql_operators_max) {
            return Err("sql_operators_max is out of range; expected 1 to 1000".into());
        }
        Ok(())
    }

    /// How one query shares out its rows.
    pub(crate) fn sharing(&self) -> Sharing {
        Sharing { threads: self.threads(), rows_alone_max: self.rows_alone_max }
    }

    /// Threads that one query uses.
    pub(crate) fn threads(&self) -> usize {
        if self.threads_max > 0 {
            return self.threads_max;
        }
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}
