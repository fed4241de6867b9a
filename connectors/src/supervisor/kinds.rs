//! Where a kind becomes something that runs.

use crate::{
    Result,
    connector::{ConnectorSpec, Kind, RunContext},
    kafka_source, mqtt_source, sink,
};

/// Runs a connector until its context says stop, or something goes wrong.
pub(super) async fn run(spec: &ConnectorSpec, context: &RunContext) -> Result<()> {
    match spec.kind {
        Kind::Mqtt => mqtt_source::run(spec, context).await,
        Kind::Kafka => kafka_source::run(spec, context).await,
        Kind::KafkaSink | Kind::MqttSink => sink::run(spec, context).await,
    }
}
