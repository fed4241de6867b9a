//! A table as Arrow sees it: time first, then tags, then fields; and its rows as arrays.

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray, TimestampNanosecondArray,
    UInt32Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;
use oribi_model::{Block, Column, ColumnId, ColumnRead, ColumnType, Table, name::TIME_COLUMN};
use std::{cell::LazyCell, sync::Arc};

/// Where the values of an Arrow column come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The event time.
    Time,
    /// A tag of the series.
    Tag(ColumnId),
    /// A field.
    Field(ColumnRead),
}

/// Columns of a table with their Arrow types.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    /// Names and types.
    pub(crate) schema: SchemaRef,
    /// Where each column comes from.
    pub(crate) origins: Vec<Origin>,
}

/// The Arrow type of event times.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

impl Relation {
    /// All columns of a table. A field that is itself called `time` gives way to the event time.
    pub(crate) fn of(table: &Table) -> Relation {
        let mut fields = vec![Field::new(TIME_COLUMN, time_type(), false)];
        let mut origins = vec![Origin::Time];
        let mut add = |column: &Column, data_type: DataType, origin: Origin| {
            if column.name.as_str() != TIME_COLUMN {
                fields.push(Field::new(column.name.as_str(), data_type, true));
                origins.push(origin);
            }
        };
        for tag in table.schema.tags() {
            add(tag, DataType::Utf8View, Origin::Tag(tag.id));
        }
        for field in table.schema.fields() {
            let read = ColumnRead { id: field.id, column_type: field.column_type };
            add(field, field.column_type.arrow(), Origin::Field(read));
        }
        Relation { schema: Arc::new(Schema::new(fields)), origins }
    }

    /// Some of the columns, in the order given.
    pub(crate) fn project(&self, places: &[usize]) -> Relation {
        let fields: Vec<Field> = places.iter().map(|at| self.schema.field(*at).clone()).collect();
        Relation {
            schema: Arc::new(Schema::new(fields)),
            origins: places.iter().map(|at| self.origins[*at]).collect(),
        }
    }

    /// The fields that a scan must read.
    pub(crate) fn reads(&self) -> Vec<ColumnRead> {
        self.origins
            .iter()
            .filter_map(|origin| match origin {
                Origin::Field(read) => Some(*read),
                _ => None,
            })
            .collect()
    }

    /// The rows of a block whose columns are those of `scanned`.
    pub(crate) fn batch(
        &self,
        block: &Block,
        scanned: &[ColumnRead],
    ) -> Result<RecordBatch, ArrowError> {
        let runs = LazyCell::new(|| runs_of_rows(block));
        let array = |origin: &Origin| -> Result<ArrayRef, ArrowError> {
            Ok(match origin {
                Origin::Time => Arc::new(times(block)),
                Origin::Tag(id) => tag_values(block, &runs, *id)?,
                Origin::Field(read) => {
                    let place = scanned.iter().position(|other| other.id == read.id);
                    block.columns[place.expect("a scan reads every field it needs")].to_array_ref()
                }
            })
        };
        let arrays = self.origins.iter().map(array).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(block.rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
    }
}

/// The times of a block; copies nothing.
pub(crate) fn times(block: &Block) -> TimestampNanosecondArray {
    TimestampNanosecondArray::new(block.times.clone(), None).with_timezone("UTC")
}

/// For each row of a block the number of its run.
fn runs_of_rows(block: &Block) -> UInt32Array {
    let runs = (0u32..).zip(&block.runs);
    runs.flat_map(|(number, run)| std::iter::repeat_n(number, run.rows)).collect::<Vec<_>>().into()
}

/// The values of a tag. The text of a run is looked at once, not once a row.
fn tag_values(block: &Block, runs: &UInt32Array, tag: ColumnId) -> Result<ArrayRef, ArrowError> {
    let values: StringViewArray = block.runs.iter().map(|run| run.series.tag(tag)).collect();
    take(&values, runs, None)
}

/// How a type is called in answers.
pub(crate) fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Timestamp(..) => "time",
        DataType::Boolean => ColumnType::Bool.as_str(),
        data_type if data_type.is_integer() => ColumnType::Int.as_str(),
        data_type if data_type.is_numeric() => ColumnType::Float.as_str(),
        _ => ColumnType::Text.as_str(),
    }
}
