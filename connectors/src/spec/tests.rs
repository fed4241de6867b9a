use super::*;
use crate::connector::Transport;
use oribi_decode::mapping::TopicStyle;

fn spec(text: &str) -> ConnectorSpec {
    toml::from_str(text).unwrap()
}

#[test]
fn one_shape_in_toml_and_json() {
    let text = r#"
        name = "plant"
        kind = "mqtt"
        url = "mqtts://broker"
        username = "u"
        password = "hidden"
        [[routes]]
        topics = ["a/+"]
        table = "t"
    "#;
    let spec = spec(text);
    spec.validate("connectors[0]").unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert!(!json.contains("hidden"), "{json}");
    assert!(!format!("{:?}", spec.common.password).contains("hidden"));
    let back: ConnectorSpec = serde_json::from_str(&json).unwrap();
    assert_eq!(back.describe().routes, spec.describe().routes);
    let addresses = spec.common.addresses(TopicStyle::Mqtt, "c").unwrap();
    assert_eq!(addresses.hosts, [("broker".to_owned(), 8883)]);
    assert_eq!(addresses.transport, Transport::Tls);
}

#[test]
fn secrets_among_options_do_not_show() {
    let text = r#"
        name = "stream"
        kind = "kafka"
        url = "kafka://broker"
        options = { "sasl.password" = "hidden", "client.id" = "x" }
        routes = [{ topics = ["rows"] }]
    "#;
    let spec = spec(text);
    spec.validate("connectors[0]").unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert!(!json.contains("hidden") && json.contains("\"client.id\":\"x\""), "{json}");
}

#[test]
fn what_cannot_be_is_refused_by_key() {
    let base = "name = \"n\"\nkind = \"mqtt\"\nurl = \"mqtt://h\"\n[[routes]]\ntopics = [\"a\"]\n";
    for (from, to, key) in [
        ("name = \"n\"", "name = \"\"", "name"),
        ("mqtt://h", "http://h", "url"),
        ("mqtt://h", "mqtt://u:p@h", "url"),
        ("mqtt://h", "mqtt://h:x", "url"),
        ("mqtt://h", "mqtt://a,b", "url"),
        ("mqtt://h", "mqtt://", "url"),
        ("url =", "qos = 3\nurl =", "qos"),
        ("url =", "message_bytes_max = 0\nurl =", "message_bytes_max"),
        ("url =", "cert_file = \"x\"\nurl =", "key_file"),
        ("topics = [\"a\"]", "pattern = \"a\"", "routes"),
        ("topics = [\"a\"]", "topics = [\"a/#/b\"]", "routes[0].topics"),
    ] {
        let text = base.replace(from, to);
        let wrong = spec(&text).validate("connectors[1]").unwrap_err().to_string();
        assert!(wrong.contains(&format!("connectors[1].{key}:")), "{text}: {wrong}");
    }
    assert!(toml::from_str::<ConnectorSpec>(&base.replace("url", "uri")).is_err());
}

#[test]
fn what_belongs_to_other_kinds_is_refused_and_said_to_be_theirs() {
    let base = "name = \"n\"\nkind = \"mqtt\"\nurl = \"mqtt://h\"\n[[routes]]\ntopics = [\"a\"]\n";
    for (from, to, expected) in [
        ("\"mqtt\"", "\"mqtt_sink\"", "routes: mqtt_sink has none; it belongs to mqtt and kafka"),
        (
            "url =",
            "feeds = [{ table = \"t\", topic = \"t\" }]\nurl =",
            "feeds: mqtt has none; it belongs to kafka_sink and mqtt_sink",
        ),
        (
            "url =",
            "options = { \"linger.ms\" = \"1\" }\nurl =",
            "options: mqtt has none; it belongs to kafka and kafka_sink",
        ),
        ("\"mqtt\"", "\"kafka\"\nqos = 1", "qos: kafka has none; it belongs to mqtt"),
        (
            "\"mqtt\"",
            "\"smoke\"",
            "kind: \"smoke\" is none; expected mqtt, kafka, kafka_sink, mqtt_sink",
        ),
        ("kind = \"mqtt\"\n", "", "missing field `kind`"),
        ("kind =", "colour = 1\nkind =", "unknown field `colour`"),
        ("url =", "qos = \"high\"\nurl =", "qos: invalid type"),
        ("url =", "username = 7\nurl =", "username: invalid type"),
        ("topics =", "colour = 1\ntopics =", "routes: unknown field `colour`"),
        ("url = \"mqtt://h\"\n", "", "missing field `url`"),
    ] {
        let text = base.replace(from, to);
        let in_toml = toml::from_str::<ConnectorSpec>(&text).unwrap_err().to_string();
        assert!(in_toml.contains(expected), "{text}: {in_toml}");
        let json: serde_json::Value = toml::from_str(&text).unwrap();
        let in_json = serde_json::from_str::<ConnectorSpec>(&json.to_string()).unwrap_err();
        assert!(in_json.to_string().contains(expected), "{text}: {in_json}");
    }
    let nothing = r#"{"name":"n","kind":"mqtt","url":"mqtt://h","client_id":null,"start":null}"#;
    assert!(serde_json::from_str::<ConnectorSpec>(nothing).is_ok());
    let twice = r#"{"name":"n","kind":"mqtt","url":"mqtt://h","url":"mqtt://i"}"#;
    let wrong = serde_json::from_str::<ConnectorSpec>(twice).unwrap_err().to_string();
    assert!(wrong.contains("duplicate field `url`"), "{wrong}");
}
