//! Rows of one table under construction, with the checks every decoder needs: names, duplicate
//! fields, sizes. Field places are predicted from the row before.

use super::{
    CELL_BYTES_MAX, FIELDS_MAX, Fault, TAGS_MAX,
    cells::{CellBudget, CellShare},
    excerpt,
};
use oribi_model::{
    ColumnType, Name, Points, PointsBuilder, RejectReason, name::TIME_COLUMN, points::FieldRef,
};
use std::collections::HashMap;

/// Below this many fields a list is searched from its start.
const LISTED_MAX: usize = 24;

#[derive(Debug)]
struct Slot {
    name: Box<str>,
    field: FieldRef,
    /// The row that last set it.
    stamp: u32,
    /// Whether the name is written as it is wherever a backslash escapes `,`, `=` and blanks.
    is_plain: bool,
}

/// What to do with the second of two values for one field of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// The later one stands.
    Replace,
    /// The row is refused.
    Refuse,
}

/// A [`PointsBuilder`] that knows its fields by name.
#[derive(Debug)]
pub struct TableBuilder {
    points: PointsBuilder,
    slots: Vec<Slot>,
    by_name: HashMap<Box<str>, usize>,
    /// Where the next field is expected.
    next: usize,
    stamp: u32,
    /// Cells of the present row that wait for its end, since a text is set only once.
    texts: Vec<(usize, String)>,
    tags: TagCells,
    cells: CellShare,
}

/// Cells of the present row that are tags.
#[derive(Debug, Default)]
struct TagCells {
    text: String,
    /// Places among the tag columns, and where their values end in `text`.
    ends: Vec<(usize, usize)>,
}

impl TagCells {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Places and values.
    fn iter(&self) -> impl Iterator<Item = (usize, &str)> + Clone {
        self.ends.iter().enumerate().map(|(at, (place, end))| {
            let start = if at == 0 { 0 } else { self.ends[at - 1].1 };
            (*place, &self.text[start..*end])
        })
    }
}

impl TableBuilder {
    /// An empty builder of a batch of its own.
    pub fn new(db: Name, table: Name) -> TableBuilder {
        TableBuilder::within(&CellBudget::default(), db, table)
    }

    /// An empty builder of a batch.
    pub(super) fn within(budget: &CellBudget, db: Name, table: Name) -> TableBuilder {
        TableBuilder {
            points: PointsBuilder::new(db, table),
            slots: Vec::new(),
            by_name: HashMap::new(),
            next: 0,
            stamp: 1,
            texts: Vec::new(),
            tags: TagCells::default(),
            cells: budget.share(),
        }
    }

    /// Number of finished rows.
    pub fn rows(&self) -> usize {
        self.points.rows()
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        self.points.bytes()
    }

    /// The series with these tags; each name stands once.
    ///
    /// # Errors
    /// Names and values that cannot be tags.
    pub fn series(&mut self, tags: &[(&str, &str)]) -> Result<u32, Fault> {
        // What is known was checked when it was new.
        if let Some(known) = self.points.find_series(tags.iter().copied()) {
            return Ok(known);
        }
        for (name, value) in tags {
            check_tag(name, value)?;
        }
        self.checked_series(tags.iter().copied())
    }

    /// The series with these tags, whose names and values were checked before.
    ///
    /// # Errors
    /// More tags than a row or a table may have.
    pub fn checked_series<'t>(
        &mut self,
        tags: impl ExactSizeIterator<Item = (&'t str, &'t str)> + Clone,
    ) -> Result<u32, Fault> {
        let count = tags.len();
        if count > TAGS_MAX {
            let detail = format!("{count} tags on one row; at most {TAGS_MAX} are allowed");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        if self.points.tag_count() + count > TAGS_MAX {
            let is_new = |(name, _): &(&str, &str)| !self.points.has_tag(name);
            if self.points.tag_count() + tags.clone().filter(is_new).count() > TAGS_MAX {
                let detail = format!("more than {TAGS_MAX} tags of one table in one batch");
                return Err(Fault::new(RejectReason::Limit, detail));
            }
        }
        Ok(self.points.series(tags))
    }

    /// Sets the tag at a place among the tag columns for the present row. `false`: the row has it
    /// already.
    #[inline]
    pub fn tag(&mut self, place: usize, value: &str) -> bool {
        if self.tags.ends.iter().any(|(known, _)| *known == place) {
            return false;
        }
        self.tags.text.push_str(value);
        self.tags.ends.push((place, self.tags.text.len()));
        true
    }

    /// The series of the present row: that of the tags set, whose columns have these names, of the
    /// fixed ones, and of one more.
    ///
    /// # Errors
    /// As [`TableBuilder::series`].
    pub fn series_of_row(
        &mut self,
        names: &[String],
        fixed: &[(String, String)],
        more: Option<(&str, &str)>,
    ) -> Result<u32, Fault> {
        let cells = std::mem::take(&mut self.tags);
        let series = self.series_of(&cells, names, fixed, more);
        self.tags = cells;
        series
    }

    fn series_of(
        &mut self,
        cells: &TagCells,
        names: &[String],
        fixed: &[(String, String)],
        more: Option<(&str, &str)>,
    ) -> Result<u32, Fault> {
        let columns = cells.iter().map(|(place, value)| (&*names[place], value));
        let fixed = fixed.iter().map(|(name, value)| (&**name, &**value));
        let tags = fixed.chain(columns).chain(more);
        match self.points.find_series(tags.clone()) {
            Some(known) => Ok(known),
            None => self.series(&tags.collect::<Vec<_>>()),
        }
    }

    /// The name of the field expected next, if the rows before had one there.
    #[inline]
    pub fn expected(&self) -> Option<&str> {
        self.slots.get(self.next).map(|slot| &*slot.name)
    }

    /// As [`TableBuilder::expected`]; `None` also where the name is not written as it is.
    #[inline]
    pub fn expected_plain(&self) -> Option<&str> {
        let slot = self.slots.get(self.next)?;
        slot.is_plain.then_some(&*slot.name)
    }

    /// Takes the expected field for the present row; the fast way past naming it.
    /// `None` where this row has set it already.
    #[inline]
    pub fn take_expected(&mut self) -> Option<FieldRef> {
        let slot = self.slots.get_mut(self.next)?;
        if slot.stamp == self.stamp {
            return None;
        }
        slot.stamp = self.stamp;
        self.next += 1;
        Some(slot.field)
    }

    /// Takes a field of the present row by name.
    ///
    /// # Errors
    /// A name that cannot be a field, a second value where that is refused, too many fields.
    fn slot(
        &mut self,
        name: &str,
        column_type: ColumnType,
        duplicate: Duplicate,
    ) -> Result<(usize, bool), Fault> {
        let at = match self.find(name) {
            Some(at) => at,
            None => self.add(name, column_type)?,
        };
        self.next = at + 1;
        let slot = &mut self.slots[at];
        let again = slot.stamp == self.stamp;
        if again && duplicate == Duplicate::Refuse {
            let detail = format!("the field {:?} stands twice in one row", excerpt(name, 64));
            return Err(Fault::syntax(detail));
        }
        slot.stamp = self.stamp;
        Ok((at, again))
    }

    #[inline]
    fn find(&self, name: &str) -> Option<usize> {
        if self.expected() == Some(name) {
            return Some(self.next);
        }
        if self.slots.len() <= LISTED_MAX {
            return self.slots.iter().position(|slot| &*slot.name == name);
        }
        self.by_name.get(name).copied()
    }

    fn add(&mut self, name: &str, column_type: ColumnType) -> Result<usize, Fault> {
        check_name(name, "field")?;
        if self.slots.len() >= FIELDS_MAX {
            let detail = format!("more than {FIELDS_MAX} fields of one table in one batch");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        if !self.cells.covers((self.slots.len() + 1).saturating_mul(self.points.rows())) {
            return Err(no_room());
        }
        let field = self.points.field(name, column_type);
        self.by_name.insert(name.into(), self.slots.len());
        let is_plain = !name.contains(['\\', ',', '=', ' ']);
        self.slots.push(Slot { name: name.into(), field, stamp: 0, is_plain });
        Ok(self.slots.len() - 1)
    }

    /// Sets an integer of the present row.
    ///
    /// # Errors
    /// A field that cannot be, or that the row has already.
    pub fn int(&mut self, name: &str, value: i64, duplicate: Duplicate) -> Result<(), Fault> {
        let (at, again) = self.slot(name, ColumnType::Int, duplicate)?;
        self.forget(at, again);
        self.points.set_int(self.slots[at].field, value);
        Ok(())
    }

    /// Sets a float of the present row; finite.
    ///
    /// # Errors
    /// As [`TableBuilder::int`].
    pub fn float(&mut self, name: &str, value: f64, duplicate: Duplicate) -> Result<(), Fault> {
        let (at, again) = self.slot(name, ColumnType::Float, duplicate)?;
        self.forget(at, again);
        self.points.set_float(self.slots[at].field, value);
        Ok(())
    }

    /// Sets a boolean of the present row.
    ///
    /// # Errors
    /// As [`TableBuilder::int`].
    pub fn bool(&mut self, name: &str, value: bool, duplicate: Duplicate) -> Result<(), Fault> {
        let (at, again) = self.slot(name, ColumnType::Bool, duplicate)?;
        self.forget(at, again);
        self.points.set_bool(self.slots[at].field, value);
        Ok(())
    }

    /// Sets a text of the present row.
    ///
    /// # Errors
    /// As [`TableBuilder::int`], and texts beyond the limit.
    pub fn text(&mut self, name: &str, value: &str, duplicate: Duplicate) -> Result<(), Fault> {
        check_cell(value)?;
        let (at, again) = self.slot(name, ColumnType::Text, duplicate)?;
        if duplicate == Duplicate::Refuse {
            self.points.set_text(self.slots[at].field, value);
            return Ok(());
        }
        self.forget(at, again);
        self.texts.push((at, value.to_owned()));
        Ok(())
    }

    fn forget(&mut self, at: usize, again: bool) {
        if again {
            self.texts.retain(|(slot, _)| *slot != at);
            self.points.forget_cell(self.slots[at].field);
        }
    }

    /// The builder underneath, to set cells of fields taken with
    /// [`TableBuilder::take_expected`].
    #[inline]
    pub fn points(&mut self) -> &mut PointsBuilder {
        &mut self.points
    }

    /// Takes a field that some row had before for the present row, by its name where that is
    /// written as it is. `None` where it is not known, or this row has set it already.
    #[inline]
    pub fn take_known(&mut self, name: &[u8]) -> Option<FieldRef> {
        let at = self.find(std::str::from_utf8(name).ok()?)?;
        if !self.slots[at].is_plain {
            return None;
        }
        self.next = at;
        self.take_expected()
    }

    /// Whether another row of this table keeps the batch within the bound on cells.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.cells.covers((self.points.rows() + 1).saturating_mul(self.slots.len().max(1)))
    }

    /// Finishes the row under construction.
    #[inline]
    pub fn end_row(&mut self, series: u32, time: i64, origin: u32) {
        if !self.texts.is_empty() {
            for (at, value) in std::mem::take(&mut self.texts) {
                self.points.set_text(self.slots[at].field, &value);
            }
        }
        self.points.end_row(series, time, origin);
        self.begin_row();
    }

    /// Forgets the cells of the row under construction.
    pub fn abandon_row(&mut self) {
        self.texts.clear();
        self.points.abandon_row();
        self.begin_row();
    }

    fn begin_row(&mut self) {
        self.tags.clear();
        self.next = 0;
        self.stamp += 1;
    }

    /// The rows.
    pub fn finish(self) -> Points {
        self.points.finish()
    }
}

/// The fault of a row for which the batch has no room.
pub(super) fn no_room() -> Fault {
    let detail = "too many rows times fields in one batch; send smaller ones";
    Fault::new(RejectReason::Limit, detail)
}

fn check_cell(value: &str) -> Result<(), Fault> {
    if value.len() > CELL_BYTES_MAX {
        let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", value.len());
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}

fn check_name(name: &str, kind: &str) -> Result<(), Fault> {
    if name == TIME_COLUMN {
        let detail = format!("a {kind} cannot be named `time`");
        return Err(Fault::new(RejectReason::Name, detail));
    }
    Name::check(name).map_err(|wrong| Fault::new(RejectReason::Name, wrong.to_string()))
}

fn check_tag(name: &str, value: &str) -> Result<(), Fault> {
    check_name(name, "tag")?;
    if let Some(control) = value.chars().find(|c| c.is_control()) {
        let name = excerpt(name, 64);
        let detail = format!("the value of tag {name:?} holds the control character {control:?}");
        return Err(Fault::syntax(detail));
    }
    check_cell(value)
}
