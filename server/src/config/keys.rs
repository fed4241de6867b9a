//! The keys that exist, taken from the types that are configured.

use super::{
    AuditOptions, AuthOptions, ClusterOptions, Config, HttpOptions, SecretsOptions, TlsOptions,
};
use oribi_cluster::NodeOptions;
use oribi_connectors::{
    ConnectorSpec, FeedSpec, MqttListenerOptions, RouteSpec, connector::members_of,
};
use oribi_ingest::IngestOptions;
use oribi_query::QueryOptions;
/// Keys whose values are text, so that `ORIBI_DATA_DIR=7` names a folder.
pub(super) const TEXT_KEYS: [&str; 17] = [
    "data_dir",
    "http_listen",
    "mqtt_listen",
    "mqtts_listen",
    "node_listen",
    "log",
    "cluster.advertise",
    "cluster.join_secret_file",
    "auth.mode",
    "auth.admin_token_file",
    "secrets.key_file",
    "tls.cert_file",
    "tls.key_file",
    "tls.min_version",
    "tls.client_certificates",
    "tls.client_ca_file",
    "tls.client_crl_file",
];

/// The keys of one section; `""` is the top level, `mqtt.topics` an element of that list.
pub(super) fn of_section(section: &str) -> Option<&'static [&'static str]> {
    Some(match section {
        "" => members_of::<Config>(),
        "audit" => members_of::<AuditOptions>(),
        "auth" => members_of::<AuthOptions>(),
        "tls" => members_of::<TlsOptions>(),
        "secrets" => members_of::<SecretsOptions>(),
        "cluster" => members_of::<ClusterOptions>(),
        "storage" => members_of::<NodeOptions>(),
        "ingest" => members_of::<IngestOptions>(),
        "http" => members_of::<HttpOptions>(),
        "mqtt" => members_of::<MqttListenerOptions>(),
        "mqtt.topics" => members_of::<RouteSpec>(),
        "query" => members_of::<QueryOptions>(),
        "connectors" => members_of::<ConnectorSpec>(),
        "connectors.routes" => members_of::<RouteSpec>(),
        "connectors.feeds" => members_of::<FeedSpec>(),
        _ => return None,
    })
}

/// All keys that hold a value, as `section.key`.
pub(super) fn all() -> Vec<String> {
    let mut keys = Vec::new();
    // Lists of tables have no single value that a flag or variable could set.
    let single = |key: &&&str| **key != "connectors";
    for key in of_section("").unwrap_or_default().iter().filter(single) {
        match of_section(key) {
            Some(inner) => keys.extend(inner.iter().map(|inner| format!("{key}.{inner}"))),
            None => keys.push((*key).to_owned()),
        }
    }
    keys
}

/// What to say about a key that does not exist: the key, and the nearest one that does.
pub(super) fn unknown(key: &str) -> String {
    let mut known = all();
    for list in ["mqtt.topics", "connectors", "connectors.routes", "connectors.feeds"] {
        let keys = of_section(list).unwrap_or_default();
        known.extend(keys.iter().map(|key| format!("{list}.{key}")));
    }
    known.extend(
        [
            "audit",
            "auth",
            "tls",
            "secrets",
            "cluster",
            "storage",
            "ingest",
            "http",
            "mqtt",
            "query",
            "connectors",
        ]
        .map(str::to_owned),
    );
    match known.iter().min_by_key(|other| distance(key, other)) {
        Some(nearest) => format!("the key {key:?} is not known; the nearest is {nearest:?}"),
        None => format!("the key {key:?} is not known"),
    }
}

/// How far a key is from what was written: by its whole path, or by its last part alone.
fn distance(written: &str, key: &str) -> usize {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let (end, key_end) = (last(written), last(key));
    let by_end = if !end.is_empty() && key_end.contains(&end) {
        1
    } else {
        strsim::damerau_levenshtein(&end, &key_end) + 1
    };
    let section = usize::from(written.split('.').next() != key.split('.').next());
    strsim::damerau_levenshtein(written, key).min(by_end + section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_types_and_stand_in_the_documentation() {
        let keys = all();
        assert!(keys.contains(&"storage.memtable_bytes_max".to_owned()));
        assert!(keys.contains(&"data_dir".to_owned()));
        let page = include_str!("../../../docs/configuration.md");
        for key in keys {
            let name = key.rsplit('.').next().unwrap_or_default();
            assert!(page.contains(&format!("| `{name}`")), "docs/configuration.md lacks {key}");
        }
    }

    #[test]
    fn an_unknown_key_gets_its_nearest() {
        let cases = [
            ("storage.memtable_byte_max", "storage.memtable_bytes_max"),
            ("memtable_bytes_max", "storage.memtable_bytes_max"),
            ("http_lisen", "http_listen"),
            ("http.ratio", "http.ratio_max"),
            ("query.body_bytes_max", "http.body_bytes_max"),
            ("mqqt", "mqtt"),
            ("mqtt.topics.patern", "mqtt.topics.pattern"),
        ];
        for (wrong, right) in cases {
            let text = unknown(wrong);
            assert!(text.contains(&format!("{wrong:?}")) && text.contains(right), "{text}");
        }
    }
}
