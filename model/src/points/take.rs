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

#[cfg(test)]
mod tests {
    use crate::{ColumnType, Name, PointsBuilder, Value};

    #[test]
    fn taken_rows_keep_their_series_times_origins_and_odd_cells() {
        let mut builder = PointsBuilder::new(Name::new("d").unwrap(), Name::new("m").unwrap());
        for row in 0..4u32 {
            let series = builder.series([("host", if row % 2 == 0 { "a" } else { "b" })]);
            let field = builder.field("v", ColumnType::Int);
            builder.set_int(field, i64::from(row));
            if row == 3 {
                let field = builder.field("text", ColumnType::Text);
                builder.set_text(field, "three");
            }
            if row == 1 {
                let field = builder.field("odd", ColumnType::Int);
                builder.set_int(field, 1);
            } else {
                let field = builder.field("odd", ColumnType::Int);
                builder.set(field, &Value::Bool(row == 2));
            }
            builder.end_row(series, i64::from(row) * 10, row + 5);
        }
        let all = builder.finish();
        let taken = all.take(vec![1, 3]);
        assert_eq!((taken.times.clone(), taken.origins.clone()), (vec![10, 30], vec![6, 8]));
        assert_eq!(taken.series.len(), 1);
        assert_eq!(taken.tags_of(0).collect::<Vec<_>>(), [("host", "b")]);
        let field = |name: &str| taken.fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!(field("v").values.get(1), Some(Value::Int(3)));
        assert_eq!(field("text").values.get(1), Some(Value::Text("three".into())));
        let shown = |name: &str, row: usize| {
            let field = field(name);
            let odd = field.odd.iter().find(|(at, _)| *at as usize == row);
            odd.map(|(_, value)| value.clone()).or_else(|| field.values.get(row))
        };
        assert_eq!(shown("odd", 0), Some(Value::Int(1)));
        assert_eq!(shown("odd", 1), Some(Value::Bool(false)));
        assert_eq!(all.take(vec![0]).fields.iter().filter(|f| f.name == "text").count(), 0);
        assert_eq!(all.take((0..4).collect()), all);
    }
}
