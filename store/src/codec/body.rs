//! The body of an encoded batch: packed columns, before LZ4.

use crate::bits::{POWERS, Reader, decimals, pack, put_varint, unpack, unzigzag, width_of, zigzag};
use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use oribi_model::{ColumnId, ColumnValues, Cursor, RowBatch, SeriesKeys, TableId};

/// Types of cells as stored.
const INT: u8 = 0;
const FLOAT: u8 = 1;
const BOOL: u8 = 2;
const TEXT: u8 = 3;
/// Floats stored as integers over a power of ten: this plus the power.
const DECIMAL: u8 = 16;

const UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

pub(super) fn encode(batch: &RowBatch, out: &mut Vec<u8>) {
    put_varint(out, u64::from(batch.table.0));
    put_varint(out, u64::from(batch.schema_version));
    put_varint(out, batch.series.len() as u64);
    for key in batch.series.iter() {
        put_varint(out, key.len() as u64);
        out.extend_from_slice(key);
    }
    put_varint(out, batch.rows() as u64);
    let width = width_of(u64::from(batch.row_series.iter().copied().max().unwrap_or(0)));
    out.push(width as u8);
    pack(batch.row_series.iter().map(|series| u64::from(*series)), width, out);
    encode_times(&batch.times, out);
    put_varint(out, batch.columns.len() as u64);
    for (id, values) in &batch.columns {
        put_varint(out, u64::from(id.0));
        encode_column(values, out);
    }
    if let Some(cursor) = &batch.cursor {
        encode_cursor(cursor, out);
    }
}

pub(super) fn decode(bytes: &[u8]) -> Option<RowBatch> {
    let reader = &mut Reader(bytes);
    let table = TableId(u32::try_from(reader.varint()?).ok()?);
    let schema_version = u32::try_from(reader.varint()?).ok()?;
    let mut series = SeriesKeys::default();
    for _ in 0..reader.varint()? {
        let length = reader.size()?;
        series.push_bytes(reader.bytes(length)?).then_some(())?;
    }
    let rows = reader.size()?;
    let width = u32::from(reader.u8()?);
    (rows <= reader.0.len().checked_mul(8)?).then_some(())?;
    let mut row_series = Vec::with_capacity(rows);
    unpack(reader, rows, width, |value| row_series.push(value as u32))?;
    let times = decode_times(reader, rows)?;
    let mut columns = Vec::new();
    for _ in 0..reader.varint()? {
        let id = ColumnId(u32::try_from(reader.varint()?).ok()?);
        columns.push((id, decode_column(reader, rows)?));
    }
    let cursor = match reader.0.is_empty() {
        true => None,
        false => Some(decode_cursor(reader, rows)?),
    };
    reader.0.is_empty().then_some(())?;
    Some(RowBatch { table, schema_version, series, row_series, times, columns, cursor })
}

/// The source, then the first offset and the packed steps from each row to the next.
fn encode_cursor(cursor: &Cursor, out: &mut Vec<u8>) {
    put_varint(out, cursor.source.len() as u64);
    out.extend_from_slice(cursor.source.as_bytes());
    put_varint(out, cursor.offsets.first().copied().unwrap_or(0));
    let steps = cursor.offsets.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let width = width_of(steps.clone().max().unwrap_or(0));
    out.push(width as u8);
    pack(std::iter::once(0).take(cursor.offsets.len()).chain(steps), width, out);
}

fn decode_cursor(reader: &mut Reader<'_>, rows: usize) -> Option<Cursor> {
    let length = reader.size()?;
    let source = std::str::from_utf8(reader.bytes(length)?).ok()?.into();
    let mut offset = reader.varint()?;
    let width = u32::from(reader.u8()?);
    let mut offsets = Vec::with_capacity(rows);
    unpack(reader, rows, width, |step| {
        offset = offset.wrapping_add(step);
        offsets.push(offset);
    })?;
    Some(Cursor { source, offsets })
}

/// Unit index, then either offsets from the minimum or zigzag differences, whichever is narrower.
fn encode_times(times: &[i64], out: &mut Vec<u8>) {
    let first = times.first().copied().unwrap_or(0);
    let fits = |unit: &i64| times.iter().all(|time| time.wrapping_sub(first) % unit == 0);
    let low = times.iter().copied().min().unwrap_or(0);
    let high = times.iter().copied().max().unwrap_or(0);
    if high.checked_sub(low).is_none() {
        out.push(UNITS.len() as u8 - 1);
        put_varint(out, 0);
        return encode_ints(times, out);
    }
    let unit = UNITS.iter().position(fits).unwrap_or(UNITS.len() - 1);
    let scaled: Vec<i64> = match UNITS[unit] {
        1_000_000_000 => times.iter().map(|time| (time - first) / 1_000_000_000).collect(),
        1_000_000 => times.iter().map(|time| (time - first) / 1_000_000).collect(),
        1_000 => times.iter().map(|time| (time - first) / 1_000).collect(),
        _ => times.iter().map(|time| time - first).collect(),
    };
    let steps = scaled.windows(2).map(|pair| zigzag(pair[1].wrapping_sub(pair[0])));
    let steps_width = width_of(steps.clone().max().unwrap_or(0));
    let span = scaled.iter().max().unwrap_or(&0) - scaled.iter().min().unwrap_or(&0);
    if steps_width < width_of(span as u64) {
        out.push(unit as u8 | 0x80);
        put_varint(out, zigzag(first));
        out.push(steps_width as u8);
        pack(std::iter::once(0).take(times.len()).chain(steps), steps_width, out);
    } else {
        out.push(unit as u8);
        put_varint(out, zigzag(first));
        encode_ints(&scaled, out);
    }
}

fn decode_times(reader: &mut Reader<'_>, rows: usize) -> Option<Vec<i64>> {
    let head = reader.u8()?;
    let unit = *UNITS.get(usize::from(head & 0x7f))?;
    if head & 0x80 != 0 {
        let mut time = unzigzag(reader.varint()?);
        let width = u32::from(reader.u8()?);
        let mut times = Vec::with_capacity(rows);
        unpack(reader, rows, width, |step| {
            time = time.wrapping_add(unzigzag(step).wrapping_mul(unit));
            times.push(time);
        })?;
        return Some(times);
    }
    let first = unzigzag(reader.varint()?);
    let mut times = decode_ints(reader, rows)?;
    for time in &mut times {
        *time = first.wrapping_add(time.wrapping_mul(unit));
    }
    Some(times)
}

fn encode_ints(values: &[i64], out: &mut Vec<u8>) {
    let low = values.iter().copied().min().unwrap_or(0);
    let high = values.iter().copied().max().unwrap_or(0);
    let width = width_of(high.wrapping_sub(low) as u64);
    put_varint(out, zigzag(low));
    out.push(width as u8);
    pack(values.iter().map(|value| value.wrapping_sub(low) as u64), width, out);
}

fn decode_ints(reader: &mut Reader<'_>, rows: usize) -> Option<Vec<i64>> {
    let low = unzigzag(reader.varint()?);
    let width = u32::from(reader.u8()?);
    let mut values = Vec::new();
    (rows <= reader.0.len().checked_mul(8)?).then_some(())?;
    values.reserve_exact(rows);
    unpack(reader, rows, width, |value| values.push(low.wrapping_add(value as i64)))?;
    Some(values)
}

fn encode_column(values: &ColumnValues, out: &mut Vec<u8>) {
    let mut scaled = Vec::new();
    let decimal = match values {
        ColumnValues::Float(array) => decimals(array.values(), &mut scaled),
        _ => None,
    };
    out.push(match (values, decimal) {
        (ColumnValues::Int(_), _) => INT,
        (ColumnValues::Float(_), None) => FLOAT,
        (ColumnValues::Float(_), Some(power)) => DECIMAL + power,
        (ColumnValues::Bool(_), _) => BOOL,
        (ColumnValues::Text(_), _) => TEXT,
    });
    let nulls = values.as_array().nulls().filter(|nulls| nulls.null_count() > 0);
    out.push(u8::from(nulls.is_some()));
    if let Some(nulls) = nulls {
        pack(nulls.iter().map(u64::from), 1, out);
    }
    match values {
        ColumnValues::Int(array) => encode_ints(array.values(), out),
        ColumnValues::Float(_) if decimal.is_some() => encode_ints(&scaled, out),
        ColumnValues::Float(array) => {
            array.values().iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        ColumnValues::Bool(array) => pack(array.values().iter().map(u64::from), 1, out),
        ColumnValues::Text(array) => {
            let lengths: Vec<i64> =
                array.offsets().windows(2).map(|p| i64::from(p[1] - p[0])).collect();
            encode_ints(&lengths, out);
            let span = array.offsets()[0] as usize..array.offsets()[array.len()] as usize;
            out.extend_from_slice(&array.value_data()[span]);
        }
    }
}

fn decode_column(reader: &mut Reader<'_>, rows: usize) -> Option<ColumnValues> {
    let kind = reader.u8()?;
    let nulls = match reader.u8()? {
        0 => None,
        1 => Some(NullBuffer::new(decode_bits(reader, rows)?)),
        _ => return None,
    };
    Some(match kind {
        INT => ColumnValues::Int(Int64Array::new(decode_ints(reader, rows)?.into(), nulls)),
        FLOAT => {
            let bytes = reader.bytes(rows.checked_mul(8)?)?;
            let values: Vec<f64> = bytes
                .chunks_exact(8)
                .filter_map(|chunk| chunk.try_into().ok().map(f64::from_le_bytes))
                .collect();
            ColumnValues::Float(Float64Array::new(values.into(), nulls))
        }
        BOOL => ColumnValues::Bool(BooleanArray::new(decode_bits(reader, rows)?, nulls)),
        TEXT => {
            let mut offsets = vec![0i32];
            let mut end = 0i32;
            for length in decode_ints(reader, rows)? {
                end = end.checked_add(i32::try_from(length).ok().filter(|length| *length >= 0)?)?;
                offsets.push(end);
            }
            let bytes = Buffer::from(reader.bytes(end as usize)?);
            let offsets = OffsetBuffer::new(offsets.into());
            ColumnValues::Text(StringArray::try_new(offsets, bytes, nulls).ok()?)
        }
        kind => {
            let power = *POWERS.get(usize::from(kind.checked_sub(DECIMAL)?))?;
            let values = decode_ints(reader, rows)?;
            let values: Vec<f64> = values.iter().map(|value| *value as f64 / power).collect();
            ColumnValues::Float(Float64Array::new(values.into(), nulls))
        }
    })
}

fn decode_bits(reader: &mut Reader<'_>, rows: usize) -> Option<BooleanBuffer> {
    let bytes = reader.bytes(rows.div_ceil(8))?;
    Some(BooleanBuffer::new(Buffer::from(bytes), 0, rows))
}
