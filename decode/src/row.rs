//! From named cells to a row: which member is a tag, which one the time, and what stays a field.

use super::{AHEAD_NS_MAX, CELL_BYTES_MAX, Fault, REJECTED_MAX, excerpt};
use crate::{
    points::{Duplicate, PointsBuilder, no_room},
    time::{self, Precision},
    untimed::MessageTime,
};
use oribi_model::{ArrivalClock, RejectReason, Rejection};

/// Members that may hold the time, the first one first.
pub const TIME_MEMBERS: [&str; 3] = ["time", "timestamp", "ts"];

/// Where a row's time stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TimeRule {
    /// The first of [`TIME_MEMBERS`] that holds a time, by the looks of it.
    #[default]
    Detect,
    /// One of [`TIME_MEMBERS`], whose numbers count this unit.
    DetectAs(Precision),
    /// This column, which every row must have; without a unit it is detected.
    Column(String, Option<Precision>),
}

/// What the columns of a source mean.
pub struct RowRules<'a> {
    /// Columns that are tags.
    pub tags: &'a [String],
    /// Tags that every row has; a column of the same name must agree.
    pub fixed: &'a [(String, String)],
    /// Where the time stands.
    pub time: &'a TimeRule,
    /// How times in text are written, as strptime has it; absent: RFC 3339, or a number.
    pub time_format: Option<&'a str>,
    /// Texts that stand for no time, in any case.
    pub nulls: &'a [String],
    /// Gives a time to rows without one.
    pub arrival: &'a ArrivalClock,
    /// Gives it instead, if the message has a time of its own.
    pub message_time: Option<&'a MessageTime>,
    /// Now, ns since the Unix epoch.
    pub now_ns: i64,
    /// How far ahead of now a time may lie, ns.
    pub ahead_ns_max: i64,
}

impl<'a> RowRules<'a> {
    /// No tags, times detected, the default bounds.
    pub fn new(arrival: &'a ArrivalClock) -> RowRules<'a> {
        RowRules::new_at(arrival, arrival.now_ns())
    }

    /// The same for a caller who has read the clock.
    pub fn new_at(arrival: &'a ArrivalClock, now_ns: i64) -> RowRules<'a> {
        RowRules {
            tags: &[],
            fixed: &[],
            time: &TimeRule::Detect,
            time_format: None,
            nulls: &[],
            arrival,
            message_time: None,
            now_ns,
            ahead_ns_max: AHEAD_NS_MAX,
        }
    }
}

/// A cell that is not null; numbers keep their text for tags and times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// An integer and its text.
    Int(i64, &'a str),
    /// A finite float and its text.
    Float(f64, &'a str),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// The cell as text.
    pub fn text(&self) -> &'a str {
        match self {
            Cell::Int(_, text) | Cell::Float(_, text) | Cell::Text(text) => text,
            Cell::Bool(true) => "true",
            Cell::Bool(false) => "false",
        }
    }
}

#[derive(Debug, Clone)]
enum Candidate {
    Number(String),
    Text(String),
    Bool(bool),
    /// Nanoseconds since the Unix epoch.
    Exact(i64),
}

/// Puts rows into one table.
pub struct RowSink<'a, 'b> {
    rules: &'b RowRules<'a>,
    builder: &'b mut PointsBuilder,
    /// The series of all rows where there are no tag columns.
    series: Option<u32>,
    times: [Option<Candidate>; 3],
    fields: usize,
    fault: Option<Fault>,
    /// The origin of the next row.
    pub origin: u32,
    /// Rows refused, [`REJECTED_MAX`] at most.
    pub rejected: Vec<Rejection>,
    /// How many more were refused.
    pub rejected_more: usize,
}

impl<'a, 'b> RowSink<'a, 'b> {
    /// A sink; `series` is the series of every row if the rules name no tag columns and the
    /// caller knows it.
    pub fn new(
        rules: &'b RowRules<'a>,
        builder: &'b mut PointsBuilder,
        series: Option<u32>,
        origin: u32,
    ) -> Self {
        RowSink {
            rules,
            builder,
            series,
            times: [None, None, None],
            fields: 0,
            fault: None,
            origin,
            rejected: Vec::new(),
            rejected_more: 0,
        }
    }

    /// Sets a cell of the present row.
    #[inline]
    pub fn set(&mut self, name: &str, cell: Cell<'_>) {
        if self.fault.is_none()
            && let Err(fault) = self.try_set(name, cell)
        {
            self.fault = Some(fault);
        }
    }

    /// Sets a cell that is known to be a time, ns: the row's own where the rules look for it under
    /// this name, else an integer field.
    pub fn set_time(&mut self, name: &str, time: i64) {
        match self.time_place(name) {
            Some(place) if self.times[place].is_none() => {
                self.times[place] = Some(Candidate::Exact(time));
            }
            _ => self.set(name, Cell::Int(time, itoa::Buffer::new().format(time))),
        }
    }

    /// Sets a cell that is a field whatever its name.
    pub fn set_value(&mut self, name: &str, cell: Cell<'_>) {
        if self.fault.is_none()
            && let Err(fault) = self.set_field(name, cell)
        {
            self.fault = Some(fault);
        }
    }

    /// Refuses the present row, unless it is refused already.
    pub fn refuse(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    #[inline]
    fn try_set(&mut self, name: &str, cell: Cell<'_>) -> Result<(), Fault> {
        if let Some(place) = self.time_place(name) {
            return self.set_candidate(place, name, cell);
        }
        if let Some((_, fixed)) = self.rules.fixed.iter().find(|(tag, _)| tag == name) {
            if cell.text() == fixed {
                return Ok(());
            }
            let found = excerpt(cell.text(), 64);
            let detail = format!("{name:?} is {found:?} but the topic says {fixed:?}");
            return Err(Fault::new(RejectReason::TopicConflict, detail));
        }
        if let Some(place) = self.rules.tags.iter().position(|tag| tag == name) {
            if !self.builder.tag(place, cell.text()) {
                return Err(Fault::syntax(format!("the column {name:?} stands twice in one row")));
            }
            return Ok(());
        }
        self.set_field(name, cell)
    }

    #[inline]
    fn set_field(&mut self, name: &str, cell: Cell<'_>) -> Result<(), Fault> {
        self.fields += 1;
        match cell {
            Cell::Int(value, _) => self.builder.int(name, value, Duplicate::Refuse),
            Cell::Float(value, _) => self.builder.float(name, value, Duplicate::Refuse),
            Cell::Bool(value) => self.builder.bool(name, value, Duplicate::Refuse),
            Cell::Text(value) => self.builder.text(name, value, Duplicate::Refuse),
        }
    }

    #[inline]
    fn time_place(&self, name: &str) -> Option<usize> {
        match self.rules.time {
            TimeRule::Column(column, _) => (column == name).then_some(0),
            _ if name.starts_with('t') => TIME_MEMBERS.iter().position(|time| *time == name),
            _ => None,
        }
    }

    fn set_candidate(&mut self, place: usize, name: &str, cell: Cell<'_>) -> Result<(), Fault> {
        if self.times[place].is_some() {
            return Err(Fault::syntax(format!("the column {name:?} stands twice in one row")));
        }
        let text = cell.text();
        if matches!(cell, Cell::Text(_)) && self.is_null(text) {
            return Ok(());
        }
        if text.len() > CELL_BYTES_MAX {
            let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", text.len());
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        self.times[place] = Some(match cell {
            Cell::Int(..) | Cell::Float(..) => match self.column_time(text) {
                Some(time) => Candidate::Exact(time),
                None => Candidate::Number(text.to_owned()),
            },
            Cell::Bool(value) => Candidate::Bool(value),
            Cell::Text(_) => Candidate::Text(text.to_owned()),
        });
        Ok(())
    }

    fn is_null(&self, text: &str) -> bool {
        self.rules.nulls.iter().any(|word| word.trim().eq_ignore_ascii_case(text.trim()))
    }

    /// A number as the time, where nothing but the time it can be. One that is no time stays text
    /// for the message about it.
    fn column_time(&self, text: &str) -> Option<i64> {
        match self.rules.time {
            _ if self.rules.time_format.is_some() => None,
            TimeRule::Column(_, Some(unit)) => time::parse_decimal(text, *unit).ok(),
            TimeRule::Column(_, None) => time::detect_number(text).ok().flatten(),
            TimeRule::Detect | TimeRule::DetectAs(_) => None,
        }
    }

    /// Finishes the present row and gives it the next origin.
    pub fn end_row(&mut self) {
        let origin = self.origin;
        self.origin = self.origin.saturating_add(1);
        let ended = match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.try_end(origin),
        };
        if let Err(fault) = ended {
            self.builder.abandon_row();
            if self.rejected.len() < REJECTED_MAX {
                self.rejected.push(fault.at(origin));
            } else {
                self.rejected_more += 1;
            }
        }
        self.times = [None, None, None];
        self.fields = 0;
    }

    fn try_end(&mut self, origin: u32) -> Result<(), Fault> {
        let time = self.resolve_time()?;
        if self.fields == 0 {
            return Err(Fault::syntax("the row has no field"));
        }
        if !self.builder.has_room() {
            return Err(no_room());
        }
        let untimed = self.rules.message_time.filter(|_| time.is_none());
        let series = self.series_of_row(untimed)?;
        let time = match (time, untimed) {
            (Some(time), _) => time,
            (None, Some(message)) => message.next_ns()?,
            (None, None) => self.rules.arrival.next_ns(),
        };
        self.builder.end_row(series, time, origin);
        Ok(())
    }

    /// The series of the present row, which takes its time from `message` if there is one.
    fn series_of_row(&mut self, message: Option<&MessageTime>) -> Result<u32, Fault> {
        let RowRules { tags, fixed, .. } = *self.rules;
        let is_free = |(name, _): &(&str, &str)| {
            tags.iter().chain(fixed.iter().map(|(tag, _)| tag)).all(|tag| tag != name)
        };
        let tag = message.and_then(MessageTime::tag).filter(is_free);
        match (self.series, tag) {
            (Some(series), None) => Ok(series),
            (_, tag) => self.builder.series_of_row(tags, fixed, tag),
        }
    }

    fn resolve_time(&mut self) -> Result<Option<i64>, Fault> {
        let rule = self.rules.time;
        if let TimeRule::Column(name, precision) = rule {
            let Some(candidate) = self.times[0].take() else {
                let detail = format!("the time column {:?} is missing or null", excerpt(name, 64));
                return Err(Fault::new(RejectReason::Time, detail));
            };
            let time =
                self.read(&candidate, *precision)?.ok_or_else(|| no_time(name, &candidate))?;
            return self.checked(time).map(Some);
        }
        let precision = if let TimeRule::DetectAs(unit) = rule { Some(*unit) } else { None };
        let mut found = None;
        for (place, name) in TIME_MEMBERS.iter().enumerate() {
            let Some(candidate) = self.times[place].take() else { continue };
            if found.is_none() {
                found = self.read(&candidate, precision)?;
                if let Some(time) = found {
                    self.checked(time)?;
                    continue;
                }
            }
            if *name == oribi_model::name::TIME_COLUMN {
                return Err(no_time(name, &candidate));
            }
            self.keep_as_field(name, &candidate)?;
        }
        Ok(found)
    }

    fn keep_as_field(&mut self, name: &str, candidate: &Candidate) -> Result<(), Fault> {
        match candidate {
            Candidate::Bool(value) => self.set_field(name, Cell::Bool(*value)),
            Candidate::Exact(time) => self.set_field(name, Cell::Int(*time, "")),
            Candidate::Text(text) => self.set_field(name, Cell::Text(text)),
            Candidate::Number(text) => match super::number::parse_json_number(text.as_bytes())? {
                super::number::Number::Int(value) => self.set_field(name, Cell::Int(value, text)),
                super::number::Number::Float(value) => {
                    self.set_field(name, Cell::Float(value, text))
                }
            },
        }
    }

    fn read(
        &self,
        candidate: &Candidate,
        precision: Option<Precision>,
    ) -> Result<Option<i64>, Fault> {
        match (candidate, self.rules.time_format) {
            (Candidate::Text(text) | Candidate::Number(text), Some(format)) => {
                time::parse_formatted(text, format).map(Some)
            }
            _ => read(candidate, precision),
        }
    }

    fn checked(&self, time: i64) -> Result<i64, Fault> {
        time::check_ahead(time, self.rules.now_ns, self.rules.ahead_ns_max)?;
        Ok(time)
    }
}

fn read(candidate: &Candidate, precision: Option<Precision>) -> Result<Option<i64>, Fault> {
    match (candidate, precision) {
        (Candidate::Number(text), Some(unit)) => time::parse_decimal(text, unit).map(Some),
        (Candidate::Number(text), None) => time::detect_number(text),
        (Candidate::Text(text), unit) => time::parse_any(text, unit),
        (Candidate::Exact(time), _) => Ok(Some(*time)),
        (Candidate::Bool(_), _) => Ok(None),
    }
}

fn no_time(name: &str, candidate: &Candidate) -> Fault {
    let text = match candidate {
        Candidate::Number(text) | Candidate::Text(text) => excerpt(text, 64),
        Candidate::Bool(value) => value.to_string(),
        Candidate::Exact(time) => time.to_string(),
    };
    let detail = format!("{name:?} is {text}, which is no time (RFC 3339, or a number from 1e8)");
    Fault::new(RejectReason::Time, detail)
}
