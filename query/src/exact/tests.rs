use super::*;
use proptest::prelude::*;

fn sum_of(parts: &[&[f64]]) -> Exact {
    let mut sum = Exact::default();
    for part in parts {
        let mut one = Exact::default();
        one.add_all(part);
        sum.merge(&one);
    }
    sum
}

/// Floats of one size, as sensors give them, and of any.
fn floats() -> impl Strategy<Value = Vec<f64>> {
    let any_bits = any::<u64>().prop_map(f64::from_bits).prop_filter("a number", |x| x.is_finite());
    let near = (-1e6f64..1e6).prop_map(|x| x / 7.0);
    let far = (-1e6f64..1e6, -60i32..60).prop_map(|(x, places)| x * 2f64.powi(places));
    let tiny = (-100i64..100).prop_map(|units| f64::from_bits(1) * units as f64);
    prop_oneof![
        4 => prop::collection::vec(near, 0..200),
        3 => prop::collection::vec(far, 0..100),
        2 => prop::collection::vec(any_bits, 0..40),
        1 => prop::collection::vec(tiny, 0..40),
    ]
}

proptest! {
    #[test]
    fn no_order_and_no_cut_shows_in_a_sum(
        values in floats(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        turn in any::<prop::sample::Index>(),
    ) {
        let whole = sum_of(&[&values]).value();
        let mut other = values.clone();
        if !other.is_empty() {
            let by = turn.index(other.len());
            other.rotate_left(by);
            other.reverse();
        }
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(other.len() + 1)).collect();
        places.extend([0, other.len()]);
        places.sort_unstable();
        let parts: Vec<&[f64]> = places.windows(2).map(|two| &other[two[0]..two[1]]).collect();
        prop_assert_eq!(sum_of(&parts).value().to_bits(), whole.to_bits());
        let mut single = Exact::default();
        for value in &values {
            single.add(*value);
        }
        prop_assert_eq!(single.value().to_bits(), whole.to_bits());
        prop_assert_eq!(Exact::from_bytes(&single.to_bytes()), Some(single));
    }

    #[test]
    fn integers_sum_as_integers(values in prop::collection::vec(any::<i32>(), 1..100)) {
        let sum: i64 = values.iter().map(|value| i64::from(*value)).sum();
        let (mut floats, mut squares) = (Exact::default(), Exact::default());
        floats.add_all(&values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        prop_assert_eq!(floats.value(), sum as f64);
        let mut square_sum = 0i128;
        for value in &values {
            let square = i128::from(*value) * i128::from(*value);
            squares.add_units(square, 0);
            square_sum += square;
        }
        let expected = square_sum * values.len() as i128 - i128::from(sum) * i128::from(sum);
        let (float, place) = spread(values.len() as u64, &floats, &squares).unwrap();
        prop_assert_eq!(scaled(float, place), expected as f64);
    }
}

#[test]
fn sums_are_rounded_once() {
    let half = f64::EPSILON / 2.0;
    let tiny = f64::from_bits(1);
    for (values, expected) in [
        (&[1e16, 1.0, -1e16][..], 1.0),
        (&[1e300, 1.0, -1e300, 1e-300], 1.0),
        (&[1.0, half], 1.0),
        (&[1.0, half, tiny], 1.0 + f64::EPSILON),
        (&[1.0 + f64::EPSILON, half], 1.0 + 2.0 * f64::EPSILON),
        (&[-1.0, -half, -tiny], -1.0 - f64::EPSILON),
        (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
        (&[f64::MAX, f64::MAX], f64::INFINITY),
        (&[tiny, tiny, -tiny], tiny),
        (&[-0.0], 0.0),
        (&[], 0.0),
        (&[f64::INFINITY, 1.0], f64::INFINITY),
        (&[f64::NEG_INFINITY, 1e300, -5.0], f64::NEG_INFINITY),
    ] {
        assert_eq!(sum_of(&[values]).value().to_bits(), expected.to_bits(), "{values:?}");
    }
    assert!(sum_of(&[&[f64::INFINITY], &[1.0, f64::NEG_INFINITY]]).value().is_nan());
    assert!(sum_of(&[&[2.0, f64::NAN, 1.0]]).value().is_nan());
}

#[test]
fn bytes_that_are_no_sum_are_told() {
    for values in [&[f64::INFINITY][..], &[f64::NEG_INFINITY], &[f64::NAN], &[1e300, 1e-300]] {
        let bytes = sum_of(&[values]).to_bytes();
        let back = Exact::from_bytes(&bytes).unwrap();
        assert_eq!(back.to_bytes(), bytes);
        assert!(Exact::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
    }
    for bytes in [&[][..], &[0, 1], &[9; 21], &[0; 20], &[1, 0, 0]] {
        assert!(Exact::from_bytes(bytes).is_none(), "{bytes:?}");
    }
}

#[test]
fn chunks_are_as_long_as_floats_sum_them_exactly() {
    let values: Vec<f64> = (0..3 * CHUNK).map(|at| 1.999_999_999 - at as f64 * 1e-14).collect();
    let mut single = Exact::default();
    for value in &values {
        single.add(*value);
    }
    assert_eq!(sum_of(&[&values]).value(), single.value());
}
