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
    AHEAD_NS_MAX, Decoded, Fault, REJECTED_MAX, ROW_BYTES_MAX, excerpt, points::no_room,
    tables::Tables, time,
};
use crate::{digest::Digest, time::Precision, untimed::MessageTime};
use memchr::{memchr, memchr2};
use oribi_model::{ArrivalClock, Name, RejectReason};

/// How line protocol is read.
pub struct Options<'a> {
    /// The database of all rows.
    pub db: Name,
    /// The unit of timestamps.
    pub precision: Precision,
    /// Gives a time to lines without one.
    pub arrival: &'a ArrivalClock,
    /// Gives it instead, if the message has a time of its own.
    pub message_time: Option<&'a MessageTime>,
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
    let mut decoder = Decoder::new(body, options, &mut tables, heads);
    decoder.run();
    let Decoder { rejected, rejected_more, .. } = decoder;
    Decoded { points: tables.finish(), rejected, rejected_more }
}

/// Reads a body into `tables`; the rows get `origin` and its successors instead of line numbers.
/// `heads` begin another batch with `tables`.
///
/// # Errors
/// The fault of the first line that cannot be decoded, and how many more cannot; the other lines are
/// in `tables`.
pub fn decode_into(
    body: &[u8],
    options: &Options<'_>,
    tables: &mut Tables,
    heads: &mut Heads,
    origin: &mut u32,
) -> Result<(), (oribi_model::Rejection, usize)> {
    let mut decoder = Decoder::new(body, options, tables, heads);
    decoder.origin = Some(*origin);
    decoder.run();
    *origin = decoder.origin.unwrap_or(*origin);
    let Decoder { rejected, rejected_more, .. } = decoder;
    let more = (rejected.len() + rejected_more).saturating_sub(1);
    rejected.into_iter().next().map_or(Ok(()), |first| Err((first, more)))
}

/// Whether the first line of a body that is neither blank nor a comment has the form of line
/// protocol. A number that cannot be kept, or a time that cannot be, is a fault of such a line.
pub fn begins(body: &[u8]) -> bool {
    let mut rest = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    loop {
        let (end, next) = line_end(rest, 0);
        let first = rest[..end].iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        match first {
            None if next >= rest.len() => return false,
            None | Some(b'#') => rest = &rest[next..],
            Some(_) => return careful::parse(rest).is_ok_and(|line| line.is_likely()),
        }
    }
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
    rejected_more: usize,
    /// The body as a whole is UTF-8.
    is_utf8: bool,
    /// Counts rows where line numbers are not wanted.
    origin: Option<u32>,
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
            rejected: Vec::new(),
            rejected_more: 0,
            is_utf8: std::str::from_utf8(body).is_ok(),
            origin: None,
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
    fn next_time(&self) -> Result<i64, Fault> {
        match self.options.message_time {
            Some(message) => message.next_ns(),
            None => Ok(self.options.arrival.next_ns()),
        }
    }

    fn reject(&mut self, fault: Fault) {
        if self.rejected.len() < REJECTED_MAX {
            self.rejected.push(fault.at(self.line));
        } else {
            self.rejected_more += 1;
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
        let message = self.options.message_time.filter(|_| time.is_none());
        let time = self.check_time(time)?;
        let (place, series) = match (message.and_then(MessageTime::tag), head) {
            (Some(tag), head) => self.place_untimed(head.map(|(head, _)| head), &parsed, tag)?,
            (None, Some((head, _))) => self.place_head(head)?,
            (None, None) => self.place_new(&parsed, &rest[..parsed.head])?,
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
        let series = self.tables.at(place).known_series(&known.tags)?;
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
        let series = builder.checked_series(&tags)?;
        if !text.is_empty() {
            let digest = Digest::of(text);
            self.heads.add(db, digest, &line.measurement, &tags, (place, series));
        }
        Ok((place, series))
    }

    /// Table and series of a line that has one more tag, unless it has one of that name itself.
    fn place_untimed(
        &mut self,
        head: Option<usize>,
        line: &careful::Line<'_>,
        tag: (&str, &str),
    ) -> Result<(usize, u32), Fault> {
        let mut tags: Vec<(&str, &str)>;
        let measurement: &str;
        match head {
            Some(head) => {
                let known = self.heads.get(head);
                (measurement, tags) = (&known.measurement, known.tags.pairs().collect());
            }
            None => {
                let pairs = line.tags.iter().map(|(name, value)| (&**name, &**value));
                (measurement, tags) = (&line.measurement, pairs.collect());
            }
        }
        if tags.iter().all(|(name, _)| *name != tag.0) {
            tags.push(tag);
        }
        let place = self.tables.table_in(&self.options.db, measurement)?;
        let builder = self.tables.at(place);
        if !builder.has_room() {
            return Err(no_room());
        }
        Ok((place, builder.checked_series(&tags)?))
    }

    /// Where a known head of the line is remembered, and its bytes.
    #[inline]
    fn find_head(&self, line: &[u8]) -> Option<(usize, usize)> {
        let blank = memchr2(b' ', b'\n', line)?;
        if line[blank] == b'\n' || !self.is_utf8 {
            return None;
        }
        Some((self.heads.find(&self.options.db, Digest::of(&line[..blank]))?, blank))
    }

    fn check_time(&self, time: Option<i64>) -> Result<i64, Fault> {
        let Some(time) = time else { return self.next_time() };
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
