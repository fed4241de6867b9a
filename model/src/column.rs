//! Values and columns: four types, held in Arrow arrays.

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// The largest integer below which every integer is exact as a float: 2⁵³.
pub const INT_EXACT_IN_FLOAT_MAX: i64 = 1 << 53;

/// The type of a field. Tags are always text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// 64-bit signed integer.
    Int,
    /// 64-bit IEEE 754 float; never NaN or infinite.
    Float,
    /// True or false.
    Bool,
    /// UTF-8.
    Text,
}

impl ColumnType {
    /// How the type is called in answers and error messages.
    pub fn as_str(self) -> &'static str {
        match self {
            ColumnType::Int => "integer",
            ColumnType::Float => "float",
            ColumnType::Bool => "boolean",
            ColumnType::Text => "string",
        }
    }

    /// The Arrow type of arrays of this type.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::Int => DataType::Int64,
            ColumnType::Float => DataType::Float64,
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Text => DataType::Utf8,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One cell that is not null.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// See [`ColumnType::Int`].
    Int(i64),
    /// See [`ColumnType::Float`].
    Float(f64),
    /// See [`ColumnType::Bool`].
    Bool(bool),
    /// See [`ColumnType::Text`].
    Text(String),
}

impl Value {
    /// The value's type.
    pub fn column_type(&self) -> ColumnType {
        match self {
            Value::Int(_) => ColumnType::Int,
            Value::Float(_) => ColumnType::Float,
            Value::Bool(_) => ColumnType::Bool,
            Value::Text(_) => ColumnType::Text,
        }
    }
}

/// A column of cells of one type, some of which may be null. Clones and slices share memory.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// See [`ColumnType::Int`].
    Int(Int64Array),
    /// See [`ColumnType::Float`].
    Float(Float64Array),
    /// See [`ColumnType::Bool`].
    Bool(BooleanArray),
    /// See [`ColumnType::Text`].
    Text(StringArray),
}

impl ColumnValues {
    /// A column of `rows` nulls.
    pub fn nulls(column_type: ColumnType, rows: usize) -> ColumnValues {
        match column_type {
            ColumnType::Int => ColumnValues::Int(Int64Array::new_null(rows)),
            ColumnType::Float => ColumnValues::Float(Float64Array::new_null(rows)),
            ColumnType::Bool => ColumnValues::Bool(BooleanArray::new_null(rows)),
            ColumnType::Text => ColumnValues::Text(StringArray::new_null(rows)),
        }
    }

    /// The type of the cells.
    pub fn column_type(&self) -> ColumnType {
        match self {
            ColumnValues::Int(_) => ColumnType::Int,
            ColumnValues::Float(_) => ColumnType::Float,
            ColumnValues::Bool(_) => ColumnType::Bool,
            ColumnValues::Text(_) => ColumnType::Text,
        }
    }

    /// The column as a plain Arrow array reference.
    pub fn as_array(&self) -> &dyn Array {
        match self {
            ColumnValues::Int(array) => array,
            ColumnValues::Float(array) => array,
            ColumnValues::Bool(array) => array,
            ColumnValues::Text(array) => array,
        }
    }

    /// The column as a shared Arrow array; copies no cells.
    pub fn to_array_ref(&self) -> ArrayRef {
        match self.clone() {
            ColumnValues::Int(array) => Arc::new(array),
            ColumnValues::Float(array) => Arc::new(array),
            ColumnValues::Bool(array) => Arc::new(array),
            ColumnValues::Text(array) => Arc::new(array),
        }
    }

    /// Number of cells, nulls included.
    pub fn len(&self) -> usize {
        self.as_array().len()
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of nulls.
    pub fn null_count(&self) -> usize {
        self.as_array().null_count()
    }

    /// Whether the cell of `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.as_array().is_null(row)
    }

    /// The cell of `row`; `None` is null.
    pub fn get(&self, row: usize) -> Option<Value> {
        if self.is_null(row) {
            return None;
        }
        Some(match self {
            ColumnValues::Int(array) => Value::Int(array.value(row)),
            ColumnValues::Float(array) => Value::Float(array.value(row)),
            ColumnValues::Bool(array) => Value::Bool(array.value(row)),
            ColumnValues::Text(array) => Value::Text(array.value(row).to_owned()),
        })
    }

    /// `rows` cells from `start`; copies nothing.
    pub fn slice(&self, start: usize, rows: usize) -> ColumnValues {
        match self {
            ColumnValues::Int(array) => ColumnValues::Int(array.slice(start, rows)),
            ColumnValues::Float(array) => ColumnValues::Float(array.slice(start, rows)),
            ColumnValues::Bool(array) => ColumnValues::Bool(array.slice(start, rows)),
            ColumnValues::Text(array) => ColumnValues::Text(array.slice(start, rows)),
        }
    }

    /// The column as a reader of type `target` wants it: integers become floats where the column
    /// was widened after these rows were stored.
    ///
    /// # Panics
    /// If the types differ in any other way, which the catalog rules out.
    pub fn read_as(self, target: ColumnType) -> ColumnValues {
        match (self, target) {
            (ColumnValues::Int(array), ColumnType::Float) => {
                ColumnValues::Float(array.unary(|value| value as f64))
            }
            (values, target) => {
                assert_eq!(values.column_type(), target, "a column changes type only by widening");
                values
            }
        }
    }

    /// Bytes of memory the column's buffers hold.
    pub fn bytes(&self) -> usize {
        self.as_array().get_buffer_memory_size()
    }
}
