//! How the cells of a chunk become a header and pages, and back.

use super::{
    index::{Chunk, extent},
    validity,
};
use crate::bits::{POWERS, Reader, decimals, pack, put_varint, unpack, unzigzag, width_of, zigzag};
use arrow_array::{
    Array, ArrowPrimitiveType, BooleanArray, Float64Array, Int64Array, PrimitiveArray, StringArray,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use hashbrown::HashTable;
use oribi_model::{ColumnType, ColumnValues};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec, data_types::Number, wrapped};
use std::{borrow::Cow, ops::Range};
use xxhash_rust::xxh3::xxh3_64;

const TIMES: u8 = 0;
const INTS: u8 = 1;
const FLOATS: u8 = 2;
const BOOLS: u8 = 3;
const TEXTS: u8 = 4;
/// This plus the power of ten.
const DECIMALS: u8 = 16;

const STEPS: u8 = 0;
const NUMBERS: u8 = 1;
/// Of pco: 32 bins. A chunk has jumps from one series to the next, which with 16 bins take too many
/// of them from ordinary steps; more cost time and gain little.
const LEVEL: usize = 5;
const TEXT_PAGE_BYTES_MAX: usize = 1 << 30;

/// Appends a column of a chunk, cut into these pages, to `out`; the offset in the result counts
/// from `out`'s start.
pub(super) fn encode(values: &ColumnValues, pages: &[Range<usize>], out: &mut Vec<u8>) -> Chunk {
    let offset = out.len() as u64;
    let pages: Vec<ColumnValues> =
        pages.iter().map(|rows| values.slice(rows.start, rows.len())).collect();
    let counts: Vec<usize> = pages.iter().map(|page| page.len() - page.null_count()).collect();
    let mut head = Vec::new();
    let (encoding, bodies) = match values {
        ColumnValues::Int(array) => {
            (INTS, numbers(&present(array), ModeSpec::Classic, &counts, &mut head))
        }
        ColumnValues::Float(array) => {
            let present = present(array);
            let mut scaled = Vec::with_capacity(present.len());
            match decimals(&present, &mut scaled) {
                Some(power) => {
                    (DECIMALS + power, numbers(&scaled, ModeSpec::Classic, &counts, &mut head))
                }
                None => (FLOATS, numbers(&present, ModeSpec::Auto, &counts, &mut head)),
            }
        }
        ColumnValues::Bool(_) => (BOOLS, pages.iter().map(bools).collect()),
        ColumnValues::Text(_) => (TEXTS, pages.iter().map(texts).collect()),
    };
    let head_extent = extent(&head);
    out.extend_from_slice(&head);
    let mut extents = Vec::with_capacity(pages.len());
    for (page, body) in pages.iter().zip(bodies) {
        let start = out.len();
        if page.null_count() < page.len() {
            validity::encode(page.as_array().nulls(), out);
            out.extend_from_slice(&body);
        }
        extents.push(extent(&out[start..]));
    }
    Chunk { offset, encoding, head: head_extent, pages: extents }
}

/// The cells that are not null.
fn present<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> Cow<'_, [T::Native]> {
    if array.null_count() == 0 {
        Cow::Borrowed(array.values())
    } else {
        Cow::Owned(array.iter().flatten().collect())
    }
}

/// One body a page (empty where a page has no number) and the shared header.
fn numbers<T: Number>(
    present: &[T],
    mode: ModeSpec,
    counts: &[usize],
    head: &mut Vec<u8>,
) -> Vec<Vec<u8>> {
    if present.is_empty() {
        return vec![Vec::new(); counts.len()];
    }
    let paging = PagingSpec::Exact(counts.iter().copied().filter(|count| *count > 0).collect());
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(mode)
        .with_delta_spec(DeltaSpec::TryConsecutive(1))
        .with_paging_spec(paging);
    let file = wrapped::FileCompressor::default();
    let compressor =
        file.write_header(&mut *head).and_then(|_| file.chunk_compressor(present, &config));
    let mut compressor = compressor.expect("a chunk within the limits compresses into memory");
    compressor.write_meta(&mut *head).expect("memory takes every write");
    let mut page = 0;
    let encode = |count: &usize| {
        let mut body = Vec::new();
        if *count > 0 {
            compressor.write_page(page, &mut body).expect("memory takes every write");
            page += 1;
        }
        body
    };
    counts.iter().map(encode).collect()
}

fn bools(page: &ColumnValues) -> Vec<u8> {
    let mut body = Vec::new();
    if let ColumnValues::Bool(array) = page {
        pack(array.values().iter().map(u64::from), 1, &mut body);
    }
    body
}

/// `length before zstd | zstd(count of distinct texts, their lengths and bytes, numbers)`.
fn texts(page: &ColumnValues) -> Vec<u8> {
    let ColumnValues::Text(array) = page else { return Vec::new() };
    let mut places: HashTable<u64> = HashTable::new();
    let mut distinct: Vec<&str> = Vec::new();
    let mut numbers = Vec::with_capacity(array.len());
    for text in array.iter().flatten() {
        let hash = xxh3_64(text.as_bytes());
        let found = places.find(hash, |at| distinct[*at as usize] == text).copied();
        numbers.push(found.unwrap_or_else(|| {
            let at = distinct.len() as u64;
            distinct.push(text);
            places.insert_unique(hash, at, |at| xxh3_64(distinct[*at as usize].as_bytes()));
            at
        }));
    }
    let mut raw = Vec::new();
    put_varint(&mut raw, distinct.len() as u64);
    for text in &distinct {
        put_varint(&mut raw, text.len() as u64);
        raw.extend_from_slice(text.as_bytes());
    }
    let width = width_of(distinct.len().saturating_sub(1) as u64).next_multiple_of(8);
    raw.push(width as u8);
    pack(numbers.into_iter(), width, &mut raw);
    let mut body = Vec::new();
    put_varint(&mut body, raw.len() as u64);
    let packed = zstd::bulk::compress(&raw, 1).expect("memory takes every write");
    body.extend_from_slice(&packed);
    body
}

/// As [`encode`], for the time column.
pub(super) fn encode_times(times: &[i64], pages: &[Range<usize>], out: &mut Vec<u8>) -> Chunk {
    let offset = out.len() as u64;
    let pages = pages.iter().map(|rows| {
        let start = out.len();
        time_page(&times[rows.clone()], out);
        extent(&out[start..])
    });
    let pages = pages.collect();
    Chunk { offset, encoding: TIMES, head: extent(&[]), pages }
}

/// Runs of equal steps in the coarsest unit, or packed differences where steps vary.
fn time_page(times: &[i64], out: &mut Vec<u8>) {
    let first = times[0];
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let unit = [1_000_000_000, 1_000_000, 1_000]
        .into_iter()
        .find(|unit| steps.iter().all(|step| step % unit == 0))
        .unwrap_or(1i64);
    let scaled: Vec<i64> = steps.iter().map(|step| step / unit).collect();
    let runs = scaled.chunk_by(|a, b| a == b);
    let count = runs.clone().count();
    out.push(if count * 8 <= times.len() || times.len() < 64 { STEPS } else { NUMBERS });
    put_varint(out, zigzag(first));
    put_varint(out, unit as u64);
    if count * 8 <= times.len() || times.len() < 64 {
        for run in runs {
            put_varint(out, zigzag(run[0]));
            put_varint(out, run.len() as u64);
        }
    } else {
        let config = ChunkConfig::default()
            .with_compression_level(LEVEL)
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(DeltaSpec::NoOp);
        let packed = pco::standalone::simple_compress(&scaled, &config);
        out.extend_from_slice(&packed.expect("a page within the limits compresses into memory"));
    }
}

/// Appends the `rows` times of a page.
pub(super) fn decode_times(page: &[u8], rows: usize, times: &mut Vec<i64>) -> Option<()> {
    let reader = &mut Reader(page);
    let kind = reader.u8()?;
    let mut time = unzigzag(reader.varint()?);
    let unit = reader.varint()? as i64;
    let end = times.len() + rows;
    times.push(time);
    match kind {
        STEPS => {
            while times.len() < end {
                let step = unzigzag(reader.varint()?).wrapping_mul(unit);
                let count = reader.size().filter(|count| *count <= end - times.len())?;
                for _ in 0..count {
                    time = time.wrapping_add(step);
                    times.push(time);
                }
            }
        }
        NUMBERS => {
            let mut steps = vec![0i64; rows - 1];
            let done = pco::standalone::simple_decompress_into(reader.0, &mut steps).ok()?;
            (done.n_processed == rows - 1).then_some(())?;
            for step in steps {
                time = time.wrapping_add(step.wrapping_mul(unit));
                times.push(time);
            }
        }
        _ => return None,
    }
    Some(())
}

/// Decodes whole pages, given as (bytes, rows), that follow one another in a chunk.
pub(super) fn decode(
    encoding: u8,
    column_type: ColumnType,
    head: &[u8],
    pages: &[(&[u8], usize)],
) -> Option<ColumnValues> {
    let rows = pages.iter().map(|(_, rows)| rows).sum();
    Some(match (column_type, encoding) {
        (ColumnType::Int, INTS) => {
            let (values, nulls) = decode_numbers::<i64>(head, pages, rows)?;
            ColumnValues::Int(Int64Array::new(values.into(), nulls))
        }
        (ColumnType::Float, FLOATS) => {
            let (values, nulls) = decode_numbers::<f64>(head, pages, rows)?;
            ColumnValues::Float(Float64Array::new(values.into(), nulls))
        }
        (ColumnType::Float, DECIMALS..) => {
            let power = *POWERS.get(usize::from(encoding - DECIMALS))?;
            let (values, nulls) = decode_numbers::<i64>(head, pages, rows)?;
            let values: Vec<f64> = values.into_iter().map(|value| value as f64 / power).collect();
            ColumnValues::Float(Float64Array::new(values.into(), nulls))
        }
        (ColumnType::Bool, BOOLS) => {
            let mut cells: Vec<Option<bool>> = Vec::with_capacity(rows);
            for (page, rows) in pages {
                let Some((mut body, nulls)) = split(page, *rows)? else {
                    cells.resize(cells.len() + rows, None);
                    continue;
                };
                let bits = validity::bitmap(&mut body, *rows)?;
                let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.value(row));
                cells.extend((0..*rows).map(|row| valid(row).then(|| bits.value(row))));
            }
            ColumnValues::Bool(BooleanArray::from(cells))
        }
        (ColumnType::Text, TEXTS) => decode_texts(pages, rows)?,
        _ => return None,
    })
}

type Body<'a> = (Reader<'a>, Option<BooleanBuffer>);

/// A page's body and validity; `Some(None)` for a page of nulls.
fn split(page: &[u8], rows: usize) -> Option<Option<Body<'_>>> {
    if page.is_empty() {
        return Some(None);
    }
    let mut reader = Reader(page);
    let nulls = validity::decode(&mut reader, rows)?;
    Some(Some((reader, nulls)))
}

fn decode_numbers<T: Number + Default>(
    head: &[u8],
    pages: &[(&[u8], usize)],
    rows: usize,
) -> Option<(Vec<T>, Option<NullBuffer>)> {
    let mut values = vec![T::default(); rows];
    let mut valid: Option<Vec<bool>> = None;
    let mut decoder = None;
    let mut start = 0;
    for (page, rows) in pages {
        let end = start + rows;
        match split(page, *rows)? {
            None => valid.get_or_insert_with(|| vec![true; values.len()])[start..end].fill(false),
            Some((body, nulls)) => {
                if decoder.is_none() {
                    let (file, rest) = wrapped::FileDecompressor::new(head).ok()?;
                    decoder = Some(file.chunk_decompressor::<T, _>(rest).ok()?.0);
                }
                let count = nulls.as_ref().map_or(*rows, BooleanBuffer::count_set_bits);
                let mut reader = decoder.as_mut()?.page_decompressor(body.0, count).ok()?;
                let done = reader.read(&mut values[start..start + count]).ok()?;
                (done.n_processed == count).then_some(())?;
                if let Some(nulls) = nulls {
                    let valid = valid.get_or_insert_with(|| vec![true; values.len()]);
                    spread(&mut values[start..end], &nulls, count);
                    (0..*rows).for_each(|row| valid[start + row] = nulls.value(row));
                }
            }
        }
        start = end;
    }
    Some((values, valid.map(|valid| NullBuffer::new(valid.into()))))
}

/// Moves the `count` values at the front to the rows that are not null.
fn spread<T: Copy>(values: &mut [T], valid: &BooleanBuffer, mut count: usize) {
    for row in (0..values.len()).rev() {
        if valid.value(row) {
            count -= 1;
            values[row] = values[count];
        }
    }
}

fn decode_texts(pages: &[(&[u8], usize)], rows: usize) -> Option<ColumnValues> {
    let mut out = arrow_array::builder::StringBuilder::with_capacity(rows, rows * 8);
    let mut bytes_left = i32::MAX as usize;
    for (page, rows) in pages {
        let Some((mut body, nulls)) = split(page, *rows)? else {
            (0..*rows).for_each(|_| out.append_null());
            continue;
        };
        let length = body.size().filter(|length| *length <= TEXT_PAGE_BYTES_MAX)?;
        let raw = zstd::bulk::decompress(body.0, length).ok()?;
        let reader = &mut Reader(&raw);
        let mut distinct = Vec::new();
        for _ in 0..reader.varint()? {
            let length = reader.size()?;
            distinct.push(std::str::from_utf8(reader.bytes(length)?).ok()?);
        }
        let width = u32::from(reader.u8()?);
        let count = nulls.as_ref().map_or(*rows, BooleanBuffer::count_set_bits);
        let mut numbers = Vec::with_capacity(count);
        unpack(reader, count, width, |number| numbers.push(number as usize))?;
        let mut numbers = numbers.into_iter();
        for row in 0..*rows {
            if nulls.as_ref().is_none_or(|nulls| nulls.value(row)) {
                let text = *distinct.get(numbers.next()?)?;
                bytes_left = bytes_left.checked_sub(text.len())?;
                out.append_value(text);
            } else {
                out.append_null();
            }
        }
    }
    let array: StringArray = out.finish();
    Some(ColumnValues::Text(array))
}
