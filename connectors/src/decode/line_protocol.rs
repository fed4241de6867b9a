//! InfluxDB line protocol.
//!
//! The text before a line's first unescaped blank (measurement and tags) is looked up whole, so
//! that tags of a known series are never parsed again; field names are predicted from the line
//! before. Whatever is not as predicted goes to the careful parser in [`careful`].

mod careful;
mod fast;

use super::{AHEAD_NS_MAX, Decoded, Fault, ROW_BYTES_MAX, excerpt, tables::Tables, time};
use crate::decode::time::Precision;
use hashbrown::HashMap;
use memchr::memchr;
use oribi_model::{ArrivalClock, Name, RejectReason};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Most rejections that are listed one by one.
const REJECTED_MAX: usize = 100_000;

/// How line protocol is read.
pub struct Options<'a> {
    /// The database of all rows.
    pub db: Name,
    /// The unit of timestamps.
    pub precision: Precision,
    /// Gives a time to lines without one.
    pub arrival: &'a ArrivalClock,
    /// Gives it instead, ns, if the message has a time of its own; further lines without one come
    /// one ns later each.
    pub message_time: Option<i64>,
    /// How far ahead of now a time may lie, ns.
    pub ahead_ns_max: i64,
}

impl<'a> Options<'a> {
    /// Nanoseconds and the default bounds.
    pub fn new(db: Name, arrival: &'a ArrivalClock) -> Options<'a> {
        Options {
            db,
            precision: Precision::Ns,
            arrival,
            message_time: None,
            ahead_ns_max: AHEAD_NS_MAX,
        }
    }
}

/// Reads a body; origins are line numbers from 1.
pub fn decode(body: &[u8], options: &Options<'_>) -> Decoded {
    let mut tables = Tables::new();
    let rejected = {
        let mut heads = Heads::default();
        let mut decoder = Decoder::new(body, options, &mut tables, &mut heads);
        decoder.run();
        decoder.rejected
    };
    Decoded { points: tables.finish(), rejected }
}

/// Measurements with their tags as written, and the series that they are in one [`Tables`]. What
/// was seen in it before need not be parsed again.
#[derive(Debug, Default)]
pub struct Heads {
    /// The database for which they hold.
    db: Option<Name>,
    known: HashMap<Box<[u8]>, Head, Xxh3DefaultBuilder>,
}

/// Reads a body into `tables`; the rows get `origin` and its successors instead of line numbers,
/// and the first faulty line refuses the whole body. `heads` belong to `tables`.
///
/// # Errors
/// The fault of the first line that cannot be decoded; lines before it stay in `tables`, so the
/// caller looks with [`is_line_protocol`] first where that matters.
pub fn decode_into(
    body: &[u8],
    options: &Options<'_>,
    tables: &mut Tables,
    heads: &mut Heads,
    origin: &mut u32,
) -> Result<(), Vec<oribi_model::Rejection>> {
    let mut decoder = Decoder::new(body, options, tables, heads);
    decoder.origin = Some(*origin);
    decoder.run();
    *origin = decoder.origin.unwrap_or(*origin);
    if decoder.rejected.is_empty() { Ok(()) } else { Err(decoder.rejected) }
}

/// Whether some line of a body parses and none fails.
pub fn is_line_protocol(body: &[u8], arrival: &ArrivalClock) -> bool {
    let Ok(db) = Name::new(oribi_model::name::DEFAULT_DB) else { return false };
    let decoded = decode(body, &Options::new(db, arrival));
    decoded.rows() > 0 && decoded.rejected.is_empty()
}

#[derive(Debug, Clone, Copy)]
struct Head {
    table: usize,
    series: u32,
}

struct Decoder<'a, 'o, 't> {
    body: &'a [u8],
    at: usize,
    line: u32,
    options: &'o Options<'o>,
    now_ns: i64,
    tables: &'t mut Tables,
    heads: &'t mut Heads,
    rejected: Vec<oribi_model::Rejection>,
    /// The body as a whole is UTF-8.
    is_utf8: bool,
    /// Counts rows where line numbers are not wanted.
    origin: Option<u32>,
    /// Lines so far that had no time.
    untimed: i64,
}

impl<'a, 'o, 't> Decoder<'a, 'o, 't> {
    fn new(
        body: &'a [u8],
        options: &'o Options<'o>,
        tables: &'t mut Tables,
        heads: &'t mut Heads,
    ) -> Self {
        if heads.db.as_ref() != Some(&options.db) {
            heads.known.clear();
            heads.db = Some(options.db.clone());
        }
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        Decoder {
            body,
            at: 0,
            line: 0,
            options,
            now_ns: options.arrival.now_ns(),
            tables,
            heads,
            rejected: Vec::new(),
            is_utf8: std::str::from_utf8(body).is_ok(),
            origin: None,
            untimed: 0,
        }
    }

    fn run(&mut self) {
        while self.at < self.body.len() {
            self.line += 1;
            if self.fast_line() {
                continue;
            }
            let start = self.at;
            match self.careful_line() {
                Ok(lines) => self.line += lines,
                Err(fault) => {
                    self.at = line_end(self.body, start).1;
                    self.reject(fault);
                }
            }
        }
    }

    /// The time of a line without one.
    fn next_time(&mut self) -> i64 {
        let Some(first) = self.options.message_time else { return self.options.arrival.next_ns() };
        self.untimed += 1;
        first.saturating_add(self.untimed - 1)
    }

    fn reject(&mut self, fault: Fault) {
        if self.rejected.len() < REJECTED_MAX {
            self.rejected.push(fault.at(self.line));
        }
    }

    /// One line by the careful parser; answers how many line breaks its strings held.
    fn careful_line(&mut self) -> Result<u32, Fault> {
        let start = self.at;
        let (end, next) = line_end(self.body, start);
        let line = &self.body[start..end];
        let first = line.iter().find(|b| !matches!(b, b' ' | b'\t' | b'\r'));
        if matches!(first, None | Some(b'#')) {
            self.at = next;
            return Ok(0);
        }
        let rest = &self.body[start..];
        let parsed = careful::parse(rest)?;
        let text = &rest[..parsed.length];
        if !self.is_utf8 && std::str::from_utf8(text).is_err() {
            return Err(Fault::syntax("the line is not UTF-8"));
        }
        if text.len() > ROW_BYTES_MAX {
            let detail = format!("a row of {} bytes; at most {ROW_BYTES_MAX} fit", text.len());
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        let time = match parsed.time {
            Some(text) => Some(time::parse_count(text, self.options.precision)?),
            None => None,
        };
        let time = self.check_time(time)?;
        let table = self.tables.table_in(&self.options.db, &parsed.measurement)?;
        let builder = self.tables.at(table);
        if !builder.has_room() {
            return Err(no_room());
        }
        let tags: Vec<_> = parsed.tags.iter().map(|(k, v)| (&**k, &**v)).collect();
        let series = builder.series(&tags)?;
        if let Err(fault) = careful::set_fields(builder, &parsed.fields) {
            builder.abandon_row();
            return Err(fault);
        }
        let origin = next_origin(&mut self.origin, self.line);
        builder.end_row(series, time, origin);
        self.heads.known.insert(rest[..parsed.head].into(), Head { table, series });
        self.at = start + parsed.next;
        Ok(memchr::memchr_iter(b'\n', text).count() as u32)
    }

    fn check_time(&mut self, time: Option<i64>) -> Result<i64, Fault> {
        let Some(time) = time else { return Ok(self.next_time()) };
        time::check_ahead(time, self.now_ns, self.options.ahead_ns_max)?;
        Ok(time)
    }
}

fn no_room() -> Fault {
    let detail = "too many rows times fields in one batch; send smaller ones";
    Fault::new(RejectReason::Limit, detail)
}

fn next_origin(counter: &mut Option<u32>, line: u32) -> u32 {
    let Some(next) = counter else { return line };
    *next += 1;
    *next - 1
}

/// Where a line's text ends and where the next line starts.
fn line_end(body: &[u8], start: usize) -> (usize, usize) {
    match memchr(b'\n', &body[start..]) {
        Some(length) => {
            let end = start + length;
            let bare = if end > start && body[end - 1] == b'\r' { end - 1 } else { end };
            (bare, end + 1)
        }
        None => {
            let end = body.len();
            (if end > start && body[end - 1] == b'\r' { end - 1 } else { end }, end)
        }
    }
}

/// The text of line `number` (from 1), cut for a message.
pub fn original_line(body: &[u8], number: u32) -> String {
    let line = body.split(|b| *b == b'\n').nth(number.saturating_sub(1) as usize).unwrap_or(b"");
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    excerpt(&String::from_utf8_lossy(&line[..line.len().min(4096)]), 512)
}

#[cfg(test)]
mod tests;
