//! The fields of rows, by name or by the place where they are expected.

use super::{
    CELL_BYTES, Duplicate, FieldRef, PointsBuilder, check_cell, check_name, columns::Column,
    no_room,
};
use crate::{FIELDS_MAX, Fault, excerpt};
use oribi_model::{ColumnType, RejectReason, Value};

/// Below this many fields a list is searched from its start.
const LISTED_MAX: usize = 24;

/// Fields as decoders see them: what they cannot be is refused.
impl PointsBuilder {
    /// Sets an integer of the present row.
    ///
    /// # Errors
    /// A field that cannot be, or that the row has already.
    #[inline]
    pub fn int(&mut self, name: &str, value: i64, duplicate: Duplicate) -> Result<(), Fault> {
        let field = self.taken(name, ColumnType::Int, duplicate)?;
        self.set_int(field, value);
        Ok(())
    }

    /// Sets a float of the present row; finite.
    ///
    /// # Errors
    /// As [`PointsBuilder::int`].
    #[inline]
    pub fn float(&mut self, name: &str, value: f64, duplicate: Duplicate) -> Result<(), Fault> {
        let field = self.taken(name, ColumnType::Float, duplicate)?;
        self.set_float(field, value);
        Ok(())
    }

    /// Sets a boolean of the present row.
    ///
    /// # Errors
    /// As [`PointsBuilder::int`].
    #[inline]
    pub fn bool(&mut self, name: &str, value: bool, duplicate: Duplicate) -> Result<(), Fault> {
        let field = self.taken(name, ColumnType::Bool, duplicate)?;
        self.set_bool(field, value);
        Ok(())
    }

    /// Sets a text of the present row.
    ///
    /// # Errors
    /// As [`PointsBuilder::int`], and texts beyond the limit.
    #[inline]
    pub fn text(&mut self, name: &str, value: &str, duplicate: Duplicate) -> Result<(), Fault> {
        check_cell(value)?;
        let field = self.taken(name, ColumnType::Text, duplicate)?;
        match duplicate {
            Duplicate::Refuse => self.set_text(field, value),
            // A later one may still replace it.
            Duplicate::Replace => self.texts.push((field.0, value.to_owned())),
        }
        Ok(())
    }

    /// The name of the field expected next, where that is written as it is wherever a backslash
    /// escapes `,`, `=` and blanks.
    #[inline]
    pub fn expected_plain(&self) -> Option<&str> {
        let column = self.columns.get(self.next)?;
        column.is_plain.then_some(&*column.name)
    }

    /// Takes the expected field for the present row; the fast way past naming it. `None` where this
    /// row has set it already.
    #[inline]
    pub fn take_expected(&mut self) -> Option<FieldRef> {
        let column = self.columns.get_mut(self.next)?;
        if column.stamp == self.stamp {
            return None;
        }
        column.stamp = self.stamp;
        self.next += 1;
        Some(FieldRef(self.next - 1))
    }

    /// Takes a field that some row had before for the present row, by its name where that is
    /// written as it is. `None` where it is not known, or this row has set it already.
    #[inline]
    pub fn take_known(&mut self, name: &[u8]) -> Option<FieldRef> {
        let at = self.find(std::str::from_utf8(name).ok()?)?;
        if !self.columns[at].is_plain {
            return None;
        }
        self.jump(at);
        self.take_expected()
    }

    /// Takes a field of the present row by name; a value that it has there already goes.
    ///
    /// # Errors
    /// A name that cannot be a field, a second value where that is refused, too many fields.
    #[inline]
    fn taken(
        &mut self,
        name: &str,
        column_type: ColumnType,
        duplicate: Duplicate,
    ) -> Result<FieldRef, Fault> {
        let at = match self.find(name) {
            Some(at) => at,
            None => self.checked_field(name, column_type)?,
        };
        self.jump(at);
        self.next += 1;
        if self.columns[at].stamp == self.stamp {
            self.set_again(at, duplicate)?;
        }
        self.columns[at].stamp = self.stamp;
        Ok(FieldRef(at))
    }

    #[cold]
    fn set_again(&mut self, at: usize, duplicate: Duplicate) -> Result<(), Fault> {
        let column = &mut self.columns[at];
        if duplicate == Duplicate::Refuse {
            let name = excerpt(&column.name, 64);
            return Err(Fault::syntax(format!("the field {name:?} stands twice in one row")));
        }
        column.forget(self.times.len());
        self.texts.retain(|(text, _)| *text != at);
        Ok(())
    }

    #[inline]
    fn find(&self, name: &str) -> Option<usize> {
        if self.columns.get(self.next).is_some_and(|column| &*column.name == name) {
            return Some(self.next);
        }
        if self.columns.len() <= LISTED_MAX {
            return self.columns.iter().position(|column| &*column.name == name);
        }
        self.by_name.get(name).copied()
    }

    fn checked_field(&mut self, name: &str, column_type: ColumnType) -> Result<usize, Fault> {
        check_name(name, "field")?;
        if self.columns.len() >= FIELDS_MAX {
            let detail = format!("more than {FIELDS_MAX} fields of one table in one batch");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        if !self.cells.covers((self.columns.len() + 1).saturating_mul(self.times.len())) {
            return Err(no_room());
        }
        Ok(self.add(name, column_type))
    }

    fn add(&mut self, name: &str, column_type: ColumnType) -> usize {
        let at = self.columns.len();
        self.bytes += self.times.len() * CELL_BYTES + 2 * name.len() + size_of::<Column>();
        self.by_name.insert(name.into(), at);
        self.columns.push(Column::new(name, column_type));
        at
    }
}

/// Fields as they are, for callers who know them.
impl PointsBuilder {
    /// The field of this name whose first cell has this type, made where it is new.
    pub fn field(&mut self, name: &str, column_type: ColumnType) -> FieldRef {
        FieldRef(self.find(name).unwrap_or_else(|| self.add(name, column_type)))
    }

    /// Sets an integer cell of the row under construction.
    #[inline]
    pub fn set_int(&mut self, field: FieldRef, value: i64) {
        self.columns[field.0].set_int(self.times.len(), value);
    }

    /// Sets a float cell of the row under construction; `value` is finite.
    #[inline]
    pub fn set_float(&mut self, field: FieldRef, value: f64) {
        debug_assert!(value.is_finite(), "decoders refuse NaN and infinity");
        self.columns[field.0].set_float(self.times.len(), value);
    }

    /// Sets a boolean cell of the row under construction.
    #[inline]
    pub fn set_bool(&mut self, field: FieldRef, value: bool) {
        self.columns[field.0].set_bool(self.times.len(), value);
    }

    /// Sets a text cell of the row under construction, at most once a row.
    #[inline]
    pub fn set_text(&mut self, field: FieldRef, value: &str) {
        self.bytes += value.len();
        self.columns[field.0].set_text(self.times.len(), value);
    }

    /// Sets a cell of the row under construction.
    pub fn set(&mut self, field: FieldRef, value: &Value) {
        match value {
            Value::Int(value) => self.set_int(field, *value),
            Value::Float(value) => self.set_float(field, *value),
            Value::Bool(value) => self.set_bool(field, *value),
            Value::Text(value) => self.set_text(field, value),
        }
    }
}
