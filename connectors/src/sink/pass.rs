//! From tablets to records, feed by feed.

use super::{
    Outlet, avro,
    record::{Encoder, Form},
    windows::Closing,
};
use crate::{
    Error, Result,
    connector::{ConnectorSpec, FeedSpec, RecordFormat, RunContext, State},
};
use oribi_model::{RowBatch, Table, TabletId};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Bytes of log entries passed on between two confirmations.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// How often windows are looked at: late rows of that time change each window once.
const CLOSE_EVERY: Duration = Duration::from_millis(200);
/// Pause where nothing is new.
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// Passes rows on until the context says stop.
///
/// # Errors
/// [`Error::Broker`], [`Error::Store`]: what was not confirmed is sent again after a new start.
pub(super) fn run(
    spec: &ConnectorSpec,
    context: &RunContext,
    runtime: &Handle,
    mut outlet: impl Outlet,
) -> Result<()> {
    let form = |feed: &FeedSpec| {
        let prefix = match feed.format {
            RecordFormat::Avro => avro::prefix(spec, &feed.topic, runtime)?,
            RecordFormat::Json | RecordFormat::LineProtocol => Vec::new(),
        };
        Ok(Form { format: feed.format, prefix })
    };
    let forms = spec.feeds.iter().map(form).collect::<Result<Vec<Form>>>()?;
    let mut places = context.parts.store.cursors(&context.name);
    outlet.meet()?;
    context.progress.enter(State::Running);
    let mut closed = None::<Instant>;
    while !context.stop.is_cancelled() {
        let mut is_idle = true;
        let closes = closed.is_none_or(|last| last.elapsed() >= CLOSE_EVERY);
        if closes {
            closed = Some(Instant::now());
        }
        for (feed, form) in spec.feeds.iter().zip(&forms) {
            // A table may come later.
            let Some(table) = context.parts.feed.table(feed.db(), &feed.table) else { continue };
            if let Some(question) = feed.question() {
                if closes {
                    let closing = Closing { context, runtime, feed, form, table: &table, question };
                    closing.pass(&mut places, &mut outlet)?;
                }
                continue;
            }
            for tablet in context.parts.feed.tablets(table.id) {
                let passing = Passing { context, runtime, feed, form, table: &table, tablet };
                is_idle &= !passing.pass(&mut places, &mut outlet)?;
            }
        }
        if is_idle {
            let stopped = tokio::time::timeout(IDLE_PAUSE, context.stop.cancelled());
            // A pause that ends by itself is what is hoped for.
            drop(runtime.block_on(stopped));
        }
    }
    Ok(())
}

/// One tablet of one feed.
struct Passing<'a> {
    context: &'a RunContext,
    runtime: &'a Handle,
    feed: &'a FeedSpec,
    form: &'a Form,
    table: &'a Arc<Table>,
    tablet: TabletId,
}

impl Passing<'_> {
    /// Passes on what is new, or the first part of it. Whether there was something.
    fn pass(&self, places: &mut BTreeMap<String, u64>, outlet: &mut impl Outlet) -> Result<bool> {
        let name = format!("{}/{}/{}", self.feed.topic, self.table.id.0, self.tablet.0);
        let place = places.get(&name).copied().unwrap_or(0);
        let unreadable = |wrong: oribi_model::Error| Error::Store(wrong.to_string());
        let found = self.context.parts.feed.committed(self.tablet, place, CHUNK_BYTES_MAX);
        let Some(found) = found.map_err(unreadable)? else { return Ok(false) };
        let mut is_something = false;
        for batch in found.rows {
            if self.context.stop.is_cancelled() {
                // The place stays, and the rows come again.
                return Ok(true);
            }
            is_something = true;
            self.send(&batch.map_err(unreadable)?, outlet)?;
        }
        outlet.settle()?;
        places.insert(name.clone(), found.next);
        // An entry without rows moves the place too, but is not worth a change of the catalog.
        if is_something {
            let moved = BTreeMap::from([(name, found.next)]);
            let saving = self.context.parts.store.save_cursors(&self.context.name, moved);
            self.runtime.block_on(saving).map_err(Error::Store)?;
        }
        Ok(is_something)
    }

    fn send(&self, batch: &RowBatch, outlet: &mut impl Outlet) -> Result<()> {
        let progress = &self.context.progress;
        let mut table = self.table.clone();
        if !Encoder::new(&table, self.form).knows(batch) {
            // The rows are newer than the table as it was looked up.
            let newer = self.context.parts.feed.table(&table.db, &table.name);
            table = newer.unwrap_or(table);
        }
        let encoder = Encoder::new(&table, self.form);
        let series: Vec<_> = (0..batch.series.len()).map(|at| batch.series.key(at)).collect();
        let keys: Vec<String> = series.iter().map(|series| encoder.key(series)).collect();
        let mut payload = Vec::new();
        for row in 0..batch.rows() {
            let at = batch.row_series[row] as usize;
            payload.clear();
            if !encoder.row(batch, row, &series[at], &mut payload) {
                progress.skipped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            outlet.send(&self.feed.topic, &keys[at], &payload)?;
            progress.messages.fetch_add(1, Ordering::Relaxed);
            progress.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        }
        progress.rows.fetch_add(batch.rows() as u64, Ordering::Relaxed);
        Ok(())
    }
}
