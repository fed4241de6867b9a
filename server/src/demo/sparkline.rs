//! A series in one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `width` values as bars between the least and the greatest of them; a blank where there is none.
pub(super) fn sparkline(values: &[Option<f64>], width: usize) -> String {
    let shown = &values[values.len().saturating_sub(width)..];
    let given = || shown.iter().copied().flatten().filter(|value| value.is_finite());
    let least = given().fold(f64::INFINITY, f64::min);
    let most = given().fold(f64::NEG_INFINITY, f64::max);
    let bar = |value: &Option<f64>| match value.filter(|value| value.is_finite()) {
        None => ' ',
        // A steady value stands in the middle.
        Some(_) if most <= least => BARS[BARS.len() / 2 - 1],
        Some(value) => {
            let share = (value / 2.0 - least / 2.0) / (most / 2.0 - least / 2.0);
            BARS[((share * BARS.len() as f64) as usize).min(BARS.len() - 1)]
        }
    };
    let line: String = shown.iter().map(bar).collect();
    format!("{line:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_bars() {
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        let eight = some(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(sparkline(&eight, 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&eight, 2), "▁█");
        assert_eq!(sparkline(&some(&[3.0, 3.0]), 4), "  ▄▄");
        assert_eq!(sparkline(&[Some(1.0), None, Some(2.0)], 3), "▁ █");
        assert_eq!(sparkline(&some(&[f64::MIN, f64::MAX, f64::NAN]), 3), "▁█ ");
        assert_eq!(sparkline(&[], 3), "   ");
        assert_eq!(sparkline(&eight, 0), "");
    }
}
