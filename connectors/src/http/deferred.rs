//! Words for rows that were put off, since too many tables or time ranges are new.

use oribi_model::Points;

/// Seconds after which such rows are worth another try.
pub(super) const RETRY_AFTER_S: u32 = 5;
/// Most tables that an answer names, and most rows that it lists.
const TABLES_NAMED_MAX: usize = 5;
const ROWS_LISTED_MAX: usize = 100;

/// What an answer says of them, for a person.
pub(super) fn detail(stored: u64, deferred: &[Points]) -> String {
    let rows: usize = deferred.iter().map(Points::rows).sum();
    let named =
        deferred.iter().take(TABLES_NAMED_MAX).map(|points| format!("{:?}", &*points.table));
    let named = named.collect::<Vec<_>>().join(", ");
    let further = match deferred.len().saturating_sub(TABLES_NAMED_MAX) {
        0 => String::new(),
        further => format!(" and {further} more"),
    };
    format!(
        "{stored} rows were stored, {rows} rows of the tables {named}{further} were not: they need more new \
         tables or time ranges than may be made in a minute (ingest.tablets_per_minute_max); send them again"
    )
}

/// The numbers of the first of them: lines, or places in the body.
pub(super) fn rows(deferred: &[Points]) -> Vec<u32> {
    let mut rows: Vec<u32> = deferred.iter().flat_map(|points| &points.origins).copied().collect();
    rows.sort_unstable();
    rows.truncate(ROWS_LISTED_MAX);
    rows
}
