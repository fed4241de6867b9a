//! What openraft needs of the crate `base2histogram`, in whose place the workspace puts this one.
//!
//! openraft keeps some twenty histograms in every Raft instance, for figures that Oribi never asks it
//! for. The real ones are right, but take 2 KiB each and build tables of 25 MiB in every process that
//! makes one. These keep how many values there were, and the greatest.

use std::{fmt, marker::PhantomData};

/// How many values there were, and the greatest of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    samples: u64,
    greatest: u64,
    data: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Histogram { samples: 0, greatest: 0, data: PhantomData }
    }
}

impl<T> Histogram<T> {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    #[inline]
    pub fn record_n(&mut self, value: u64, count: u64) {
        if count > 0 {
            self.samples = self.samples.saturating_add(count);
            self.greatest = self.greatest.max(value);
        }
    }

    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.samples
    }

    /// The greatest value, which no percentile exceeds.
    pub fn percentile(&self, _share: f64) -> u64 {
        self.greatest
    }

    /// The count, and the greatest value in place of each percentile.
    pub fn percentile_stats(&self) -> PercentileStats {
        let most = self.greatest;
        PercentileStats {
            samples: self.samples,
            p0_1: most,
            p1: most,
            p5: most,
            p10: most,
            p50: most,
            p90: most,
            p99: most,
            p99_9: most,
        }
    }
}

/// Percentiles, each an upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values there were.
    pub samples: u64,
    /// At most so much are 0.1 % of them.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// Half of them.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[samples: {}, at most: {}]", self.samples, self.p99_9)
    }
}

/// Histograms by name, one a line.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// No lines yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    #[allow(
        clippy::should_implement_trait,
        reason = "the name is that of the crate it stands in for"
    )]
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_the_greatest_is_kept() {
        let mut values = Histogram::<()>::new();
        values.record(7);
        values.record_n(3, 4);
        values.record_n(900, 0);
        assert_eq!((values.total(), values.percentile(0.5)), (5, 7));
        let chart = AsciiChart::new().add("values", values);
        assert_eq!(chart.to_string(), "values: [samples: 5, at most: 7]\n");
    }
}
