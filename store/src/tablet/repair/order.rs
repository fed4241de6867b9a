//! In which order segments count whose log indexes nobody knows: a pure decision.

/// Segments, the oldest first, as far as that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Numbers of segments, the oldest first.
    pub(super) numbers: Vec<u64>,
    /// Pairs (older, newer) of which nothing says that it is not the other way round.
    pub(super) assumed: Vec<(u64, u64)>,
}

/// Orders `all` (ascending numbers): those of `known` as they stand there, which is known to be
/// right, and the rest by number. The number is a guess, since a merge gives a new one to old rows.
pub(super) fn order(all: &[u64], known: &[u64]) -> Order {
    let mut numbers: Vec<u64> = known.iter().copied().filter(|one| all.contains(one)).collect();
    for number in all.iter().filter(|number| !known.contains(number)) {
        let at = numbers.iter().position(|other| other > number).unwrap_or(numbers.len());
        numbers.insert(at, *number);
    }
    let mut assumed = Vec::new();
    for (at, older) in numbers.iter().enumerate() {
        let newer = numbers[at + 1..].iter();
        let newer = newer.filter(|newer| !(known.contains(older) && known.contains(newer)));
        assumed.extend(newer.map(|newer| (*older, *newer)));
    }
    Order { numbers, assumed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_counts_and_numbers_are_a_guess() {
        let certain = |numbers: &[u64]| Order { numbers: numbers.to_vec(), assumed: Vec::new() };
        assert_eq!(order(&[2, 4, 9], &[4, 2, 9]), certain(&[4, 2, 9]));
        assert_eq!(order(&[2, 9], &[4, 2, 9]), certain(&[2, 9]));
        assert_eq!(order(&[7], &[]), certain(&[7]));
        let guessed = order(&[2, 4], &[]);
        assert_eq!(guessed, Order { numbers: vec![2, 4], assumed: vec![(2, 4)] });
        let mixed = order(&[2, 3, 4], &[4, 2]);
        assert_eq!(mixed, Order { numbers: vec![3, 4, 2], assumed: vec![(3, 4), (3, 2)] });
    }
}
