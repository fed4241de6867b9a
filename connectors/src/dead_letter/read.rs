//! Dead letters as questions see them: the table can be asked before there is a letter, and has
//! every column from the first one on.

use super::{DEAD_LETTER_TABLE, TAGS, fields};
use oribi_model::{
    Column, ColumnId, ColumnKind, ColumnType, Consistency, Ints, Name, Place, ReadPath, Reading,
    Result, ScanSpec, Schema, Table, TableId, TableOptions, TableStats, TabletScan, TimeRange,
    name::DEFAULT_DB,
};
use std::sync::Arc;

/// Stands for the table while the catalog has none; no table has this id.
const NO_LETTERS: TableId = TableId(u32::MAX);

/// A read path on which the table of dead letters is always there.
pub struct WithDeadLetters(Arc<dyn ReadPath>);

impl WithDeadLetters {
    /// `read`, and the table of dead letters.
    pub fn over(read: Arc<dyn ReadPath>) -> Arc<dyn ReadPath> {
        Arc::new(WithDeadLetters(read))
    }
}

impl ReadPath for WithDeadLetters {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        let found = self.0.table(db, table);
        match (db, table) {
            (DEFAULT_DB, DEAD_LETTER_TABLE) => whole(found).ok(),
            _ => found,
        }
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.0.tables()
    }

    fn begin(&self, consistency: Consistency) -> Result<Option<Arc<dyn ReadPath>>> {
        Ok(self.0.begin(consistency)?.map(WithDeadLetters::over))
    }

    fn reading(&self) -> Option<Reading> {
        self.0.reading()
    }

    fn places(&self, table: TableId, time: TimeRange) -> Vec<Place> {
        self.0.places(table, time)
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        self.0.without_places().map(WithDeadLetters::over)
    }

    fn ask(&self, place: &Place, question: &[u8]) -> Result<Vec<u8>> {
        self.0.ask(place, question)
    }

    fn stats(&self, table: TableId) -> TableStats {
        match table {
            NO_LETTERS => TableStats::default(),
            table => self.0.stats(table),
        }
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        match table {
            NO_LETTERS => Ok(Vec::new()),
            table => self.0.scan(table, spec, parts_max),
        }
    }
}

/// The table with the columns that no letter has had yet. Their ids are of nobody, so that they
/// read as null.
fn whole(found: Option<Arc<Table>>) -> Result<Arc<Table>> {
    let tags = TAGS.into_iter().map(|name| (name, ColumnKind::Tag, ColumnType::Text));
    let fields = fields().into_iter().map(|(name, of)| (name, ColumnKind::Field, of));
    let mut missing: Vec<_> = tags.chain(fields).collect();
    if let Some(found) = &found {
        missing.retain(|(name, ..)| found.schema.column(name).is_none());
    }
    let mut table = match found {
        Some(found) if missing.is_empty() => return Ok(found),
        Some(found) => Table::clone(&found),
        None => Table {
            id: NO_LETTERS,
            db: Name::new(DEFAULT_DB)?,
            name: Name::new(DEAD_LETTER_TABLE)?,
            schema: Schema::default(),
            options: TableOptions::default(),
        },
    };
    let first = u32::MAX - missing.len() as u32;
    for (id, (name, kind, column_type)) in (first..u32::MAX).zip(missing) {
        let (id, name) = (ColumnId(id), Name::new(name)?);
        table.schema.columns.push(Column { id, name, kind, column_type, ints: Ints::Unknown });
    }
    Ok(Arc::new(table))
}
