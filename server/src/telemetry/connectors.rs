//! Figures of connectors.

use super::page::Page;
use oribi_connectors::{
    Described, Shown,
    connector::{PartitionLag, State},
};
use prometheus_client::encoding::EncodeLabelSet;
use std::fmt;

/// All states, and how figures call them.
const STATES: [(State, &str); 7] = [
    (State::Starting, "starting"),
    (State::Running, "running"),
    (State::Retrying, "retrying"),
    (State::Paused, "paused"),
    (State::Elsewhere, "elsewhere"),
    (State::Failed, "failed"),
    (State::Sealed, "sealed"),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    connector: String,
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    connector: String,
    kind: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    connector: String,
    topic: String,
    partition: i32,
}

impl Labels {
    fn of(described: &Described) -> Labels {
        match &described.shown {
            Shown::Spec(spec) => {
                Labels { connector: spec.name().to_owned(), kind: spec.kind().to_owned() }
            }
            Shown::Unreadable { name, kind, .. } => {
                Labels { connector: name.clone(), kind: kind.clone() }
            }
        }
    }

    fn with_state(&self, state: &'static str) -> StateLabels {
        StateLabels { connector: self.connector.clone(), kind: self.kind.clone(), state }
    }

    fn with_partition(&self, lag: &PartitionLag) -> PartitionLabels {
        let (connector, topic) = (self.connector.clone(), lag.topic.clone());
        PartitionLabels { connector, topic, partition: lag.partition }
    }
}

/// Writes the figures of all connectors.
pub(super) fn encode(all: &[Described], page: &mut Page<'_>) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    let all: Vec<(Labels, &Described)> = all.iter().map(|one| (Labels::of(one), one)).collect();
    let states = all.iter().flat_map(|(labels, one)| {
        let is_now = |state: State| u64::from(one.state == state);
        STATES.map(|(state, name)| (labels.with_state(name), is_now(state)))
    });
    page.gauges("oribi_connector_state", "1 for the state that a connector has", states)?;
    type Figure = (&'static str, &'static str, fn(&Described) -> u64);
    let counters: [Figure; 7] = [
        ("oribi_connector_messages", "Messages taken in or passed on", |one| one.messages),
        ("oribi_connector_rows", "Rows stored or passed on", |one| one.rows),
        ("oribi_connector_dead_letters", "Messages that became dead letters", |one| {
            one.dead_letters
        }),
        ("oribi_connector_skipped_messages", "Messages passed over on purpose", |one| one.skipped),
        ("oribi_connector_message_bytes", "Bytes of messages", |one| one.bytes),
        ("oribi_connector_missed_records", "Records gone from the broker unread", |one| one.gaps),
        ("oribi_connector_restarts", "Starts after a failure", |one| one.restarts),
    ];
    for (name, help, figure) in counters {
        page.counters(name, help, all.iter().map(|(labels, one)| (labels.clone(), figure(one))))?;
    }
    let in_flight = all.iter().map(|(labels, one)| (labels.clone(), one.in_flight));
    let help = "Messages that wait to be stored or acked";
    page.gauges("oribi_connector_in_flight_messages", help, in_flight)?;
    let succeeded =
        all.iter().filter_map(|(labels, one)| Some((labels.clone(), one.last_success_ms? / 1_000)));
    let help = "When something was stored or confirmed last, since the Unix epoch";
    page.gauges("oribi_connector_last_success_timestamp_seconds", help, succeeded)?;
    let lags = all.iter().flat_map(|(labels, one)| {
        one.partitions.iter().map(|lag| (labels.with_partition(lag), lag.lag))
    });
    let help = "Records that the broker has and the connector has not";
    page.gauges("oribi_connector_lag_records", help, lags)
}
