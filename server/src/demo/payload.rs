//! What a device says: a JSON object, or an array of them for several rows.

use super::{recordings::Recording, replay::Due};
use std::fmt::Write;

const NS_PER_MS: i64 = 1_000_000;

/// The payload of some rows; `run` tells this run's rows from those of earlier ones.
pub(super) fn payload(recording: &Recording, rows: &[Due], run: i64) -> String {
    const BYTES_A_ROW: usize = 128;
    let mut out = String::with_capacity(rows.len() * BYTES_A_ROW);
    if let [row] = rows {
        object(&mut out, recording, *row, run);
        return out;
    }
    out.push('[');
    for (place, row) in rows.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        object(&mut out, recording, *row, run);
    }
    out.push(']');
    out
}

fn object(out: &mut String, recording: &Recording, row: Due, run: i64) {
    // Most devices count ms; finer times only where rows come faster than that.
    let is_ms = row.time_ns % NS_PER_MS == 0;
    let time = if is_ms { row.time_ns / NS_PER_MS } else { row.time_ns };
    // Writing to a string cannot fail.
    let _ = write!(out, "{{\"time\":{time}");
    for (field, value) in recording.fields.iter().zip(recording.sample(row.sample)) {
        let _ = match (value.is_nan(), field.is_whole) {
            (true, _) => Ok(()),
            (false, true) => write!(out, ",\"{}\":{value:.0}", field.name),
            // With a point even where the fraction is 0: the column is one of floats.
            (false, false) => write!(out, ",\"{}\":{value:?}", field.name),
        };
    }
    let _ = write!(out, ",\"run\":{run}}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects_with_what_was_recorded() {
        let recording = Recording::parse("s", "d", "step_s,a,b\n60,1,2\n30,,3.5\n").unwrap();
        let first = Due { time_ns: 1_700_000_000_123_000_000, sample: 0 };
        let second = Due { time_ns: 1_700_000_000_123_456_789, sample: 1 };
        assert_eq!(
            payload(&recording, &[first], 7),
            r#"{"time":1700000000123,"a":1,"b":2.0,"run":7}"#
        );
        assert_eq!(
            payload(&recording, &[first, second], 7),
            concat!(
                r#"[{"time":1700000000123,"a":1,"b":2.0,"run":7},"#,
                r#"{"time":1700000000123456789,"b":3.5,"run":7}]"#
            )
        );
    }
}
