//! A table as Arrow sees it: time first, then tags, then fields; and its rows as arrays.

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray, TimestampNanosecondArray,
    builder::make_view,
};
use arrow_buffer::{Buffer, NullBufferBuilder};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use oribi_model::{Block, Column, ColumnId, ColumnRead, ColumnType, Table, name::TIME_COLUMN};
use std::sync::Arc;

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
        let arrays: Vec<ArrayRef> = self
            .origins
            .iter()
            .map(|origin| -> ArrayRef {
                match origin {
                    Origin::Time => Arc::new(times(block)),
                    Origin::Tag(id) => Arc::new(tag_values(block, *id)),
                    Origin::Field(read) => {
                        let place = scanned.iter().position(|other| other.id == read.id);
                        block.columns[place.expect("a scan reads every field it needs")]
                            .to_array_ref()
                    }
                }
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(block.rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
    }
}

/// The times of a block; copies nothing.
pub(crate) fn times(block: &Block) -> TimestampNanosecondArray {
    TimestampNanosecondArray::new(block.times.clone(), None).with_timezone("UTC")
}

/// The values of a tag; all rows of a run share one view.
fn tag_values(block: &Block, tag: ColumnId) -> StringViewArray {
    const INLINE_BYTES_MAX: usize = 12;
    let mut views = Vec::with_capacity(block.rows());
    let mut nulls = NullBufferBuilder::new(block.rows());
    let mut long = Vec::new();
    for run in &block.runs {
        let value = run.series.tag(tag);
        let text = value.unwrap_or_default().as_bytes();
        let view = make_view(text, 0, long.len() as u32);
        if text.len() > INLINE_BYTES_MAX {
            long.extend_from_slice(text);
        }
        views.extend(std::iter::repeat_n(view, run.rows));
        match value {
            Some(_) => nulls.append_n_non_nulls(run.rows),
            None => nulls.append_n_nulls(run.rows),
        }
    }
    StringViewArray::try_new(views.into(), vec![Buffer::from_vec(long)], nulls.finish())
        .expect("each view is of a text put into the buffer")
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
