//! The innermost loops: one pass over contiguous values without nulls.

const LANES: usize = 8;

/// Sum of integers, never overflowing below 2³¹ values.
pub(crate) fn sum_int(values: &[i64]) -> i128 {
    let (mut high, mut low) = (0i64, 0i64);
    for value in values {
        high += value >> 32;
        low += value & 0xffff_ffff;
    }
    (i128::from(high) << 32) + i128::from(low)
}

/// The best of `values` and `seed`, where `better(a, b)` says whether `a` replaces `b`.
pub(crate) fn best<T: Copy>(values: &[T], seed: T, better: impl Fn(T, T) -> bool) -> T {
    let mut parts = [seed; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let value = chunk[lane];
            parts[lane] = if better(value, parts[lane]) { value } else { parts[lane] };
        }
    }
    let mut answer = seed;
    for &value in parts.iter().chain(rest) {
        if better(value, answer) {
            answer = value;
        }
    }
    answer
}

/// How many leading `times` lie before `end`, found by galloping.
pub(crate) fn before(times: &[i64], end: i64) -> usize {
    let mut high = 1;
    while high < times.len() && times[high] < end {
        high *= 2;
    }
    let low = high / 2;
    let high = high.min(times.len());
    low + times[low..high].partition_point(|time| *time < end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn kernels_agree_with_plain_loops(
            ints in prop::collection::vec(any::<i64>(), 0..100),
            mut times in prop::collection::vec(-50i64..50, 1..100),
            end in -60i64..60,
        ) {
            prop_assert_eq!(sum_int(&ints), ints.iter().map(|v| i128::from(*v)).sum::<i128>());
            let least = ints.iter().copied().min().unwrap_or(i64::MAX);
            prop_assert_eq!(best(&ints, i64::MAX, |a, b| a < b), least);
            times.sort_unstable();
            let expected = times.iter().filter(|time| **time < end).count();
            prop_assert_eq!(before(&times, end), expected);
        }
    }
}
