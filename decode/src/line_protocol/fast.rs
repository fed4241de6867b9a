//! Lines whose parts were seen before.

use super::{Decoder, next_origin};
use crate::points::FieldRef;
use crate::{CELL_BYTES_MAX, ROW_BYTES_MAX, points::PointsBuilder, time};
use memchr::{memchr, memchr3};

/// Longest number read here; longer ones go to the careful parser.
const DIGITS_MAX: usize = 18;

impl Decoder<'_, '_, '_> {
    /// Reads one line if it is as predicted; otherwise nothing has happened.
    #[inline]
    pub(super) fn fast_line(&mut self) -> bool {
        let line = &self.body[self.at..];
        let Some((head, blank)) = self.find_head(line) else { return false };
        let Ok((place, series)) = self.place_head(head) else { return false };
        let builder = self.tables.at(place);
        if !builder.has_room() {
            return false;
        }
        let read = read_fields(builder, line, blank + 1);
        let Some((time, next)) = read.filter(|(_, next)| *next <= ROW_BYTES_MAX) else {
            builder.abandon_row();
            return false;
        };
        let time = match time {
            Some(count) => count.checked_mul(self.options.precision.ns()).filter(|time| {
                time::check_ahead(*time, self.now_ns, self.options.ahead_ns_max).is_ok()
            }),
            // Its time may bring a tag along.
            None if self.options.message_time.is_some() => None,
            None => self.next_time().ok(),
        };
        let builder = self.tables.at(place);
        let Some(time) = time else {
            builder.abandon_row();
            return false;
        };
        let origin = next_origin(&mut self.origin, self.line);
        builder.end_row(series, time, origin);
        self.at += next;
        true
    }
}

/// Sets the fields of a line; answers its time and where the next line starts.
#[inline]
fn read_fields(
    builder: &mut PointsBuilder,
    line: &[u8],
    mut at: usize,
) -> Option<(Option<i64>, usize)> {
    loop {
        let name = builder.expected_plain().unwrap_or_default().as_bytes();
        let mut end = at + name.len();
        let field = if !name.is_empty() && line.get(at..end)? == name && *line.get(end)? == b'=' {
            builder.take_expected()?
        } else {
            end = at + memchr(b'=', &line[at..])?;
            builder.take_known(&line[at..end])?
        };
        at = read_value(builder, field, line, end + 1)?;
        match line.get(at) {
            Some(b',') => at += 1,
            Some(b' ') => break,
            Some(b'\n') => return Some((None, at + 1)),
            None => return Some((None, at)),
            Some(_) => return None,
        }
    }
    let (time, mut at) = read_int(line, at + 1)?;
    if line.get(at) == Some(&b'\r') {
        at += 1;
    }
    match line.get(at) {
        Some(b'\n') => Some((Some(time), at + 1)),
        None => Some((Some(time), at)),
        Some(_) => None,
    }
}

#[inline]
fn read_value(
    builder: &mut PointsBuilder,
    field: FieldRef,
    line: &[u8],
    start: usize,
) -> Option<usize> {
    if let Some((value, end)) = read_int(line, start)
        && line.get(end) == Some(&b'i')
    {
        builder.set_int(field, value);
        return Some(end + 1);
    }
    let value = &line[start..];
    match value.first()? {
        b'"' => return read_text(builder, field, value).map(|length| start + length),
        b't' | b'T' | b'f' | b'F' => {
            return read_bool(builder, field, value).map(|length| start + length);
        }
        _ => {}
    }
    let length = value
        .iter()
        .position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
        .unwrap_or(value.len());
    let number: f64 = fast_float2::parse(&value[..length]).ok().filter(|n: &f64| n.is_finite())?;
    builder.set_float(field, number);
    Some(start + length)
}

/// Sets a text without line breaks and escapes; answers its bytes with the quotes.
fn read_text(builder: &mut PointsBuilder, field: FieldRef, value: &[u8]) -> Option<usize> {
    let end = 1 + memchr3(b'"', b'\\', b'\n', &value[1..])?;
    let text = std::str::from_utf8(&value[1..end]).ok()?;
    if value[end] != b'"' || text.len() > CELL_BYTES_MAX {
        return None;
    }
    builder.set_text(field, text);
    Some(end + 1)
}

/// Sets a boolean; answers its bytes.
fn read_bool(builder: &mut PointsBuilder, field: FieldRef, value: &[u8]) -> Option<usize> {
    // Of two that start alike the longer one comes first.
    const SPELLINGS: [(&[u8], bool); 10] = [
        (b"true", true),
        (b"false", false),
        (b"True", true),
        (b"False", false),
        (b"TRUE", true),
        (b"FALSE", false),
        (b"t", true),
        (b"f", false),
        (b"T", true),
        (b"F", false),
    ];
    let (text, truth) = SPELLINGS.iter().find(|(text, _)| value.starts_with(text))?;
    builder.set_bool(field, *truth);
    Some(text.len())
}

/// An integer of up to 19 characters that fits for sure, and where it ends.
#[inline]
fn read_int(line: &[u8], start: usize) -> Option<(i64, usize)> {
    let negative = line.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut at = first;
    let mut value = 0i64;
    while let Some(byte) = line.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        at += 1;
    }
    let digits = at - first;
    // 19 digits fit as long as the first is below 9.
    let fits = digits <= DIGITS_MAX || (digits == DIGITS_MAX + 1 && line[first] < b'9');
    (digits > 0 && fits).then_some((if negative { -value } else { value }, at))
}
