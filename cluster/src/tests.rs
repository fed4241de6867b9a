//! What other nodes may send, whatever it is.

use proptest::prelude::*;
use std::time::Duration;
use tokio::time::Instant;

/// Mostly small numbers, so that lengths and counts often fit.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0_u8), 3 => 1_u8..9, 1 => any::<u8>(), 1 => b' '..=b'~']
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in prop::collection::vec(byte(), 0..200)) {
        crate::fuzz_bodies(&body);
    }
}

/// As above, for so many seconds as `FUZZ_S` says.
#[test]
#[ignore = "as long as it is asked for"]
fn any_body_is_read_or_refused_for_long() {
    let seconds = std::env::var("FUZZ_S").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(60));
    let (mut state, mut count) = (1_u64, 0_u64);
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    while Instant::now() < until {
        let length = below(400);
        let byte = |_| match below(9) {
            0..4 => 0,
            4..7 => below(9) as u8,
            7 => below(256) as u8,
            _ => b' ' + below(95) as u8,
        };
        let body: Vec<u8> = (0..length).map(byte).collect();
        crate::fuzz_bodies(&body);
        count += 1;
    }
    println!("{count} bodies");
}
