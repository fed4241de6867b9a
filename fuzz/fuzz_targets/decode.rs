//! Messages of any bytes through the decoder or preset that `ORIBI_FUZZ_DECODER` names, by the way that
//! messages go: routes, decoder, mapping, rows. Nothing may panic or grow without bound.
//!
//! Messages of presets are `TOPIC LF PAYLOAD`. Those of Sparkplug B are several, each a byte for the topic, two for
//! the length (big-endian) and the payload. Arrow is not here: its own reader panics, which the decoder catches and a
//! fuzzer does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_decode::{
    FileError, Message, MessageDecoder, OpenRows, RouteSpec, Routes, SchemaFiles, avro,
    mapping::{SchemaPlaces, TopicStyle},
    sparkplug::SparkplugNodes,
};
use oribi_model::{ArrivalClock, SystemClock};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

const DECODERS: [&str; 9] =
    ["auto", "json", "line_protocol", "value", "csv", "msgpack", "cbor", "envelope", "sparkplug_b"];
const PRESETS: [&str; 11] = [
    "ttn_v3",
    "chirpstack_v4",
    "zigbee2mqtt",
    "tasmota",
    "shelly",
    "home_assistant",
    "cloudevents",
    "telegraf",
    "aws_iot",
    "collectd",
    "rtl_433",
];
const SPARKPLUG_TOPICS: [&str; 6] = [
    "spBv1.0/g/NBIRTH/n",
    "spBv1.0/g/DBIRTH/n/d",
    "spBv1.0/g/NDATA/n",
    "spBv1.0/g/DDATA/n/d",
    "spBv1.0/g/DDEATH/n/d",
    "spBv1.0/g/NDEATH/n",
];
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/payloads");

enum Target {
    Route { routes: Arc<Routes>, has_topic: bool },
    Sparkplug,
    AvroContainer,
}

impl Target {
    fn named(name: &str) -> Target {
        let reading = match name {
            "sparkplug_b" => return Target::Sparkplug,
            "avro_container" => return Target::AvroContainer,
            "avro" => format!(r#""decoder": "avro", "schema_file": "{SAMPLES}/avro/reading.avsc""#),
            "protobuf" => format!(
                r#""decoder": "protobuf", "schema_file": "{SAMPLES}/protobuf/reading.proto""#
            ),
            preset if PRESETS.contains(&preset) => format!(r#""preset": "{preset}""#),
            decoder if DECODERS.contains(&decoder) => format!(r#""decoder": "{decoder}""#),
            other => panic!("ORIBI_FUZZ_DECODER names {other:?}, which is no decoder"),
        };
        let spec = format!(r##"{{"topics": ["#"], {reading}}}"##);
        let spec: RouteSpec = serde_json::from_str(&spec).expect("the route is one");
        let places = SchemaPlaces { files: Arc::new(Disk), registry: None };
        let routes = Routes::new(&[spec], TopicStyle::Mqtt, &places, "routes");
        let routes = Arc::new(routes.expect("the route is right"));
        Target::Route { routes, has_topic: PRESETS.contains(&name) }
    }
}

/// Samples as they lie there.
struct Disk;

impl SchemaFiles for Disk {
    fn read(&self, path: &Path, _: u64) -> Result<Vec<u8>, FileError> {
        std::fs::read(path).map_err(|wrong| FileError::Missing(wrong.to_string()))
    }
}

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        Target::named(
            &std::env::var("ORIBI_FUZZ_DECODER").expect("ORIBI_FUZZ_DECODER names a decoder"),
        )
    });
    match target {
        Target::Route { routes, has_topic } => route(routes, *has_topic, data),
        Target::Sparkplug => sparkplug(data),
        Target::AvroContainer => drop(avro::read_container(data)),
    }
});

fn route(routes: &Arc<Routes>, has_topic: bool, data: &[u8]) {
    let (topic, payload) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) if has_topic => (std::str::from_utf8(&data[..at]).unwrap_or("t"), &data[at + 1..]),
        _ => ("site/a/dev/b", data),
    };
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    let now_ns = arrival.now_ns();
    let mut decoder = MessageDecoder::new(routes.clone(), Arc::default(), arrival, i64::MAX / 2);
    let mut rows = OpenRows::new(1);
    drop(decoder.decode(&mut rows, &Message::new(topic, payload), now_ns));
    drop(rows.tables.finish());
}

fn sparkplug(mut data: &[u8]) {
    // Bounds small enough that what is remembered is also forgotten.
    let (nodes, mut now_ns) = (SparkplugNodes::bounded(4_096), 0);
    while let [topic, high, low, rest @ ..] = data {
        let bytes = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, after) = rest.split_at(bytes);
        let topic = SPARKPLUG_TOPICS[usize::from(*topic) % SPARKPLUG_TOPICS.len()];
        if let Ok(outcome) = nodes.take(topic, payload, now_ns) {
            // What is kept of a birth can be taken in again.
            let restored = SparkplugNodes::default();
            outcome
                .births
                .iter()
                .for_each(|birth| restored.restore(birth).expect("a birth as it was given"));
        }
        now_ns += 3_000_000_000;
        data = after;
    }
}
