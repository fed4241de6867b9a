//! The tags of rows: which series a row belongs to.

use super::{KnownSeries, PointsBuilder, check_tag};
use crate::{Fault, TAGS_MAX};
use oribi_model::RejectReason;

/// Cells of the present row that are tags.
#[derive(Debug, Default)]
pub(super) struct TagCells {
    text: String,
    /// Places among the tag columns, and where their values end in `text`.
    ends: Vec<(usize, usize)>,
}

impl TagCells {
    pub(super) fn clear(&mut self) {
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

/// The fault of a row with so many tags.
pub(crate) fn too_many_tags(count: usize) -> Fault {
    let detail = format!("{count} tags on one row; at most {TAGS_MAX} are allowed");
    Fault::new(RejectReason::Limit, detail)
}

impl PointsBuilder {
    /// The series with these tags as they are, which need not be sorted; each name stands once.
    /// Empty values count as absent.
    pub fn series<'t>(&mut self, tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> u32 {
        let held = self.series.bytes();
        let series = self.series.find_or_add(tags);
        self.bytes += self.series.bytes() - held;
        series
    }

    /// The series with these tags, whose names and values are checked; each name stands once.
    ///
    /// # Errors
    /// Names and values that cannot be tags; more tags than a row or a table may have.
    pub fn checked_series(&mut self, tags: &[(&str, &str)]) -> Result<u32, Fault> {
        // What is known was checked when it was new.
        if let Some(known) = self.series.find(tags.iter().copied()) {
            return Ok(known);
        }
        for (name, value) in tags {
            check_tag(name, value)?;
        }
        self.counted_series(tags.iter().copied())
    }

    /// The series with these tags, whose names and values were checked before.
    ///
    /// # Errors
    /// More tags than a row or a table may have.
    fn counted_series<'t>(
        &mut self,
        tags: impl Iterator<Item = (&'t str, &'t str)> + Clone,
    ) -> Result<u32, Fault> {
        let count = tags.clone().count();
        if count > TAGS_MAX {
            return Err(too_many_tags(count));
        }
        let known = self.series.names().len();
        if known + count > TAGS_MAX {
            let is_new = |(name, _): &(&str, &str)| !self.series.has_name(name);
            if known + tags.clone().filter(is_new).count() > TAGS_MAX {
                let detail = format!("more than {TAGS_MAX} tags of one table in one batch");
                return Err(Fault::new(RejectReason::Limit, detail));
            }
        }
        Ok(self.series(tags))
    }

    /// The same for a series that came in a batch before.
    ///
    /// # Errors
    /// More tags than a table may have.
    #[inline]
    pub(crate) fn known_series(&mut self, known: &KnownSeries) -> Result<u32, Fault> {
        if self.series.names().len() + known.names().len() > TAGS_MAX {
            return self.counted_series(known.pairs());
        }
        let held = self.series.bytes();
        let series = self.series.find_or_add_known(known);
        self.bytes += self.series.bytes() - held;
        Ok(series)
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
    /// As [`PointsBuilder::checked_series`].
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
        match self.series.find(tags.clone()) {
            Some(known) => Ok(known),
            None => self.checked_series(&tags.collect::<Vec<_>>()),
        }
    }
}
