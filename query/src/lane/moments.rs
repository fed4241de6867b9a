//! Figures for the standard deviation, which merge without loss: Chan, Golub and LeVeque, "Updating
//! Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.

/// Running mean and squared deviations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    /// Number of values.
    pub(crate) count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn of(values: impl Iterator<Item = f64> + Clone) -> Moments {
        let count = values.clone().count();
        let mean = values.clone().sum::<f64>() / count as f64;
        let squares = values.map(|value| (value - mean) * (value - mean)).sum();
        Moments { count: count as u64, mean, squares }
    }

    pub(super) fn add(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        self.mean += apart * b / (a + b);
        self.squares += other.squares + apart * apart * a * b / (a + b);
    }

    /// Sample standard deviation; `None` below two values.
    pub(crate) fn stddev(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}
