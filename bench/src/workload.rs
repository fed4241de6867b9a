//! The data: what is made from a seed, line by line.

pub(crate) mod cpu;
mod iot;
mod late;

/// The time of the first rows: 2016-01-01T00:00:00Z, in ns since the Unix epoch.
pub(crate) const START_NS: i64 = 1_451_606_400_000_000_000;

const STEP_S: u64 = 10;

/// What sort of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum UseCase {
    /// TSBS's cpu-only: machines that report ten integers, complete and in order of time.
    Cpu,
    /// TSBS's iot: trucks that report two tables; cells, tags and rows are absent, rows are late.
    Iot,
    /// Devices whose rows arrive in no order at all, from 90 days.
    Late,
}

/// How much data, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub(crate) struct Workload {
    /// What sort of data.
    #[arg(long, value_enum, default_value_t = UseCase::Cpu)]
    pub(crate) use_case: UseCase,
    /// Machines, trucks or devices that report.
    #[arg(long, default_value_t = 100)]
    pub(crate) hosts: usize,
    /// Hours of data, one row a host and table every ten seconds.
    #[arg(long, default_value_t = 72)]
    pub(crate) hours: u64,
    /// The same seed gives the same data and the same questions.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What lines hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Lines.
    pub(crate) rows: u64,
    /// Different keys (table, tags and time) among them: a store that replaces rows holds as many.
    pub(crate) keys: u64,
    /// Field values.
    pub(crate) metrics: u64,
}

impl Workload {
    /// The tables that the lines name.
    pub(crate) fn tables(&self) -> &'static [&'static str] {
        match self.use_case {
            UseCase::Cpu => &["cpu"],
            UseCase::Iot => &iot::TABLES,
            UseCase::Late => &["late"],
        }
    }

    /// The time after the last rows that are in order, ns since the Unix epoch.
    pub(crate) fn end_ns(&self) -> i64 {
        START_NS + (self.ticks() * STEP_S) as i64 * 1_000_000_000
    }

    /// Shows every line of line protocol, with its end, in the order in which they are sent.
    ///
    /// # Errors
    /// What the visitor answers.
    pub(crate) fn each_line<E>(
        &self,
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Counts, E> {
        match self.use_case {
            UseCase::Iot => iot::each_line(*self, visit),
            UseCase::Late => late::each_line(*self, visit),
            UseCase::Cpu => {
                let mut line = Vec::with_capacity(512);
                cpu::each_row(*self, |_, row| {
                    line.clear();
                    row.write_line(&mut line);
                    visit(&line)
                })?;
                let rows = self.ticks() * self.hosts as u64;
                Ok(Counts { rows, keys: rows, metrics: rows * cpu::FIELDS.len() as u64 })
            }
        }
    }

    fn ticks(&self) -> u64 {
        self.hours * 3600 / STEP_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [UseCase; 3] = [UseCase::Cpu, UseCase::Iot, UseCase::Late];

    fn lines(workload: Workload) -> (String, Counts) {
        let mut out = Vec::new();
        let counts = workload.each_line(|line| {
            out.extend_from_slice(line);
            Ok::<(), ()>(())
        });
        (String::from_utf8(out).unwrap(), counts.unwrap())
    }

    #[test]
    fn a_seed_decides_every_byte() {
        for use_case in CASES {
            let workload = Workload { use_case, hosts: 3, hours: 1, seed: 5 };
            assert_eq!(lines(workload), lines(workload));
            assert_ne!(lines(workload).0, lines(Workload { seed: 6, ..workload }).0);
        }
    }

    #[test]
    fn counts_are_those_of_the_lines() {
        for use_case in CASES {
            let workload = Workload { use_case, hosts: 20, hours: 6, seed: 1 };
            let (text, counts) = lines(workload);
            let mut keys = std::collections::HashSet::new();
            let mut metrics = 0;
            for line in text.lines() {
                let parts: Vec<&str> = line.split(' ').collect();
                let [series, fields, time] = parts[..] else { panic!("{line}") };
                let table = series.split(',').next().unwrap();
                assert!(workload.tables().contains(&table), "{line}");
                metrics += fields.split(',').count() as u64;
                keys.insert((series, time));
            }
            let found = (text.lines().count() as u64, keys.len() as u64, metrics);
            assert_eq!(found, (counts.rows, counts.keys, counts.metrics), "{use_case:?}");
        }
    }
}
