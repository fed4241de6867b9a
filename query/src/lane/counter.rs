//! Counters, which rise and now and then begin anew at zero.

use super::{
    cells::Cell,
    slice::Slice,
    sum::{put_exact, take_exact},
    values::{Values, Wanted},
};
use crate::{
    Result,
    exact::Exact,
    form::{Take, put_count},
    select::Function,
};

/// The part of what was folded elsewhere, which none of a scan here continues.
const ELSEWHERE: u32 = u32::MAX;

/// A counter: of one series until it ends, then sums over series.
#[derive(Debug, Clone)]
pub(super) enum Counter<T: Number> {
    /// One series, whose samples still come in: a span for each run of samples between which no
    /// other can lie. Which spans are neighbours is known only when all are there.
    Open(Span<T>, Vec<Span<T>>),
    /// Series that ended.
    Settled(Totals<T>),
}

/// Samples of one part that came one after the other.
#[derive(Debug, Clone)]
pub(super) struct Span<T: Number> {
    part: u32,
    first: (i64, T),
    last: (i64, T),
    increase: T::Sum,
}

/// Sums over series.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals<T: Number> {
    /// Series of two samples or more; without any there is no value.
    series: u64,
    /// Last less first.
    delta: T::Sum,
    /// Increase a second.
    rate: Exact,
}

/// A number that counters count in.
pub(super) trait Number:
    Copy + PartialOrd + Default + std::fmt::Debug + std::ops::Sub<Output = Self> + Send + 'static
{
    /// A sum of such numbers in which no order shows.
    type Sum: Clone + Default + std::fmt::Debug + Send;

    /// A row of a slice.
    fn of(slice: &Slice<'_>, row: usize) -> Self;

    /// Adds a number; returns the bytes that the sum now holds in addition.
    fn add(sum: &mut Self::Sum, number: Self) -> usize;

    /// Adds a sum; returns the bytes that the other now holds in addition.
    fn merge(sum: &mut Self::Sum, other: &Self::Sum) -> usize;

    /// A sum as a float.
    fn float(sum: &Self::Sum) -> f64;

    /// The column of differences.
    fn deltas<'s>(
        wanted: &Wanted<'_>,
        of: impl Fn(usize) -> Option<&'s Self::Sum>,
    ) -> Result<Values>;

    /// Appends a number.
    fn put(self, out: &mut Vec<u8>);

    /// Reads a number.
    fn take(from: &mut Take<'_>) -> Result<Self>;

    /// Appends a sum.
    fn put_sum(sum: &Self::Sum, out: &mut Vec<u8>);

    /// Reads a sum, and tells what it holds besides its own bytes.
    fn take_sum(from: &mut Take<'_>) -> Result<(Self::Sum, usize)>;
}

impl Number for i128 {
    type Sum = i128;

    fn of(slice: &Slice<'_>, row: usize) -> i128 {
        i128::from(slice.ints()[row])
    }

    fn add(sum: &mut i128, number: i128) -> usize {
        i128::merge(sum, &number)
    }

    fn merge(sum: &mut i128, other: &i128) -> usize {
        // Sums of rows that are there stay far below; what comes as bytes need not.
        *sum = sum.saturating_add(*other);
        0
    }

    fn float(sum: &i128) -> f64 {
        *sum as f64
    }

    fn deltas<'s>(wanted: &Wanted<'_>, of: impl Fn(usize) -> Option<&'s i128>) -> Result<Values> {
        wanted.whole(|slot| of(slot).copied())
    }

    fn put(self, out: &mut Vec<u8>) {
        // It is that of a row.
        out.extend_from_slice(&(self as i64).to_le_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<i128> {
        from.i64().map(i128::from)
    }

    fn put_sum(sum: &i128, out: &mut Vec<u8>) {
        out.extend_from_slice(&sum.to_le_bytes());
    }

    fn take_sum(from: &mut Take<'_>) -> Result<(i128, usize)> {
        Ok((from.i128()?, 0))
    }
}

impl Number for f64 {
    type Sum = Exact;

    fn of(slice: &Slice<'_>, row: usize) -> f64 {
        slice.floats()[row]
    }

    fn add(sum: &mut Exact, number: f64) -> usize {
        sum.add(number)
    }

    fn merge(sum: &mut Exact, other: &Exact) -> usize {
        sum.merge(other)
    }

    fn float(sum: &Exact) -> f64 {
        sum.value()
    }

    fn deltas<'s>(wanted: &Wanted<'_>, of: impl Fn(usize) -> Option<&'s Exact>) -> Result<Values> {
        Ok(Values::Float(wanted.each(|slot| of(slot).map(Exact::value))))
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<f64> {
        from.f64()
    }

    fn put_sum(sum: &Exact, out: &mut Vec<u8>) {
        put_exact(out, sum);
    }

    fn take_sum(from: &mut Take<'_>) -> Result<(Exact, usize)> {
        take_exact(from)
    }
}

impl<T: Number> Span<T> {
    fn one(part: u32, sample: (i64, T)) -> Span<T> {
        Span { part, first: sample, last: sample, increase: T::Sum::default() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (time, value) in [self.first, self.last] {
            out.extend_from_slice(&time.to_le_bytes());
            value.put(out);
        }
        T::put_sum(&self.increase, out);
    }

    fn read(from: &mut Take<'_>) -> Result<(Span<T>, usize)> {
        let first = (from.i64()?, T::take(from)?);
        let last = (from.i64()?, T::take(from)?);
        let (increase, bytes) = T::take_sum(from)?;
        Ok((Span { part: ELSEWHERE, first, last, increase }, bytes))
    }
}

impl<T: Number> Counter<T> {
    /// Takes the next sample of the series in a part; returns the bytes that the cell now holds in
    /// addition.
    fn take(cell: &mut Option<Counter<T>>, part: u32, sample: (i64, T)) -> usize {
        let Some(Counter::Open(first, more)) = cell else {
            *cell = Some(Counter::Open(Span::one(part, sample), Vec::new()));
            return 0;
        };
        let span = more.last_mut().unwrap_or(first);
        if span.part == part {
            let bytes = T::add(&mut span.increase, rise(span.last.1, sample.1));
            span.last = sample;
            return bytes;
        }
        let before = more.capacity();
        more.push(Span::one(part, sample));
        (more.capacity() - before) * size_of::<Span<T>>()
    }

    /// Takes other spans of the same series or, once settled, other series; returns the bytes that
    /// the cell now holds in addition.
    fn join(cell: &mut Option<Counter<T>>, other: Option<Counter<T>>) -> usize {
        match (&mut *cell, other) {
            (_, None) => 0,
            (None, other) => {
                *cell = other;
                0
            }
            (Some(Counter::Open(_, more)), Some(Counter::Open(first, rest))) => {
                let before = more.capacity();
                more.push(first);
                more.extend(rest);
                (more.capacity() - before) * size_of::<Span<T>>()
            }
            (Some(Counter::Settled(held)), Some(Counter::Settled(other))) => {
                held.series += other.series;
                T::merge(&mut held.delta, &other.delta) + held.rate.merge(&other.rate)
            }
            _ => unreachable!("all counters of a lane are settled at once"),
        }
    }

    /// Ends the series.
    fn end(&mut self) {
        let Counter::Open(first, more) = self else { return };
        more.push(first.clone());
        more.sort_unstable_by_key(|span| span.first.0);
        let mut spans = more.iter();
        let Some(first) = spans.next() else { return };
        let mut last = first.last;
        let mut increase = first.increase.clone();
        for span in spans {
            T::add(&mut increase, rise(last.1, span.first.1));
            T::merge(&mut increase, &span.increase);
            last = span.last;
        }
        let mut totals = Totals { series: 0, delta: T::Sum::default(), rate: Exact::default() };
        if first.first.0 < last.0 {
            let seconds = (i128::from(last.0) - i128::from(first.first.0)) as f64 / 1e9;
            totals.series = 1;
            T::add(&mut totals.delta, last.1 - first.first.1);
            totals.rate.add(T::float(&increase) / seconds);
        }
        *self = Counter::Settled(totals);
    }

    /// The sums over series; `None` where none had two samples.
    fn totals(&self) -> Option<&Totals<T>> {
        match self {
            Counter::Settled(totals) if totals.series > 0 => Some(totals),
            _ => None,
        }
    }
}

impl<T: Number> Cell for Option<Counter<T>> {
    type Rule = ();

    fn empty((): ()) -> Option<Counter<T>> {
        None
    }

    fn fold(&mut self, (): (), slice: &Slice<'_>) -> usize {
        let mut bytes = 0;
        slice.dense(|rows| {
            for row in rows {
                let sample = (slice.times[row], T::of(slice, row));
                bytes += Counter::take(self, slice.part, sample);
            }
        });
        bytes
    }

    fn merge(&mut self, (): (), other: Option<Counter<T>>) -> usize {
        Counter::join(self, other)
    }

    fn settle(&mut self) {
        if let Some(counter) = self {
            counter.end();
        }
    }

    fn values(cells: &mut [Option<Counter<T>>], wanted: &Wanted<'_>) -> Result<Values> {
        let totals = |slot: usize| cells[slot].as_ref()?.totals();
        match wanted.item.function {
            Function::Delta => T::deltas(wanted, |slot| totals(slot).map(|totals| &totals.delta)),
            _ => Ok(Values::Float(wanted.each(|slot| Some(totals(slot)?.rate.value())))),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => put_count(out, 0),
            Some(Counter::Open(first, more)) => {
                put_count(out, 1 + more.len());
                first.write(out);
                more.iter().for_each(|span| span.write(out));
            }
            Some(Counter::Settled(_)) => {
                unreachable!("figures are written before they are settled")
            }
        }
    }

    fn read(from: &mut Take<'_>) -> Result<(Option<Counter<T>>, usize)> {
        /// Two times and two values of eight bytes; a sum has at least one byte.
        const SPAN_BYTES_MIN: usize = 33;
        let count = from.count(SPAN_BYTES_MIN)?;
        let mut bytes = count * size_of::<Span<T>>();
        let mut spans = Vec::with_capacity(count);
        for _ in 0..count {
            let (span, more) = Span::read(from)?;
            spans.push(span);
            bytes += more;
        }
        let first = spans.pop();
        Ok((first.map(|first| Counter::Open(first, spans)), bytes))
    }
}

/// How much a counter rose; after a fall it began anew at zero.
fn rise<T: Number>(from: T, to: T) -> T {
    if to >= from { to - from } else { to }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Parts come in any order, over any number of nodes.
        #[test]
        fn spans_merge_in_any_order(
            values in prop::collection::vec(-1000i32..1000, 1..40),
            parts in prop::collection::vec(0usize..4, 40),
            order in Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut whole: Option<Counter<f64>> = None;
            let mut cells: Vec<Option<Counter<f64>>> = vec![None; 4];
            for (at, value) in values.iter().enumerate() {
                let sample = (at as i64, f64::from(*value) / 8.0);
                Counter::take(&mut whole, 0, sample);
                // Each sample a part of its own, dealt out over four threads.
                Counter::take(&mut cells[parts[at]], at as u32, sample);
            }
            let mut merged: Option<Counter<f64>> = None;
            for place in order {
                let mut sent = Vec::new();
                cells[place].write(&mut sent);
                let (read, _) = Option::read(&mut Take::new(&sent)).unwrap();
                Counter::join(&mut merged, read);
            }
            let figures = |cell: Option<Counter<f64>>| {
                let mut counter = cell.unwrap();
                counter.end();
                let totals = counter.totals().cloned();
                totals.map(|totals| (totals.series, totals.delta.value(), totals.rate.value()))
            };
            prop_assert_eq!(figures(merged), figures(whole));
        }
    }
}
