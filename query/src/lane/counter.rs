//! Counters, which rise and now and then begin anew at zero.

use crate::exact::Exact;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A counter: of one series until it ends, then sums over series.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum Counter<T: Number> {
    /// One series, whose samples still come in: a span for each run of samples between which no
    /// other can lie. Which spans are neighbours is known only when all are there.
    Open(Span<T>, Vec<Span<T>>),
    /// Series that ended.
    Settled(Totals<T>),
}

/// Samples of one part that came one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Span<T: Number> {
    part: u32,
    first: (i64, T),
    last: (i64, T),
    increase: T::Sum,
}

/// Sums over series.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Totals<T: Number> {
    /// Series of two samples or more; without any there is no value.
    pub(crate) series: u64,
    /// Last less first.
    pub(crate) delta: T::Sum,
    /// Increase a second.
    pub(crate) rate: Exact,
}

/// A number that counters count in.
pub(crate) trait Number:
    Copy
    + PartialOrd
    + Default
    + std::fmt::Debug
    + std::ops::Sub<Output = Self>
    + Serialize
    + DeserializeOwned
{
    /// A sum of such numbers in which no order shows.
    type Sum: Clone + Default + std::fmt::Debug + Serialize + DeserializeOwned;

    /// Adds a number; returns the bytes that the sum now holds in addition.
    fn add(sum: &mut Self::Sum, number: Self) -> usize;

    /// Adds a sum; returns the bytes that the other now holds in addition.
    fn merge(sum: &mut Self::Sum, other: &Self::Sum) -> usize;

    /// A sum as a float.
    fn float(sum: &Self::Sum) -> f64;
}

impl Number for i128 {
    type Sum = i128;

    fn add(sum: &mut i128, number: i128) -> usize {
        *sum += number;
        0
    }

    fn merge(sum: &mut i128, other: &i128) -> usize {
        *sum += other;
        0
    }

    fn float(sum: &i128) -> f64 {
        *sum as f64
    }
}

impl Number for f64 {
    type Sum = Exact;

    fn add(sum: &mut Exact, number: f64) -> usize {
        sum.add(number)
    }

    fn merge(sum: &mut Exact, other: &Exact) -> usize {
        sum.merge(other)
    }

    fn float(sum: &Exact) -> f64 {
        sum.value()
    }
}

impl<T: Number> Span<T> {
    fn one(part: u32, sample: (i64, T)) -> Span<T> {
        Span { part, first: sample, last: sample, increase: T::Sum::default() }
    }
}

impl<T: Number> Counter<T> {
    /// Takes the next sample of the series in a part; returns the bytes that the cell now holds in
    /// addition.
    pub(super) fn take(cell: &mut Option<Counter<T>>, part: u32, sample: (i64, T)) -> usize {
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
    pub(super) fn join(cell: &mut Option<Counter<T>>, other: Option<Counter<T>>) -> usize {
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
    pub(super) fn settle(&mut self) {
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
    pub(crate) fn totals(&self) -> Option<&Totals<T>> {
        match self {
            Counter::Settled(totals) if totals.series > 0 => Some(totals),
            _ => None,
        }
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
                let sent = serde_json::to_string(&cells[place]).unwrap();
                Counter::join(&mut merged, serde_json::from_str(&sent).unwrap());
            }
            let figures = |cell: Option<Counter<f64>>| {
                let mut counter = cell.unwrap();
                counter.settle();
                let totals = counter.totals().cloned();
                totals.map(|totals| (totals.series, totals.delta.value(), totals.rate.value()))
            };
            prop_assert_eq!(figures(merged), figures(whole));
        }
    }
}
