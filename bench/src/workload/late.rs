//! Rows that arrive in no order: devices send noisy decimals whose times lie anywhere in 90 days,
//! as when many of them come back from where there was no network.

use std::io::Write;

use crate::{
    random::Random,
    workload::{Counts, START_NS, Workload},
};

const SPAN_NS: u64 = 90 * 86_400_000_000_000;

const FIELDS: [&str; 5] = ["temperature", "humidity", "pressure", "voltage", "current"];

/// Shows every line, in the order in which they are sent.
///
/// # Errors
/// What the visitor answers.
pub(super) fn each_line<E>(
    workload: Workload,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Counts, E> {
    let mut random = Random::new(workload.seed);
    let (devices, ticks) = (workload.hosts as u64, workload.ticks());
    // Every slot of the span once: no key comes twice.
    let slots = devices * ticks;
    let slot_ns = SPAN_NS / slots.max(1);
    let order = random.subset(slots as usize, slots as usize);
    let mut line = Vec::with_capacity(256);
    for slot in order {
        let device = random.below(devices);
        line.clear();
        // Writing to a Vec cannot fail.
        let _ = write!(line, "late,device=dev{device}");
        for (place, field) in FIELDS.iter().enumerate() {
            let value = 20.0 + 5.0 * random.normal();
            let _ = write!(line, "{}{field}={value:.2}", if place == 0 { ' ' } else { ',' });
        }
        let _ = writeln!(line, " {}", START_NS + (slot as u64 * slot_ns) as i64);
        visit(&line)?;
    }
    Ok(Counts { rows: slots, keys: slots, metrics: slots * FIELDS.len() as u64 })
}
