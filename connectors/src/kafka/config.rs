//! librdkafka's configuration out of a connector's.

use super::tokens;
use crate::{Error, Result, connector::Common};
use oribi_decode::mapping::TopicStyle;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError};
use std::{collections::BTreeMap, path::PathBuf};

/// Options that no entry may set: the connector's promises rest on them, or they would run foreign
/// code. A name that ends in a dot stands for the whole family.
const OWNED: [(&str, &str); 16] = [
    ("bootstrap.servers", "url says where the brokers are"),
    ("metadata.broker.list", "url says where the brokers are"),
    ("auto.commit.enable", "offsets are committed once the rows are stored"),
    ("request.required.acks", "a sink waits for all replicas"),
    ("transactional.id", "a sink has no transactions"),
    ("delivery.report.only.error", "a sink counts every confirmation"),
    ("plugin.", "only code of the connector itself runs in it"),
    ("ssl.engine.", "only code of the connector itself runs in it"),
    ("ssl.providers", "only code of the connector itself runs in it"),
    ("sasl.kerberos.kinit.cmd", "a connector starts no programs"),
    ("enable.auto.commit", "offsets are committed once the rows are stored"),
    ("enable.auto.offset.store", "offsets are committed once the rows are stored"),
    ("auto.offset.reset", "a connector goes on where it was, or begins with the first record"),
    ("enable.partition.eof", "the end of a partition is no event"),
    ("enable.idempotence", "a sink is always idempotent"),
    ("acks", "a sink waits for all replicas"),
];

/// Options of librdkafka by its own names.
type Options = BTreeMap<String, String>;

/// The configuration of a consumer.
///
/// # Errors
/// [`Error::Config`] names the option.
pub(crate) fn consumer(common: &Common, options: &Options) -> Result<ClientConfig> {
    let mut config = shared(common, options)?;
    let group_id = format!("oribi-{}", common.name);
    let defaults = [
        ("group.id", group_id.as_str()),
        ("check.crcs", "true"),
        // librdkafka's own second would stop a fast reader again and again.
        ("fetch.queue.backoff.ms", "10"),
        // What was read ahead lies in memory for as long as rows have to wait; KiB and bytes.
        ("queued.max.messages.kbytes", "16384"),
        ("fetch.max.bytes", "16777216"),
        // A new topic of a regular expression, or a new partition, would wait for five minutes.
        ("topic.metadata.refresh.interval.ms", "10000"),
    ];
    // A member that was killed holds its partitions for so long. In the new protocol (KIP-848) the
    // broker says how long that is, and librdkafka refuses a member that says so itself.
    let classic = [("session.timeout.ms", "10000"), ("heartbeat.interval.ms", "1000")];
    let is_classic = config.get("group.protocol") != Some("consumer");
    let classic = classic.into_iter().filter(|_| is_classic);
    for (name, value) in defaults.into_iter().chain(classic) {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    Ok(config)
}

/// The configuration of a producer.
///
/// # Errors
/// [`Error::Config`] names the option.
pub(crate) fn producer(common: &Common, options: &Options) -> Result<ClientConfig> {
    let mut config = shared(common, options)?;
    for (name, value) in [("linger.ms", "10"), ("compression.type", "lz4")] {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    config.set("enable.idempotence", "true").set("acks", "all");
    Ok(config)
}

/// The options of an entry, each checked. `key` is how the configuration calls the entry.
///
/// # Errors
/// [`Error::Config`] names the option and what was expected.
pub(crate) fn options(given: &Options, key: &str) -> Result<ClientConfig> {
    tokens::check(given, key)?;
    let mut config = ClientConfig::new();
    for (name, value) in given.iter().filter(|(name, _)| !tokens::is_own(name)) {
        let wrong = |reason: String| Err(Error::config(format!("{key}.options.{name}"), reason));
        if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| is_named(owned, name)) {
            return wrong(format!("it is not yours to set: {reason}"));
        }
        config.set(name, value);
        // librdkafka says itself which option it does not know, and what a value should be.
        match config.create_native_config() {
            Ok(_) => {}
            Err(KafkaError::ClientConfig(_, reason, ..)) => return wrong(reason),
            Err(other) => return wrong(other.to_string()),
        }
    }
    Ok(config)
}

fn shared(common: &Common, given: &Options) -> Result<ClientConfig> {
    let mut config = options(given, "connector")?;
    // What it would log it also reports as errors, which stand in the connector's status.
    config.set_log_level(RDKafkaLogLevel::Emerg);
    let hosts = common.addresses(TopicStyle::Kafka, "connector")?.hosts;
    let hosts: Vec<String> = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    config.set("bootstrap.servers", hosts.join(","));
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let members = [
        ("client.id", Some(format!("oribi-{}", common.name))),
        ("sasl.username", common.username.clone()),
        ("sasl.password", common.secret()?),
        ("ssl.ca.location", path(&common.ca_file)),
        ("ssl.certificate.location", path(&common.cert_file)),
        ("ssl.key.location", path(&common.key_file)),
    ];
    for (name, value) in members {
        if let (None, Some(value)) = (config.get(name), value) {
            config.set(name, value);
        }
    }
    Ok(config)
}

fn is_named(owned: &str, name: &str) -> bool {
    if owned.ends_with('.') { name.starts_with(owned) } else { name == owned }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(options: &str) -> Result<ClientConfig> {
        let common: Common = toml::from_str("name = \"s\"\nurl = \"kafka://a,b:1\"").unwrap();
        consumer(&common, &toml::from_str(options).unwrap())
    }

    #[test]
    fn options_are_checked_by_name_and_value() {
        let config = configured("\"group.id\" = \"mine\"\n\"session.timeout.ms\" = \"7000\"");
        let config = config.unwrap();
        assert_eq!(config.get("bootstrap.servers"), Some("a:9092,b:1"));
        assert_eq!(config.get("group.id"), Some("mine"));
        let usual = configured("").unwrap();
        assert_eq!(usual.get("group.id"), Some("oribi-s"));
        assert_eq!(usual.get("queued.max.messages.kbytes"), Some("16384"));
        for (options, part) in [
            ("\"enable.auto.commit\" = \"true\"", "options.enable.auto.commit"),
            (
                "\"ssl.engine.location\" = \"/x.so\"",
                "connector.options.ssl.engine.location: it is not yours",
            ),
            ("\"plugin.any\" = \"/x.so\"", "options.plugin.any: it is not yours"),
            ("\"no.such.option\" = \"1\"", "no.such.option"),
            ("\"session.timeout.ms\" = \"soon\"", "session.timeout.ms"),
        ] {
            let wrong = configured(options).err().unwrap().to_string();
            assert!(wrong.contains(part), "{wrong}");
        }
    }
}
