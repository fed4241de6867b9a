//! From tablets to records, feed by feed.

use super::{
    Outlet, avro,
    cursors::Cursors,
    record::{Encoder, Form},
    sent::Sent,
    windows::Closing,
};
use crate::{
    Error, Result,
    connector::{Common, FeedSpec, RecordFormat, RunContext, State},
};
use oribi_model::{RowBatch, Table, TabletId};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Bytes of log entries passed on between two confirmations.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// How often windows are looked at: late rows of that time change each window once.
const CLOSE_EVERY: Duration = Duration::from_millis(200);
/// How often a topic that was not there is asked for.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often another node is asked about a tablet of which nothing was new there.
const ASK_FAR_EVERY: Duration = Duration::from_millis(200);
/// Pause where nothing is new.
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// Passes rows on until the context says stop.
///
/// # Errors
/// [`Error::Broker`], [`Error::Store`]: what was not confirmed is sent again after a new start.
pub(super) fn run(
    feeds: &[FeedSpec],
    common: &Common,
    context: &RunContext,
    runtime: &Handle,
    mut outlet: impl Outlet,
) -> Result<()> {
    let form = |feed: &FeedSpec| {
        let prefix = match feed.format {
            RecordFormat::Avro => avro::prefix(common, &feed.topic, runtime)?,
            RecordFormat::Json | RecordFormat::LineProtocol => Vec::new(),
        };
        Ok(Form { format: feed.format, prefix })
    };
    let forms = feeds.iter().map(form).collect::<Result<Vec<Form>>>()?;
    let mut cursors = Cursors::of(context);
    outlet.meet()?;
    let mut feeds: Vec<OpenFeed<'_>> =
        feeds.iter().zip(&forms).map(|(feed, form)| OpenFeed::of(feed, form)).collect();
    let passed = pass_all(&mut feeds, context, runtime, &mut cursors, &mut outlet);
    // What is confirmed need not be sent again, whatever ended the passing.
    let kept = cursors.keep(context, runtime);
    passed.and(kept)
}

/// A feed under way.
struct OpenFeed<'a> {
    feed: &'a FeedSpec,
    form: &'a Form,
    /// When it was last asked whether its topic is there.
    asked: Option<Instant>,
    is_barred: bool,
    /// Tablets of which nothing was new at the node that was asked, and when.
    quiet: HashMap<TabletId, Instant>,
}

impl<'a> OpenFeed<'a> {
    fn of(feed: &'a FeedSpec, form: &'a Form) -> OpenFeed<'a> {
        OpenFeed { feed, form, asked: None, is_barred: false, quiet: HashMap::new() }
    }

    /// Whether records can go to the topic, which is asked again now and then as long as they
    /// cannot.
    fn is_clear(&mut self, context: &RunContext, outlet: &mut impl Outlet) -> Result<bool> {
        let is_due = |asked: Instant| self.is_barred && asked.elapsed() >= ASK_EVERY;
        if self.asked.is_none_or(is_due) {
            let obstacle = outlet.obstacle(&self.feed.topic)?;
            self.asked = Some(Instant::now());
            self.is_barred = obstacle.is_some();
            if let Some(obstacle) = obstacle {
                context.progress.failed(&obstacle);
            }
        }
        Ok(!self.is_barred)
    }
}

fn pass_all(
    feeds: &mut [OpenFeed<'_>],
    context: &RunContext,
    runtime: &Handle,
    cursors: &mut Cursors,
    outlet: &mut impl Outlet,
) -> Result<()> {
    let mut closed = None::<Instant>;
    while !context.stop.is_cancelled() {
        let mut is_idle = true;
        let closes = closed.is_none_or(|last| last.elapsed() >= CLOSE_EVERY);
        if closes {
            closed = Some(Instant::now());
        }
        let mut is_open = false;
        for open in feeds.iter_mut() {
            if !open.is_clear(context, outlet)? {
                continue;
            }
            is_open = true;
            let (feed, form) = (open.feed, open.form);
            // A table may come later.
            let Some(table) = context.parts.feed.table(feed.db(), &feed.table) else { continue };
            if let Some(question) = feed.question() {
                if closes {
                    let closing = Closing { context, runtime, feed, form, table: &table, question };
                    closing.pass(cursors, outlet)?;
                }
                continue;
            }
            let tablets = context.parts.feed.tablets(table.id);
            open.quiet.retain(|tablet, asked| {
                asked.elapsed() < ASK_FAR_EVERY && !context.parts.feed.is_near(*tablet)
            });
            for tablet in tablets {
                if open.quiet.contains_key(&tablet) {
                    continue;
                }
                let passing = Passing { context, feed, form, table: &table, tablet };
                if passing.pass(cursors, outlet)? {
                    is_idle = false;
                } else if !context.parts.feed.is_near(tablet) {
                    open.quiet.insert(tablet, Instant::now());
                }
            }
        }
        context.progress.enter(if is_open { State::Running } else { State::Retrying });
        cursors.keep_now_and_then(context, runtime)?;
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
    feed: &'a FeedSpec,
    form: &'a Form,
    table: &'a Arc<Table>,
    tablet: TabletId,
}

impl Passing<'_> {
    /// Passes on what is new, or the first part of it. Whether there was something.
    fn pass(&self, cursors: &mut Cursors, outlet: &mut impl Outlet) -> Result<bool> {
        let name = format!("{}/{}/{}", self.feed.topic, self.table.id.0, self.tablet.0);
        let cursor = cursors.get(&name).unwrap_or(0);
        let mut sent = Sent::default();
        let unreadable = |wrong: oribi_model::Error| Error::Store(wrong.to_string());
        let found = self.context.parts.feed.committed(self.tablet, cursor, CHUNK_BYTES_MAX);
        let Some(found) = found.map_err(unreadable)? else { return Ok(false) };
        let mut is_something = false;
        for batch in found.rows {
            if self.context.stop.is_cancelled() {
                // The cursor stays, and the rows come again.
                return Ok(true);
            }
            is_something = true;
            self.send(&batch.map_err(unreadable)?, &mut sent, outlet)?;
        }
        outlet.settle()?;
        sent.confirmed(&self.context.progress);
        // An entry without rows moves the cursor too, but is not worth a change of the catalog.
        match is_something {
            true => cursors.advance(name, found.next),
            false => cursors.note(name, found.next),
        }
        Ok(is_something)
    }

    fn send(&self, batch: &RowBatch, sent: &mut Sent, outlet: &mut impl Outlet) -> Result<()> {
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
                sent.skipped += 1;
                continue;
            }
            outlet.send(&self.feed.topic, &keys[at], &payload)?;
            sent.record(&payload);
        }
        Ok(())
    }
}
