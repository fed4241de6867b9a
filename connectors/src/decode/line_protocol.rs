//! InfluxDB line protocol.
//!
//! The text before a line's first unescaped blank (measurement and tags) is looked up whole, so
//! that tags of a known series are never parsed again, in one batch or in the next ([`heads`]);
//! field names are predicted from the line before. Whatever is not as predicted goes to the careful
//! parser in [`careful`].

mod careful;
mod fast;
mod heads;

pub use heads::{HeadPool, Heads};

use super::{
    AHEAD_NS_MAX, Decoded, Fault, ROW_BYTES_MAX, excerpt, table::no_room, tables::Tables, time,
};
use crate::decode::time::Precision;
use heads::Seed;
use memchr::{memchr, memchr2};
use oribi_model::{ArrivalClock, Name, RejectReason};

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
    decode_with(body, options, &mut Heads::new())
}

/// As [`decode`], with what earlier batches taught; `heads` have begun another batch.
pub fn decode_with(body: &[u8], options: &Options<'_>, heads: &mut Heads) -> Decoded {
    let mut tables = Tables::new();
    let rejected = {
        let mut decoder = Decoder::new(body, options, &mut tables, heads);
        decoder.run();
        decoder.rejected
    };
    Decoded { points: tables.finish(), rejected }
}

/// Reads a body into `tables`; the rows get `origin` and its successors instead of line numbers,
/// and the first faulty line refuses the whole body. `heads` begin another batch with `tables`.
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

struct Decoder<'a, 'o, 't> {
    body: &'a [u8],
    at: usize,
    line: u32,
    options: &'o Options<'o>,
    now_ns: i64,
    tables: &'t mut Tables,
    heads: &'t mut Heads,
    seed: Seed,
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
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        Decoder {
            body,
            at: 0,
            line: 0,
            options,
            now_ns: options.arrival.now_ns(),
            tables,
            heads,
            seed: Seed::of(&options.db),
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
        let head = self.find_head(rest);
        let parsed = match head {
            Some((_, bytes)) => careful::parse_after_head(rest, bytes)?,
            None => careful::parse(rest)?,
        };
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
        let (place, series) = match head {
            Some((head, _)) => self.place_head(head)?,
            None => self.place_new(&parsed, &rest[..parsed.head])?,
        };
        let builder = self.tables.at(place);
        if !builder.has_room() {
            return Err(no_room());
        }
        if let Err(fault) = careful::set_fields(builder, &parsed.fields) {
            builder.abandon_row();
            return Err(fault);
        }
        let origin = next_origin(&mut self.origin, self.line);
        builder.end_row(series, time, origin);
        self.at = start + parsed.next;
        Ok(memchr::memchr_iter(b'\n', text).count() as u32)
    }

    /// Table and series of a head that was seen before.
    #[inline]
    fn place_head(&mut self, head: usize) -> Result<(usize, u32), Fault> {
        if let Some(placed) = self.heads.placed(head) {
            return Ok(placed);
        }
        let known = self.heads.get(head);
        let place = self.tables.table_in(&self.options.db, &known.measurement)?;
        let series = self.tables.at(place).checked_series(known.tags())?;
        self.heads.place(head, place, series);
        Ok((place, series))
    }

    /// Table and series of a head that is seen for the first time.
    fn place_new(&mut self, line: &careful::Line<'_>, text: &[u8]) -> Result<(usize, u32), Fault> {
        let db = &self.options.db;
        let place = self.tables.table_in(db, &line.measurement)?;
        let builder = self.tables.at(place);
        if !builder.has_room() {
            return Err(no_room());
        }
        let tags: Vec<_> = line.tags.iter().map(|(k, v)| (&**k, &**v)).collect();
        let series = builder.series(&tags)?;
        if !text.is_empty() {
            self.heads.add(self.seed, db, text, &line.measurement, &tags, (place, series));
        }
        Ok((place, series))
    }

    /// Where a known head of the line is remembered, and its bytes.
    #[inline]
    fn find_head(&self, line: &[u8]) -> Option<(usize, usize)> {
        let blank = memchr2(b' ', b'\n', line)?;
        if line[blank] == b'\n' || !self.is_utf8 {
            return None;
        }
        Some((self.heads.find(self.seed, &self.options.db, &line[..blank])?, blank))
    }

    fn check_time(&mut self, time: Option<i64>) -> Result<i64, Fault> {
        let Some(time) = time else { return Ok(self.next_time()) };
        time::check_ahead(time, self.now_ns, self.options.ahead_ns_max)?;
        Ok(time)
    }
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
