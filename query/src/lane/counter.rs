//! Counters, which rise and now and then begin anew at zero.

/// A counter: of one series until it ends, then sums over series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter<T> {
    first: (i64, T),
    last: (i64, T),
    increase: T,
    /// Last less first, summed over series of two samples or more.
    pub(crate) delta: T,
    /// Increase a second, summed likewise.
    pub(crate) rate: f64,
    /// Whether some series had two samples.
    pub(crate) known: Known,
}

/// Whether a figure has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// One series, whose samples still come in.
    Open,
    /// It has none.
    No,
    /// It has.
    Yes,
}

/// A number that counters count in.
pub(crate) trait Number:
    Copy + PartialOrd + std::ops::Sub<Output = Self> + std::ops::Add<Output = Self> + Default
{
    /// As a float.
    fn float(self) -> f64;
}

impl Number for i128 {
    fn float(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn float(self) -> f64 {
        self
    }
}

impl<T: Number> Counter<T> {
    fn one(sample: (i64, T)) -> Counter<T> {
        let zero = T::default();
        let known = Known::Open;
        Counter { first: sample, last: sample, increase: zero, delta: zero, rate: 0.0, known }
    }

    /// Takes the next sample of the series.
    pub(super) fn take(cell: &mut Option<Counter<T>>, sample: (i64, T)) {
        match cell {
            None => *cell = Some(Counter::one(sample)),
            Some(held) => {
                held.increase = held.increase + rise(held.last.1, sample.1);
                held.last = sample;
            }
        }
    }

    /// Takes another part of the same series or, once settled, another series.
    pub(super) fn join(cell: &mut Option<Counter<T>>, other: Option<Counter<T>>) {
        let Some(other) = other else { return };
        let Some(held) = cell else {
            *cell = Some(other);
            return;
        };
        if held.known != Known::Open {
            held.delta = held.delta + other.delta;
            held.rate += other.rate;
            if other.known == Known::Yes {
                held.known = Known::Yes;
            }
            return;
        }
        let (early, late) =
            if held.first.0 <= other.first.0 { (*held, other) } else { (other, *held) };
        let increase = early.increase + late.increase + rise(early.last.1, late.first.1);
        *held = Counter { last: late.last, increase, ..early };
    }

    /// Ends the series.
    pub(super) fn settle(&mut self) {
        self.known = Known::No;
        if self.first.0 < self.last.0 {
            let seconds = (i128::from(self.last.0) - i128::from(self.first.0)) as f64 / 1e9;
            self.delta = self.last.1 - self.first.1;
            self.rate = self.increase.float() / seconds;
            self.known = Known::Yes;
        }
    }
}

/// How much a counter rose; after a fall it began anew at zero.
fn rise<T: Number>(from: T, to: T) -> T {
    if to >= from { to - from } else { to }
}
