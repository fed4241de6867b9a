//! The questions: TSBS's devops queries, with random hosts and windows that start at random
//! nanoseconds. Every system is asked the same ones.

use crate::{
    random::Random,
    workload::{START_NS, Workload, cpu::FIELDS},
};

const HOUR_NS: i64 = 3_600_000_000_000;

/// A kind of question under the name that TSBS gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As TSBS writes it.
    pub(crate) name: &'static str,
    /// What is asked.
    pub(crate) shape: Shape,
}

/// What a kind asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Maximum a minute of some fields over some hosts together (single-groupby).
    MaxByMinute { fields: usize, hosts: usize, hours: i64 },
    /// Maximum an hour of all fields over some hosts together (cpu-max-all).
    MaxByHour { hosts: usize, hours: i64 },
    /// Mean an hour of some fields for each host (double-groupby).
    MeanByHourAndHost { fields: usize },
    /// All columns of the rows with usage_user above 90, of one host.
    HighOfOne,
    /// The same of all hosts.
    HighOfAll,
    /// All columns of the last row of every host.
    LastPoint,
    /// Maximum of usage_user in the last five minutes before a time that have rows.
    LastMinutes,
}

/// All kinds, in the order of the report.
pub(crate) const KINDS: [Kind; 16] = [
    by_minute("single-groupby-1-1-1", 1, 1, 1),
    by_minute("single-groupby-1-1-12", 1, 1, 12),
    by_minute("single-groupby-1-8-1", 1, 8, 1),
    by_minute("single-groupby-5-1-1", 5, 1, 1),
    by_minute("single-groupby-5-1-12", 5, 1, 12),
    by_minute("single-groupby-5-8-1", 5, 8, 1),
    by_hour("cpu-max-all-1", 1, 8),
    by_hour("cpu-max-all-8", 8, 8),
    by_hour("cpu-max-all-32-24", 32, 24),
    Kind { name: "double-groupby-1", shape: Shape::MeanByHourAndHost { fields: 1 } },
    Kind { name: "double-groupby-5", shape: Shape::MeanByHourAndHost { fields: 5 } },
    Kind { name: "double-groupby-all", shape: Shape::MeanByHourAndHost { fields: FIELDS.len() } },
    Kind { name: "high-cpu-1", shape: Shape::HighOfOne },
    Kind { name: "high-cpu-all", shape: Shape::HighOfAll },
    Kind { name: "lastpoint", shape: Shape::LastPoint },
    Kind { name: "groupby-orderby-limit", shape: Shape::LastMinutes },
];

/// One question of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// What is asked.
    pub(crate) shape: Shape,
    /// The hosts asked about; empty for all.
    pub(crate) hosts: Vec<String>,
    /// Start of the range, ns since the Unix epoch; `LastMinutes` and `LastPoint` have none.
    pub(crate) start_ns: i64,
    /// End of the range (not in it), ns since the Unix epoch; `LastPoint` has none.
    pub(crate) end_ns: i64,
    /// The time after the last rows of all, ns since the Unix epoch.
    pub(crate) data_end_ns: i64,
}

impl Shape {
    /// Length of the range asked about, ns.
    pub(crate) fn range_ns(self) -> i64 {
        let hours = match self {
            Shape::MaxByMinute { hours, .. } | Shape::MaxByHour { hours, .. } => hours,
            Shape::MeanByHourAndHost { .. } | Shape::HighOfOne | Shape::HighOfAll => 12,
            Shape::LastPoint => 0,
            Shape::LastMinutes => 1,
        };
        hours * HOUR_NS
    }

    /// The fields asked for, where not all columns are.
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Shape::MaxByMinute { fields, .. } | Shape::MeanByHourAndHost { fields } => {
                &FIELDS[..fields]
            }
            Shape::LastMinutes => &FIELDS[..1],
            _ => &FIELDS,
        }
    }

    /// How many hosts are asked about; 0 for all.
    pub(crate) fn hosts(self) -> usize {
        match self {
            Shape::MaxByMinute { hosts, .. } | Shape::MaxByHour { hosts, .. } => hosts,
            Shape::HighOfOne => 1,
            _ => 0,
        }
    }
}

impl Kind {
    /// So many questions of this kind; none if the data is shorter than the range or has too few
    /// hosts.
    pub(crate) fn questions(self, workload: Workload, count: usize) -> Vec<Question> {
        let data_end_ns = workload.end_ns();
        let latest_ns = data_end_ns - self.shape.range_ns();
        if latest_ns <= START_NS || self.shape.hosts() > workload.hosts {
            return Vec::new();
        }
        // A seed for each kind: leaving one out changes no other.
        let name = self
            .name
            .bytes()
            .fold(0u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut random = Random::new(workload.seed ^ name);
        let mut question = || {
            let picked = random.subset(self.shape.hosts(), workload.hosts);
            let start_ns = START_NS + random.below((latest_ns - START_NS) as u64) as i64;
            Question {
                shape: self.shape,
                hosts: picked.into_iter().map(|id| format!("host_{id}")).collect(),
                start_ns,
                end_ns: start_ns + self.shape.range_ns(),
                data_end_ns,
            }
        };
        (0..count).map(|_| question()).collect()
    }
}

const fn by_minute(name: &'static str, fields: usize, hosts: usize, hours: i64) -> Kind {
    Kind { name, shape: Shape::MaxByMinute { fields, hosts, hours } }
}

const fn by_hour(name: &'static str, hosts: usize, hours: i64) -> Kind {
    Kind { name, shape: Shape::MaxByHour { hosts, hours } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::UseCase;

    #[test]
    fn ranges_lie_within_the_data_and_repeat_with_the_seed() {
        let workload = Workload { use_case: UseCase::Cpu, hosts: 100, hours: 72, seed: 9 };
        for kind in KINDS {
            let questions = kind.questions(workload, 20);
            assert_eq!(questions.len(), 20);
            assert_eq!(questions, kind.questions(workload, 20));
            for question in &questions {
                assert!(question.start_ns >= START_NS && question.end_ns <= workload.end_ns());
                assert_eq!(question.hosts.len(), kind.shape.hosts());
            }
        }
    }

    #[test]
    fn a_range_longer_than_the_data_is_not_asked() {
        let workload = Workload { use_case: UseCase::Cpu, hosts: 10, hours: 6, seed: 9 };
        assert!(KINDS[1].questions(workload, 5).is_empty());
        assert_eq!(KINDS[0].questions(workload, 5).len(), 5);
        assert!(KINDS[8].questions(Workload { hours: 72, ..workload }, 5).is_empty());
    }
}
