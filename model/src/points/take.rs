//! Some rows of a batch as a batch of their own.

use super::{FieldColumn, Points};
use crate::{Cursor, batch};
use arrow_array::UInt32Array;

impl Points {
    /// The rows at these places, which ascend, with the series and fields that they have.
    pub fn take(&self, rows: Vec<u32>) -> Points {
        let at = |row: &u32| *row as usize;
        let (series, row_series) = batch::taken_series(&self.series, &self.row_series, &rows);
        let times = rows.iter().map(|row| self.times[at(row)]).collect();
        let origins = rows.iter().map(|row| self.origins[at(row)]).collect();
        let cursor = self.cursor.as_ref().map(|cursor| Cursor {
            source: cursor.source.clone(),
            offsets: rows.iter().map(|row| cursor.offsets[at(row)]).collect(),
        });
        let rows = UInt32Array::from(rows);
        let fields = self.fields.iter().map(|field| take_field(field, &rows));
        Points {
            db: self.db.clone(),
            table: self.table.clone(),
            tags: self.tags.clone(),
            series,
            row_series,
            times,
            origins,
            fields: fields
                .filter(|field| {
                    !field.odd.is_empty() || field.values.null_count() < field.values.len()
                })
                .collect(),
            cursor,
        }
    }
}

fn take_field(field: &FieldColumn, rows: &UInt32Array) -> FieldColumn {
    let odd = field.odd.iter().filter_map(|(row, value)| {
        let at = rows.values().binary_search(row).ok()?;
        Some((at as u32, value.clone()))
    });
    FieldColumn {
        name: field.name.clone(),
        values: batch::taken_values(&field.values, rows),
        odd: odd.collect(),
    }
}
