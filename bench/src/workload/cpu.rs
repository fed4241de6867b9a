//! TSBS's cpu-only use case: `hosts` machines that report ten integers every ten seconds.
//!
//! Definitions follow TSBS's source: every field is a random walk with steps of a normal
//! distribution (mean 0, deviation 1), clamped to 0..=100 and cut to its integer part; tags are
//! drawn once a host.

use std::io::Write;

use crate::{
    random::Random,
    workload::{START_NS, STEP_S, Workload},
};

/// The fields of a row, in the order written.
pub(crate) const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

/// The tags of a row, in the order written.
pub(crate) const TAGS: [&str; 10] = [
    "hostname",
    "region",
    "datacenter",
    "rack",
    "os",
    "arch",
    "team",
    "service",
    "service_version",
    "service_environment",
];

/// One row, as the generator shows it to its visitor.
pub(crate) struct Row<'a> {
    /// Values of [`TAGS`].
    pub(crate) tags: &'a [String; 10],
    /// Values of [`FIELDS`].
    pub(crate) fields: [u8; 10],
    /// ns since the Unix epoch.
    pub(crate) time_ns: i64,
    series: &'a [u8],
}

impl Row<'_> {
    /// Appends the row as a line of line protocol.
    pub(crate) fn write_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.series);
        for (field, value) in FIELDS.iter().zip(self.fields) {
            out.push(if *field == FIELDS[0] { b' ' } else { b',' });
            out.extend_from_slice(field.as_bytes());
            out.push(b'=');
            write_small(out, value);
            out.push(b'i');
        }
        // Writing to a Vec cannot fail.
        let _ = writeln!(out, " {}", self.time_ns);
    }

    /// Appends the row as a line of CSV: seconds since the Unix epoch, tags, fields.
    pub(crate) fn write_csv(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{}", self.time_ns / 1_000_000_000);
        for tag in self.tags {
            out.push(b',');
            out.extend_from_slice(tag.as_bytes());
        }
        for value in self.fields {
            out.push(b',');
            write_small(out, value);
        }
        out.push(b'\n');
    }
}

/// Shows every row in order of time, and within a time in order of host.
///
/// # Errors
/// What the visitor answers.
pub(crate) fn each_row<E>(
    workload: Workload,
    mut visit: impl FnMut(usize, Row<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut random = Random::new(workload.seed);
    let mut fleet: Vec<Host> = (0..workload.hosts).map(|id| Host::new(id, &mut random)).collect();
    for tick in 0..workload.ticks() {
        let time_ns = START_NS + (tick * STEP_S) as i64 * 1_000_000_000;
        for (place, host) in fleet.iter_mut().enumerate() {
            let fields = host.walks.map(|walk| walk as u8);
            visit(place, Row { tags: &host.tags, fields, time_ns, series: &host.series })?;
            for walk in &mut host.walks {
                *walk = (*walk + random.normal()).clamp(0.0, 100.0);
            }
        }
    }
    Ok(())
}

struct Host {
    tags: [String; 10],
    series: Vec<u8>,
    walks: [f64; 10],
}

impl Host {
    fn new(id: usize, random: &mut Random) -> Host {
        let (region, datacenters) = random.choice(&REGIONS);
        let tags = [
            format!("host_{id}"),
            (*region).to_owned(),
            format!("{region}{}", random.choice(datacenters)),
            random.below(100).to_string(),
            (*random.choice(&["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"])).to_owned(),
            (*random.choice(&["x64", "x86"])).to_owned(),
            (*random.choice(&["SF", "NYC", "LON", "CHI"])).to_owned(),
            random.below(20).to_string(),
            random.below(2).to_string(),
            (*random.choice(&["production", "staging", "test"])).to_owned(),
        ];
        let named = TAGS.iter().zip(&tags).map(|(name, value)| format!(",{name}={value}"));
        let series = format!("cpu{}", named.collect::<String>()).into_bytes();
        Host { tags, series, walks: std::array::from_fn(|_| random.unit() * 100.0) }
    }
}

const REGIONS: [(&str, &[&str]); 9] = [
    ("us-east-1", &["a", "b", "c", "e"]),
    ("us-west-1", &["a", "b"]),
    ("us-west-2", &["a", "b", "c"]),
    ("eu-west-1", &["a", "b", "c"]),
    ("eu-central-1", &["a", "b"]),
    ("ap-southeast-1", &["a", "b"]),
    ("ap-southeast-2", &["a", "b"]),
    ("ap-northeast-1", &["a", "c"]),
    ("sa-east-1", &["a", "b", "c"]),
];

fn write_small(out: &mut Vec<u8>, value: u8) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::UseCase;

    #[test]
    fn lines_are_line_protocol_in_order_of_time() {
        let workload = Workload { use_case: UseCase::Cpu, hosts: 2, hours: 1, seed: 5 };
        let mut text = String::new();
        let counts = workload.each_line(|line| {
            text.push_str(std::str::from_utf8(line)?);
            Ok::<(), std::str::Utf8Error>(())
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len() as u64, counts.unwrap().rows);
        for (place, line) in lines.iter().enumerate() {
            let parts: Vec<&str> = line.split(' ').collect();
            assert!(parts[0].starts_with(&format!("cpu,hostname=host_{},region=", place % 2)));
            assert_eq!(parts[1].split(',').count(), 10);
            assert!(parts[1].split(',').all(|field| field.ends_with('i')));
            let time_ns: i64 = parts[2].parse().unwrap();
            assert_eq!(time_ns, START_NS + (place as i64 / 2) * 10_000_000_000);
        }
    }

    #[test]
    fn small_numbers_read_back() {
        for value in 0..=u8::MAX {
            let mut out = Vec::new();
            write_small(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
