//! From committed rows to closed windows.

use super::{Outlet, cursors::Cursors, record::Form, sent::Sent, window_record};
use crate::{
    Error, Result,
    connector::{FeedSpec, RunContext},
};
use oribi_model::{RowBatch, Table, TabletId, TimeRange, WindowQuestion};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hasher,
    sync::Arc,
};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::Xxh3;

/// Bytes of log entries looked at at once.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// How many times so many in a row.
const CHUNKS_MAX: usize = 64;
/// Windows asked for in one question at most.
const WINDOWS_MAX: usize = 10_000;
/// Windows that late rows have changed and that wait to be sent again, at most.
const LATE_MAX: usize = 10_000;
/// How long after its end a window closes unless configured otherwise, ms.
const LATENESS_MS: u64 = 5_000;
const NS_PER_MS: i64 = 1_000_000;

/// A feed of windows.
pub(super) struct Closing<'a> {
    pub(super) context: &'a RunContext,
    pub(super) runtime: &'a Handle,
    pub(super) feed: &'a FeedSpec,
    pub(super) form: &'a Form,
    pub(super) table: &'a Arc<Table>,
    pub(super) question: WindowQuestion,
}

/// How far a feed has got, as its cursors say.
struct Reached {
    /// Every window that ends here or before was sent.
    until: i64,
    revision: u64,
}

impl Closing<'_> {
    /// Sends windows that late rows have changed, and those that have closed. Cursors are kept when
    /// something was sent; what is read again after a crash is at worst sent again.
    pub(super) fn pass(&self, cursors: &mut Cursors, outlet: &mut impl Outlet) -> Result<()> {
        let name = self.name();
        let mut reached = self.reached(&name, cursors)?;
        // From now on windows are told apart by it, even if nothing is sent for long.
        cursors.note(format!("{name}/until"), reached.until as u64);
        let (mut moved, mut late) = (BTreeMap::new(), BTreeSet::new());
        for tablet in self.context.parts.feed.tablets(self.table.id) {
            let name = format!("{name}/{}", tablet.0);
            let cursor = cursors.get(&name).unwrap_or(0);
            moved.insert(name, self.look(tablet, cursor, reached.until, &mut late)?);
        }
        let ranges = self.ranges(&late, &mut reached)?;
        if ranges.is_empty() {
            moved.into_iter().for_each(|(name, cursor)| cursors.note(name, cursor));
            return Ok(());
        }
        let revision = reached.revision + 1;
        // Kept first, so that no two sendings of one window ever have the same revision.
        cursors.advance(format!("{name}/revision"), revision);
        cursors.keep(self.context, self.runtime)?;
        let mut sent = Sent::default();
        for range in &ranges {
            self.send(*range, revision, &mut sent, outlet)?;
        }
        outlet.settle()?;
        sent.confirmed(&self.context.progress);
        moved.insert(format!("{name}/until"), reached.until as u64);
        moved.into_iter().for_each(|(name, cursor)| cursors.advance(name, cursor));
        Ok(())
    }

    /// One name for each question; another question begins anew.
    fn name(&self) -> String {
        let mut hash = Xxh3::new();
        let question = &self.question;
        let [timezone, group_by] = [&question.timezone, &question.group_by]
            .map(|text| text.as_deref().unwrap_or_default());
        for text in [&question.select, &question.window, timezone, group_by] {
            hash.update(text.as_bytes());
            hash.write_u8(0xff);
        }
        format!("{}/{}/{:016x}", self.feed.topic, self.table.id.0, hash.digest())
    }

    /// A feed that begins takes all that lies before now for late, so that only windows with rows
    /// are asked for, however long ago they were.
    fn reached(&self, name: &str, cursors: &Cursors) -> Result<Reached> {
        let revision = cursors.get(&format!("{name}/revision")).unwrap_or(0);
        let until = match cursors.get(&format!("{name}/until")) {
            Some(until) => until as i64,
            None => self.window_at(self.closed_ns())?.start,
        };
        Ok(Reached { until, revision })
    }

    /// Windows that end here or before are closed.
    fn closed_ns(&self) -> i64 {
        let lateness_ms = self.feed.lateness_ms.unwrap_or(LATENESS_MS);
        let lateness_ns = i64::try_from(lateness_ms).unwrap_or(0).saturating_mul(NS_PER_MS);
        self.context.parts.arrival.now_ns().saturating_sub(lateness_ns)
    }

    /// Finds the windows before `until` that new rows of a tablet belong to. Gives the cursor after
    /// the rows.
    fn look(
        &self,
        tablet: TabletId,
        mut cursor: u64,
        until: i64,
        late: &mut BTreeSet<i64>,
    ) -> Result<u64> {
        let unreadable = |wrong: oribi_model::Error| Error::Store(wrong.to_string());
        for _ in 0..CHUNKS_MAX {
            if late.len() >= LATE_MAX || self.context.stop.is_cancelled() {
                break;
            }
            let found = self.context.parts.feed.committed(tablet, cursor, CHUNK_BYTES_MAX);
            let Some(found) = found.map_err(unreadable)? else { break };
            for batch in found.rows {
                self.note_late(&batch.map_err(unreadable)?, until, late)?;
            }
            cursor = found.next;
        }
        Ok(cursor)
    }

    fn note_late(&self, batch: &RowBatch, until: i64, late: &mut BTreeSet<i64>) -> Result<()> {
        let mut last: Option<TimeRange> = None;
        for time in batch.times.iter().copied().filter(|time| *time < until) {
            if last.is_some_and(|window| window.start <= time && time < window.end) {
                continue;
            }
            let window = self.window_at(time)?;
            late.insert(window.start);
            last = Some(window);
        }
        Ok(())
    }

    /// What is to be sent: late windows, neighbours together, then those that have closed since the last
    /// time, up to which `reached` is moved on.
    fn ranges(&self, late: &BTreeSet<i64>, reached: &mut Reached) -> Result<Vec<TimeRange>> {
        let mut ranges: Vec<TimeRange> = Vec::new();
        let mut merged = 0;
        for start in late {
            let window = self.window_at(*start)?;
            merged += 1;
            match ranges.last_mut().filter(|last| last.end == window.start && merged < WINDOWS_MAX)
            {
                Some(last) => last.end = window.end,
                None => {
                    ranges.push(window);
                    merged = 1;
                }
            }
        }
        let closed_ns = self.closed_ns();
        let (start, mut end) = (reached.until, reached.until);
        for _ in 0..WINDOWS_MAX {
            let next = self.window_at(end)?.end;
            if next > closed_ns || next <= end {
                break;
            }
            end = next;
        }
        if end > start {
            ranges.push(TimeRange::new(start, end));
            reached.until = end;
        }
        Ok(ranges)
    }

    /// Asks for the windows of a range and sends them; where the answer is too large, in halves.
    fn send(
        &self,
        range: TimeRange,
        revision: u64,
        sent: &mut Sent,
        outlet: &mut impl Outlet,
    ) -> Result<()> {
        if self.context.stop.is_cancelled() {
            return Err(Error::Store("the node stops".into()));
        }
        let rows = match self.context.parts.windows.windows(&self.question, range) {
            Ok(rows) => rows,
            Err(wrong) => {
                let middle = range.start + (range.end - range.start) / 2;
                let middle = self.window_at(middle)?.start;
                if middle <= range.start {
                    return Err(Error::Store(wrong));
                }
                self.send(TimeRange::new(range.start, middle), revision, sent, outlet)?;
                return self.send(TimeRange::new(middle, range.end), revision, sent, outlet);
            }
        };
        let mut payload = Vec::new();
        for row in rows {
            payload.clear();
            let (table, form) = (self.table, self.form);
            window_record::write(table, form, &self.question, &row, revision, &mut payload);
            outlet.send(&self.feed.topic, &window_record::key(&row), &payload)?;
            sent.record(&payload);
        }
        Ok(())
    }

    fn window_at(&self, time: i64) -> Result<TimeRange> {
        let window = self.context.parts.windows.window_at(&self.question, time);
        window.map_err(|wrong| Error::config("connector.feeds", wrong))
    }
}
