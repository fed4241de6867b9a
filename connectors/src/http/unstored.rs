//! What an answer says of a write that was not acknowledged.

use oribi_ingest::{Error, WriteOutcome};
use serde_json::{Value, json};

/// Most rows of each kind that an answer lists.
const ROWS_LISTED_MAX: usize = 100;

/// The members `outcome` and, where the rows differ, `rows_written`, `not_stored` and `unknown`
/// with the numbers of the first such rows: lines, or places in the body.
pub(super) fn members(wrong: &Error) -> Value {
    let outcome = match wrong.outcome() {
        WriteOutcome::NotStored => "not_stored",
        WriteOutcome::Unknown => "unknown",
    };
    let Error::Partly(rows) = wrong else {
        return json!({"outcome": outcome, "rows_written": 0, "rejected": []});
    };
    let first = |rows: &[u32]| rows[..rows.len().min(ROWS_LISTED_MAX)].to_vec();
    json!({
        "outcome": outcome,
        "rows_written": rows.stored,
        "rejected": [],
        "rows_not_stored": rows.not_stored.len(),
        "not_stored": first(&rows.not_stored),
        "rows_unknown": rows.unknown.len(),
        "unknown": first(&rows.unknown),
    })
}
