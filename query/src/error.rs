//! What can go wrong with a question, and which HTTP status tells it.

use datafusion::{
    common::SchemaError, error::DataFusionError, sql::sqlparser::parser::ParserError,
};
use oribi_access::Needs;

/// An operating error of a query. The text is what the asker reads.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter that is missing, unknown or not in its grammar.
    #[error("{detail}")]
    Parameter {
        /// Its name.
        parameter: String,
        /// What was wrong and what was expected.
        detail: String,
        /// Byte within the parameter's text, where known.
        position: Option<usize>,
    },
    /// No such table.
    #[error("cannot find table {table:?} in database {db:?}{}", near_text(near))]
    UnknownTable {
        /// The database asked.
        db: String,
        /// The table asked.
        table: String,
        /// Tables with similar names.
        near: Vec<String>,
    },
    /// A table that who asks may not read, be there one or not.
    #[error("{0}")]
    Forbidden(Box<Needs>),
    /// A name that is no column of the table.
    #[error("cannot find column {column:?}; expected one of: {}", columns.join(", "))]
    UnknownColumn {
        /// The parameter that names it.
        parameter: String,
        /// The name.
        column: String,
        /// The columns there are.
        columns: Vec<String>,
    },
    /// SQL that is malformed, refused or not supported.
    #[error("{detail}")]
    Sql {
        /// What was wrong.
        detail: String,
    },
    /// More windows than allowed.
    #[error(
        "the question spans more than {windows_max} windows, the limit windows_max; \
         expected a longer window or a shorter range"
    )]
    TooManyWindows {
        /// The limit.
        windows_max: u64,
    },
    /// A whole number or decimal beyond its type, which is 64 bits for integers.
    #[error("cannot compute {column}: the number does not fit into its type, such as 64 bits")]
    Overflow {
        /// The column of the answer, or what was computed.
        column: String,
    },
    /// More memory than one query may hold.
    #[error("the query needs more memory than memory_bytes_max = {memory_bytes_max} bytes")]
    MemoryLimit {
        /// The limit.
        memory_bytes_max: usize,
    },
    /// An answer larger than allowed.
    #[error("the answer exceeds the limit {name} = {limit}; expected a limit or a narrower range")]
    AnswerLimit {
        /// Name of the limit.
        name: &'static str,
        /// Its value.
        limit: u64,
    },
    /// The query took too long.
    #[error("the query was stopped after the limit time_ms_max = {time_ms_max} ms")]
    TimeLimit {
        /// The limit.
        time_ms_max: u64,
    },
    /// The answer was not read.
    #[error("the answer was given up, as it was not read within the limit {name} = {limit} ms")]
    Unread {
        /// Name of the limit.
        name: &'static str,
        /// Its value, ms.
        limit: u64,
    },
    /// Too many queries at once.
    #[error("{running_max} queries run and {waiting_max} wait already; retry later")]
    Busy {
        /// How many may run.
        running_max: usize,
        /// How many may wait.
        waiting_max: usize,
    },
    /// Writes wait for room, or little memory is left: questions are answered again once that is over.
    #[error(
        "writes wait for room or memory is short, so that fewer questions are taken; retry later"
    )]
    Shed,
    /// More memory than is left of what all queries may hold.
    #[error(
        "all queries together hold as much as memory_total_bytes_max = {memory_total_bytes_max} \
         bytes allows; retry later"
    )]
    Crowded {
        /// The limit.
        memory_total_bytes_max: usize,
    },
    /// The asker has gone.
    #[error("the query was cancelled")]
    Cancelled,
    /// A tablet could not be read.
    #[error("cannot read rows: {0}")]
    Read(#[from] oribi_model::Error),
    /// Figures from elsewhere that are none.
    #[error("cannot read figures of a query: {reason}")]
    Figures {
        /// What is wrong.
        reason: &'static str,
    },
    /// A defect of this program.
    #[error("cannot answer the query: {detail}")]
    Internal {
        /// Cause.
        detail: String,
    },
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The first line of a message of DataFusion, without the kind that it begins with.
fn in_words(text: &str) -> String {
    const CHARS_SHOWN: usize = 500;
    const KINDS: [&str; 6] = [
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Schema error: ",
        "Invalid argument error: ",
        "Compute error: ",
    ];
    let mut line = text.lines().next().unwrap_or_default();
    while let Some(rest) = KINDS.iter().find_map(|kind| line.strip_prefix(kind)) {
        line = rest;
    }
    if let Some((function, reasons)) = line.split_once(" failed to match any signature") {
        let function = function.rsplit("Function ").next().unwrap_or_default();
        let (_, received) = reasons.split_once("but received ").unwrap_or_default();
        let received = received.split(['(', ',', ';']).next().unwrap_or_default().trim();
        return format!("{function} takes no values of type {received}");
    }
    line.chars().take(CHARS_SHOWN).collect()
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    format!("; similar names: {}", near.join(", "))
}

/// What DataFusion was asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskedBy<'a> {
    /// A predicate in a parameter of this name.
    Parameter(&'a str),
    /// A statement.
    Statement,
}

impl<'a> AskedBy<'a> {
    fn parameter(self) -> &'a str {
        match self {
            AskedBy::Parameter(name) => name,
            AskedBy::Statement => "q",
        }
    }

    fn wrong(self, detail: String) -> Error {
        match self {
            AskedBy::Parameter(name) => Error::parameter(name, detail),
            AskedBy::Statement => Error::Sql { detail },
        }
    }
}

impl Error {
    /// A malformed parameter.
    pub(crate) fn parameter(parameter: &str, detail: impl Into<String>) -> Error {
        Error::Parameter { parameter: parameter.into(), detail: detail.into(), position: None }
    }

    /// A malformed parameter, with the byte at which it goes wrong.
    pub(crate) fn parameter_at(parameter: &str, position: usize, detail: String) -> Error {
        Error::Parameter { parameter: parameter.into(), detail, position: Some(position) }
    }

    /// The HTTP status that tells this error.
    pub fn status(&self) -> u16 {
        match self {
            Error::Parameter { .. }
            | Error::UnknownColumn { .. }
            | Error::Sql { .. }
            | Error::TooManyWindows { .. } => 400,
            Error::Forbidden(_) => 403,
            Error::UnknownTable { .. } => 404,
            Error::Overflow { .. } | Error::MemoryLimit { .. } | Error::AnswerLimit { .. } => 422,
            Error::Busy { .. } | Error::Shed | Error::Crowded { .. } => 429,
            Error::TimeLimit { .. } | Error::Unread { .. } => 504,
            Error::Read(error) if error.is_retryable() => 503,
            Error::Cancelled => 503,
            Error::Read(_) | Error::Figures { .. } | Error::Internal { .. } => 500,
        }
    }

    /// A short, stable name of the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Parameter { .. } => "invalid-parameter",
            Error::Forbidden(_) => "forbidden",
            Error::UnknownTable { .. } => "unknown-table",
            Error::UnknownColumn { .. } => "unknown-column",
            Error::Sql { .. } => "invalid-sql",
            Error::TooManyWindows { .. } => "too-many-windows",
            Error::Overflow { .. } => "integer-overflow",
            Error::MemoryLimit { .. } => "memory-limit",
            Error::AnswerLimit { .. } => "answer-limit",
            Error::TimeLimit { .. } => "time-limit",
            Error::Unread { .. } => "unread",
            Error::Busy { .. } => "too-many-queries",
            Error::Shed => "overloaded",
            Error::Crowded { .. } => "too-little-memory",
            Error::Cancelled => "cancelled",
            Error::Read(oribi_model::Error::TooStale { .. }) => "too-stale",
            Error::Read(_) => "unreadable",
            Error::Figures { .. } | Error::Internal { .. } => "internal",
        }
    }

    /// Whether the same question may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Busy { .. } | Error::Shed | Error::Crowded { .. } => true,
            Error::Cancelled | Error::TimeLimit { .. } => true,
            Error::Read(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// A fault of a predicate as one of the statement that holds it.
    pub(crate) fn of_statement(self) -> Error {
        match self {
            Error::Parameter { detail, .. } => Error::Sql { detail },
            error => error,
        }
    }

    /// An error of DataFusion as an answer about what was asked.
    pub(crate) fn from_datafusion(
        asked: AskedBy<'_>,
        error: &DataFusionError,
        memory_bytes_max: usize,
    ) -> Error {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Error::MemoryLimit { memory_bytes_max },
            DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
                Some(own) if asked == AskedBy::Statement => own.clone().of_statement(),
                Some(own) => own.clone(),
                None => Error::Sql { detail: inner.to_string() },
            },
            DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => Error::UnknownColumn {
                    parameter: asked.parameter().into(),
                    column: field.name.clone(),
                    columns: valid_fields.iter().map(|column| column.name.clone()).collect(),
                },
                other => asked.wrong(other.to_string()),
            },
            DataFusionError::SQL(error, _) => {
                let (ParserError::ParserError(detail) | ParserError::TokenizerError(detail)) =
                    error.as_ref()
                else {
                    return asked.wrong("the SQL nests too deep".into());
                };
                asked.wrong(format!("the SQL cannot be read: {detail}"))
            }
            root => asked.wrong(in_words(&root.strip_backtrace())),
        }
    }
}
