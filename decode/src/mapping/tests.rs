//! Routes end to end: a message in, rows out.

mod looks;

use super::*;
use crate::{
    Fault, MessageDecoder, OpenRows,
    testing::{arrival, places, sample},
};
use oribi_model::{Points, Value};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

fn decoder(routes: &str, style: TopicStyle) -> MessageDecoder {
    #[derive(serde::Deserialize)]
    struct File {
        routes: Vec<RouteSpec>,
    }
    let file: File = toml::from_str(routes).unwrap();
    let routes = Routes::new(&file.routes, style, &places(), "routes").unwrap();
    MessageDecoder::new(Arc::new(routes), Arc::default(), arrival(), i64::MAX / 2)
}

/// Each row as `db.table tag=value,… time field=value,…`, and what could not be decoded.
fn rows(decoder: &mut MessageDecoder, messages: &[Message<'_>]) -> Vec<String> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let mut open = OpenRows::new(NUMBER.fetch_add(1, Ordering::Relaxed));
    let read = |message| decoder.decode(&mut open, message, 0).err();
    let faults: Vec<Fault> = messages.iter().filter_map(read).collect();
    let mut shown: Vec<String> = open.tables.finish().iter().flat_map(show).collect();
    shown.extend(faults.iter().map(|fault| format!("{:?}", fault.reason)));
    shown
}

fn show(points: &Points) -> Vec<String> {
    let row = |row: usize| {
        let series = points.row_series[row] as usize;
        let mut tags: Vec<String> =
            points.tags_of(series).map(|(name, value)| format!("{name}={value}")).collect();
        tags.sort();
        let mut fields: Vec<String> = points
            .fields
            .iter()
            .filter_map(|field| {
                let odd = field.odd.iter().find(|(at, _)| *at as usize == row);
                let value =
                    odd.map(|(_, value)| value.clone()).or_else(|| field.values.get(row))?;
                let value = match value {
                    Value::Int(value) => value.to_string(),
                    Value::Float(value) => format!("{value:?}"),
                    Value::Bool(value) => value.to_string(),
                    Value::Text(value) => format!("{value:?}"),
                };
                Some(format!("{}={value}", field.name))
            })
            .collect();
        fields.sort();
        let (db, table) = (points.db.as_str(), points.table.as_str());
        let (tags, fields) = (tags.join(","), fields.join(","));
        format!("{db}.{table} {tags} {} {fields}", points.times[row])
    };
    (0..points.rows()).map(row).collect()
}

#[test]
fn the_example_of_the_documentation() {
    let mut decoder = decoder(
        r#"
        [[routes]]
        topics = ["site/+/dev/+"]
        pattern = "site/{site}/dev/{device}"
        decoder = "json"
        table = "sensors"
        tags = { plant = "=north", model = "$.info.model" }
        fields = { temp = "$.t" }
        time = "$.ts"
        time_unit = "ms"
        "#,
        TopicStyle::Mqtt,
    );
    let payload = br#"[{"t":21.5,"x":1,"info":{"model":"m7"},"ts":1700000000000},{"t":22,"ts":1}]"#;
    assert_eq!(
        rows(&mut decoder, &[Message::new("site/a/dev/b", payload)]),
        [
            "default.sensors device=b,model=m7,plant=north,site=a 1700000000000000000 temp=21.5",
            "default.sensors device=b,plant=north,site=a 1000000 temp=22",
        ]
    );
    assert_eq!(
        rows(&mut decoder, &[Message::new("site/a/dev/b", br#"{"t":1}"#)]),
        ["Time"],
        "a row without the time that the route names is refused"
    );
}

#[test]
fn what_became_tag_or_time_is_no_field() {
    for (tags, time) in [
        // Read as it streams.
        (r#"{ device = "$.device" }"#, "$.when"),
        // Read as a tree, since a tag has another name.
        (r#"{ device = "$.device", place = "$.site" }"#, "$.when"),
    ] {
        let routes = format!(
            "[[routes]]\ntopics = [\"rows\"]\ndecoder = \"json\"\ntable = \"t\"\ntags = {tags}\ntime = \"{time}\"\n"
        );
        let mut decoder = decoder(&routes, TopicStyle::Kafka);
        let payload = br#"{"device":"d1","when":"2024-01-01T00:00:00Z","v":1,"deep":{"w":[2,3]}}"#;
        assert_eq!(
            rows(&mut decoder, &[Message::new("rows", payload)]),
            ["default.t device=d1 1704067200000000000 deep_w_0=2,deep_w_1=3,v=1"],
            "{tags}"
        );
    }
}

#[test]
fn kafka_records_have_keys_headers_and_times() {
    let message = Message {
        topic: "plant-north",
        payload: br#"{"v":1}"#,
        key: Some(b"k1"),
        headers: &[("source", b"s1")],
        time_ns: Some(1_700_000_000_000_000_042),
        partition: None,
    };
    let mut by_default = decoder("routes = []", TopicStyle::Kafka);
    assert_eq!(
        rows(&mut by_default, &[message]),
        ["default.plant-north key=k1 1700000000000000042 v=1"]
    );
    let binary_key = Message { key: Some(b"\xff"), ..message };
    assert_eq!(
        rows(&mut by_default, &[binary_key]),
        ["default.plant-north  1700000000000000042 v=1"]
    );
    let mut mapped = decoder(
        r#"
        [[routes]]
        topics = ["^plant-(?<plant>.*)$"]
        db = "plants"
        table = "rows_{plant}"
        tags = { id = "$key", source = "$header.source", none = "$header.none" }
        "#,
        TopicStyle::Kafka,
    );
    assert_eq!(
        rows(&mut mapped, &[message]),
        ["plants.rows_north id=k1,source=s1 1700000000000000042 v=1"]
    );
    let lines = Message { payload: b"m,a=b x=1\nm,a=b x=2", ..message };
    assert_eq!(
        rows(&mut mapped, &[lines]),
        ["plants.m a=b 1700000000000000042 x=1.0", "plants.m a=b 1700000000000000043 x=2.0"]
    );
}

#[test]
fn rows_without_a_time_never_meet_whatever_the_format() {
    const RECORD: i64 = 1_700_000_000_000_000_000;
    let events = br#"[{"specversion":"1.0","source":"s","data":{"v":1}},{"specversion":"1.0","source":"s","data":{"v":2}}]"#;
    for (route, payload) in [
        ("decoder = \"json\"", &br#"[{"v":1},{"v":2}]"#[..]),
        ("decoder = \"json\"", b"{\"v\":1}\n{\"v\":2}\n"),
        ("decoder = \"json\"\nfields = { v = \"$.v\" }", b"{\"v\":1}\n{\"v\":2}"),
        ("decoder = \"auto\"", b"{\"v\":1}\n{\"v\":2}"),
        ("decoder = \"auto\"", b"t,a=b v=1i\nt,a=b v=2i"),
        ("decoder = \"line_protocol\"", b"t v=1i\nt v=2i"),
        ("decoder = \"csv\"", b"v\n1\n2\n"),
        ("decoder = \"msgpack\"", b"\x92\x81\xa1v\x01\x81\xa1v\x02"),
        ("preset = \"cloudevents\"", events),
    ] {
        let routes = format!("[[routes]]\ntopics = [\"t\"]\ntable = \"t\"\n{route}\n");
        let mut decoder = decoder(&routes, TopicStyle::Kafka);
        let mut keys = std::collections::BTreeSet::new();
        for partition in 0..3 {
            let time_ns = Some(RECORD);
            let message =
                Message { time_ns, partition: Some(partition), ..Message::new("t", payload) };
            let first = rows(&mut decoder, &[message]);
            assert_eq!(first.len(), 2, "{route}: {first:?}");
            assert_eq!(rows(&mut decoder, &[message]), first, "{route}: another time");
            keys.extend(first.iter().map(|row| row.rsplit_once(' ').unwrap().0.to_owned()));
        }
        assert_eq!(keys.len(), 6, "{route}: {keys:?}");
    }
}

#[test]
fn no_series_without_rows_comes_along() {
    let routes = "[[routes]]\ntopics = [\"t\"]\ntags = { plant = \"=north\" }\n";
    let mut decoder = decoder(routes, TopicStyle::Kafka);
    let (time_ns, partition) = (Some(5), Some(7));
    let message = Message { time_ns, partition, ..Message::new("t", br#"{"v":1}"#) };
    let mut open = OpenRows::new(u64::MAX);
    decoder.decode(&mut open, &message, 0).unwrap();
    let points = open.tables.finish();
    assert_eq!(points[0].series.len(), 1);
}

#[test]
fn rows_with_a_time_of_their_own_have_no_tag_of_their_partition() {
    let mut decoder = decoder("routes = []", TopicStyle::Kafka);
    let payload = br#"[{"v":1,"time":1700000000},{"v":2}]"#;
    let (time_ns, partition) = (Some(5), Some(7));
    let message = Message { time_ns, partition, ..Message::new("t", payload) };
    assert_eq!(
        rows(&mut decoder, &[message]),
        ["default.t  1700000000000000000 v=1", "default.t kafka_partition=7 5 v=2"]
    );
}

#[test]
fn binary_formats_give_the_rows_of_their_json() {
    let routes = |decoder: &str| {
        format!("[[routes]]\npattern = \"s/{{device}}\"\ntable = \"t\"\ndecoder = \"{decoder}\"\n")
    };
    // {"time": 1700000000, "t": 21.5, "deep": {"ok": true}}
    let msgpack = b"\x83\xa4time\xce\x65\x53\xf1\x00\xa1t\xcb@5\x80\x00\x00\x00\x00\x00\xa4deep\x81\xa2ok\xc3";
    let cbor = b"\xa3\x64time\x1a\x65\x53\xf1\x00\x61t\xfb@5\x80\x00\x00\x00\x00\x00\x64deep\xa1\x62ok\xf5";
    let expected = ["default.t device=d 1700000000000000000 deep_ok=true,t=21.5"];
    for (format, payload) in [("msgpack", &msgpack[..]), ("cbor", &cbor[..])] {
        let mut decoder = decoder(&routes(format), TopicStyle::Mqtt);
        assert_eq!(rows(&mut decoder, &[Message::new("s/d", payload)]), expected, "{format}");
        assert_eq!(rows(&mut decoder, &[Message::new("s/d", b"\xff")]), ["Syntax"], "{format}");
    }
}

fn samples(path: &str) -> String {
    format!("{}/../tests/data/payloads/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn schemas_of_files_read_messages() {
    let routes = |decoder: &str, file: &str, tag: &str| {
        let file = samples(file);
        format!(
            "[[routes]]\npattern = \"s\"\ntable = \"t\"\ndecoder = \"{decoder}\"\n\
             schema_file = \"{file}\"\ntags = {{ device = \"$.device\" }}\n\
             fields = {{ t = \"$.temperature\", s = \"$.state\" }}\ntime = \"$.{tag}\"\n"
        )
    };
    let cases = [
        ("avro", "avro/reading.avsc", "avro/datum.bin", "d0", 1_772_366_400_250_001_000i64),
        ("avro", "avro/reading.avsc", "avro/single-object.bin", "d0", 1_772_366_400_250_001_000),
        (
            "protobuf",
            "protobuf/reading.proto",
            "protobuf/full.bin",
            "d1",
            1_772_366_400_250_000_001,
        ),
        ("protobuf", "protobuf/reading.desc", "protobuf/full.bin", "d1", 1_772_366_400_250_000_001),
        // It imports another file of its folder.
        (
            "protobuf",
            "protobuf/importing.proto",
            "protobuf/full.bin",
            "d1",
            1_772_366_400_250_000_001,
        ),
    ];
    for (format, schema, file, device, time) in cases {
        let mut decoder = decoder(&routes(format, schema, "at"), TopicStyle::Mqtt);
        let expected = format!("default.t device={device} {time} s=\"ON\",t=21.5");
        let payload = sample(file);
        assert_eq!(rows(&mut decoder, &[Message::new("s", &payload)]), [expected], "{file}");
        assert_eq!(rows(&mut decoder, &[Message::new("s", b"\xff\xff")]), ["Syntax"], "{file}");
    }
}

#[test]
fn envelopes_are_opened_and_tombstones_hold_no_row() {
    let routes = "[[routes]]\npattern = \"c\"\ntable = \"t\"\ndecoder = \"envelope\"\n\
                  tags = { id = \"$.id\" }\nfields = { name = \"$.first_name\" }\n";
    let mut decoder = decoder(routes, TopicStyle::Mqtt);
    let change = sample("debezium/create-with-schema.json");
    let found = rows(&mut decoder, &[Message::new("c", &change), Message::new("c", b"null")]);
    assert_eq!(found, ["default.t id=1 1559033904863123000 name=\"Anne\""]);
}

#[test]
fn sparkplug_knows_its_metrics_by_their_births() {
    let routes = "[[routes]]\ntopics = [\"spBv1.0/#\"]\ndecoder = \"sparkplug_b\"\n";
    let mut decoder = decoder(routes, TopicStyle::Mqtt);
    let [node, device, data] = ["01-nbirth", "02-dbirth", "03-ddata"]
        .map(|name| sample(&format!("sparkplug_b/{name}.bin")));
    let data = Message::new("spBv1.0/plant/DDATA/n1/boiler", &data);
    assert_eq!(rows(&mut decoder, &[data]), ["Syntax"]);
    assert!(decoder.take_news().unwrap().rebirth.is_some());
    let births = [
        Message::new("spBv1.0/plant/NBIRTH/n1", &node),
        Message::new("spBv1.0/plant/DBIRTH/n1/boiler", &device),
    ];
    assert_eq!(rows(&mut decoder, &births).len(), 2);
    assert!(decoder.take_news().unwrap().rebirth.is_none());
    assert_eq!(
        rows(&mut decoder, &[data]),
        ["default.sparkplug device=boiler,group=plant,node=n1 1765000060000000000 \
          Boiler/Temperature=61.5,Pump/On=false,Pump/Speed=-1451"]
    );
    assert!(decoder.take_news().is_none());
}

#[test]
fn the_first_route_that_fits_decides() {
    let mut decoder = decoder(
        r#"
        [[routes]]
        topics = ["a/#"]
        pattern = "a/{kind}/{id}"
        table = "by_{kind}"
        [[routes]]
        topics = ["a/#"]
        table = "rest"
        tags = { from = "=a" }
        "#,
        TopicStyle::Mqtt,
    );
    let time = br#"{"time":1700000000,"v":1}"#;
    let found = rows(
        &mut decoder,
        &[
            Message::new("a/x/1", time),
            Message::new("a/x/1/z", time),
            Message::new("b/c/temperature", time),
        ],
    );
    assert_eq!(
        found,
        [
            "default.by_x id=1 1700000000000000000 v=1",
            "default.rest from=a 1700000000000000000 v=1",
            "default.b topic=b/c/temperature 1700000000000000000 v=1",
        ]
    );
}

#[test]
fn routes_that_cannot_be_are_refused_by_key() {
    for (route, key) in [
        ("table = \"t\"", "topics"),
        ("topics = [\"a/#/b\"]", "topics"),
        ("pattern = \"a/{x}/{x}\"", "pattern"),
        ("pattern = \"a/{x}\"\ntable = \"{y}\"", "table"),
        ("pattern = \"a\"\ntable = \"_x\"", "table"),
        ("pattern = \"a\"\ndb = \"\"", "db"),
        ("pattern = \"a\"\ntags = { t = \"x\" }", "tags"),
        ("pattern = \"a\"\ntags = { time = \"=x\" }", "tags"),
        ("pattern = \"a\"\ntags = { t = \"{x}\" }", "tags"),
        ("pattern = \"a\"\ntags = { t = \"$key\" }", "tags"),
        ("pattern = \"a\"\nfields = { f = \"x\" }", "fields"),
        ("pattern = \"a\"\ntime = \"ts\"", "time"),
        ("pattern = \"a\"\ntime_unit = \"d\"", "time_unit"),
        ("pattern = \"a\"\ndecoder = \"csv\"\nfields = { f = \"$.x\" }", "decoder"),
        ("pattern = \"a\"\ndecoder = \"sparkplug_b\"\ntime = \"$.x\"", "decoder"),
        ("pattern = \"a\"\ndecoder = \"avro\"", "schema_file"),
        ("pattern = \"a\"\ndecoder = \"avro\"\nschema_file = \"/none\"", "schema_file"),
        ("pattern = \"a\"\nschema_file = \"/none\"", "schema_file"),
        ("pattern = \"a\"\nmessage = \"m\"", "message"),
    ] {
        let spec: RouteSpec = toml::from_str(route).unwrap();
        let wrong =
            Routes::new(&[spec], TopicStyle::Mqtt, &places(), "connectors[2].routes").unwrap_err();
        let text = wrong.to_string();
        assert!(text.contains(&format!("connectors[2].routes[0].{key}:")), "{route}: {text}");
    }
}
