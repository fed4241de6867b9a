//! Messages as the vendors' documentation shows them.

use super::*;
use crate::testing::{assert_rows, sample};
use proptest::prelude::*;

/// `[table] tag=value,… time field=value,…` of each row.
fn show(preset: Preset, topic: &str, payload: &str) -> Vec<String> {
    let rows = match rows(preset, topic, payload.as_bytes(), &Nulls::default()) {
        Ok(rows) => rows,
        Err(fault) => return vec![format!("refused: {}", fault.detail)],
    };
    let shown = |row: &PresetRow| {
        let tags: Vec<String> = row.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let fields: Vec<String> = row.fields.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        let table = row.table.as_ref().map(|table| format!("[{table}] ")).unwrap_or_default();
        let time = row.time.map_or("-".to_owned(), |time| time.to_string());
        format!("{table}{} {time} {}", tags.join(","), fields.join(","))
    };
    rows.iter().map(shown).collect()
}

#[test]
fn the_things_stack() {
    let uplink = r#"{"end_device_ids":{"device_id":"dev1","application_ids":{"application_id":"app1"}},
        "received_at":"2020-02-12T15:15:46.1Z","uplink_message":{"f_port":1,"f_cnt":42,
        "decoded_payload":{"temperature":1.5},"received_at":"2020-02-12T15:15:45Z",
        "rx_metadata":[{"gateway_ids":{"gateway_id":"g1"},"rssi":-90,"snr":2.5},
        {"gateway_ids":{"gateway_id":"g2"},"rssi":-35,"snr":7.5}]}}"#;
    assert_eq!(
        show(Preset::TtnV3, "v3/app1/devices/dev1/up", uplink),
        ["application=app1,device=dev1 1581520545000000000 temperature=Float(1.5),f_port=Int(1),\
          f_cnt=Int(42),rssi=Int(-35),snr=Float(7.5),gateway=Text(\"g2\")"]
    );
    let sample = include_str!("../../../tests/data/payloads/ttn_v3/data-formats-01.json");
    assert_eq!(
        show(Preset::TtnV3, "v3/app1/devices/dev1/join", sample),
        ["application=app1,device=dev1 1581925749935284891 event=Text(\"join_accept\")"]
    );
    let sample = include_str!("../../../tests/data/payloads/ttn_v3/data-formats-02.json");
    assert_eq!(
        show(Preset::TtnV3, "v3/app1/devices/dev1/down/ack", sample),
        ["application=app1,device=dev1 1581935544590413417 event=Text(\"downlink_ack\")"]
    );
    assert!(show(Preset::TtnV3, "x", "{}")[0].starts_with("refused"));
}

#[test]
fn chirpstack() {
    let uplink = r#"{"time":"2022-07-18T09:34:15.775Z","deviceInfo":{"applicationName":"a",
        "deviceName":"n","devEui":"0101"},"dr":1,"fPort":1,"object":{"t":21.5,"deep":{"x":true}},
        "rxInfo":[{"gatewayId":"g","rssi":-36,"snr":10.5}]}"#;
    assert_eq!(
        show(Preset::ChirpstackV4, "application/1/device/0101/event/up", uplink),
        ["application=a,device=0101,name=n 1658136855775000000 t=Float(21.5),\
          deep=Map([(\"x\", Bool(true))]),fPort=Int(1),dr=Int(1),rssi=Int(-36),snr=Float(10.5),\
          gateway=Text(\"g\")"]
    );
    let other = |kind: &str, members: &str| {
        let info = r#""deviceInfo":{"applicationName":"a","deviceName":"n","devEui":"01"}"#;
        let payload = format!(r#"{{"time":"2022-07-18T09:34:15Z",{info},{members}}}"#);
        show(Preset::ChirpstackV4, &format!("application/1/device/01/event/{kind}"), &payload)
    };
    for (kind, members, fields) in [
        ("join", r#""devAddr":"00189440""#, "event=Text(\"join\")"),
        (
            "ack",
            r#""acknowledged":true,"fCntDown":3"#,
            "event=Text(\"ack\"),acknowledged=Bool(true),fCntDown=Int(3)",
        ),
        (
            "location",
            r#""location":{"latitude":37.5,"longitude":-8.25,"altitude":2}"#,
            "event=Text(\"location\"),latitude=Float(37.5),longitude=Float(-8.25),altitude=Int(2)",
        ),
    ] {
        let row = format!("application=a,device=01,name=n 1658136855000000000 {fields}");
        assert_eq!(other(kind, members), [row]);
    }
}

#[test]
fn homes() {
    assert_eq!(
        show(
            Preset::Zigbee2mqtt,
            "zigbee2mqtt/kitchen/lamp",
            r#"{"t":27.34,"last_seen":1700000000000}"#
        ),
        ["device=kitchen/lamp 1700000000000000000 t=Float(27.34)"]
    );
    for text in ["offline", r#"{"state":"offline"}"#] {
        let shown = show(Preset::Zigbee2mqtt, "zigbee2mqtt/lamp/availability", text);
        assert_eq!(shown, ["device=lamp - online=Bool(false)"]);
    }
    assert_eq!(
        show(Preset::Tasmota, "tele/plug/SENSOR", r#"{"Time":"2024-01-01T00:00:00","AM":{"T":1}}"#),
        ["device=plug 1704067200000000000 AM=Map([(\"T\", Int(1))])"]
    );
    assert_eq!(
        show(Preset::Tasmota, "tele/plug/LWT", "Online"),
        ["device=plug - online=Bool(true)"]
    );
    assert_eq!(
        show(Preset::Tasmota, "stat/plug/POWER", "ON"),
        ["device=plug - POWER=Text(\"ON\")"]
    );
    let notify = r#"{"src":"shelly1","method":"NotifyStatus","params":{"ts":1675931140.25,
        "switch:0":{"id":0,"output":true},"em1:0":{"id":0,"voltage":117.6}}}"#;
    assert_eq!(
        show(Preset::Shelly, "shelly1/events/rpc", notify),
        [
            "device=shelly1,component=switch:0 1675931140250000000 output=Bool(true)",
            "device=shelly1,component=em1:0 1675931140250000000 voltage=Float(117.6)",
        ]
    );
    assert_eq!(
        show(Preset::Shelly, "shelly1/status/em1:0", r#"{"id":0,"voltage":117.6}"#),
        ["device=shelly1,component=em1:0 - voltage=Float(117.6)"]
    );
    assert_eq!(
        show(Preset::Shelly, "shelly1/online", "false"),
        ["device=shelly1 - online=Bool(false)"]
    );
    assert_eq!(
        show(Preset::HomeAssistant, "ha/sensor/outside/state", "21.5"),
        ["domain=sensor,entity=outside - value=Float(21.5)"]
    );
    assert_eq!(
        show(Preset::HomeAssistant, "ha/light/hall/state", "on"),
        ["domain=light,entity=hall - state=Text(\"on\")"]
    );
}

#[test]
fn commands_and_attributes_of_zigbee2mqtt() {
    let shown = |topic: &str, text: &str| show(Preset::Zigbee2mqtt, topic, text);
    for topic in ["lamp/get", "lamp/set", "hall/lamp/get/brightness", "lamp/set/state"] {
        assert!(shown(&format!("zigbee2mqtt/{topic}"), r#"{"brightness":""}"#).is_empty());
    }
    assert_eq!(
        shown("zigbee2mqtt/hall/lamp/brightness", "120"),
        ["device=hall/lamp - brightness=Int(120)"]
    );
    assert_eq!(shown("zigbee2mqtt/lamp/state", "ON"), ["device=lamp - state=Text(\"ON\")"]);
    assert_eq!(shown("zigbee2mqtt/lamp", "ON"), ["device=lamp - state=Text(\"ON\")"]);
    assert_eq!(shown("zigbee2mqtt/set", r#"{"t":1}"#), ["device=set - t=Int(1)"]);
}

#[test]
fn full_topics_of_tasmota() {
    let power = r#"{"Time":"2024-01-01T00:00:00","P":1}"#;
    for (topic, tags) in [
        ("tele/pow1/SENSOR", "device=pow1"),
        ("pow1/tele/SENSOR", "device=pow1"),
        ("home/pow1/tele/SENSOR", "device=pow1,place=home"),
        ("home/tele/pow1/SENSOR", "device=pow1,place=home"),
        ("tele/home/hall/pow1/SENSOR", "device=pow1,place=home/hall"),
        ("/pow1/stat/STATUS10", "device=pow1"),
    ] {
        let row = format!("{tags} 1704067200000000000 P=Int(1)");
        assert_eq!(show(Preset::Tasmota, topic, power), [row], "{topic}");
    }
}

#[test]
fn members_with_names_of_the_row_are_kept_under_others() {
    let uplink = r#"{"end_device_ids":{"device_id":"d"},"received_at":"0001-01-01T00:00:00Z",
        "uplink_message":{"f_cnt":42,"decoded_payload":{"time":"9:30","f_cnt":1,"device":"x","f":{"cnt":2,"port":3}}}}"#;
    assert_eq!(
        show(Preset::TtnV3, "v3/a/devices/d/up", uplink),
        ["device=d - payload_time=Text(\"9:30\"),payload_f_cnt=Int(1),payload_device=Text(\"x\"),\
          payload_f=Map([(\"cnt\", Int(2)), (\"port\", Int(3))]),f_cnt=Int(42)"]
    );
    let event = r#"{"time":"2022-07-18T09:34:15Z","deviceInfo":{"devEui":"01"},"fCnt":2,
        "object":{"time":1,"fCnt":3,"device":"x","rssi":-1}}"#;
    assert_eq!(
        show(Preset::ChirpstackV4, "application/1/device/01/event/up", event),
        ["device=01 1658136855000000000 payload_time=Int(1),payload_fCnt=Int(3),\
          payload_device=Text(\"x\"),payload_rssi=Int(-1),fCnt=Int(2)"]
    );
    let metric =
        r#"{"name":"m","tags":{"host":"h"},"fields":{"host":1,"time":2},"timestamp":1700000000}"#;
    assert_eq!(
        show(Preset::Telegraf, "t", metric),
        ["[m] host=h 1700000000000000000 payload_host=Int(1),payload_time=Int(2)"]
    );
    let text_time = r#"{"t":1,"last_seen":"1700000000000"}"#;
    assert_eq!(
        show(Preset::Zigbee2mqtt, "zigbee2mqtt/x", text_time),
        ["device=x 1700000000000000000 t=Int(1)"]
    );
}

#[test]
fn envelopes() {
    let sample = include_str!("../../../tests/data/payloads/cloudevents/json-format-04.json");
    assert_eq!(
        show(Preset::Cloudevents, "x", sample),
        ["source=/mycontext,type=com.example.someevent 1522949460000000000 data=Float(1.5),\
          id=Text(\"C234-1234-1234\")"]
    );
    let batch = r#"{"metrics":[{"name":"cpu","tags":{"host":"h"},"fields":{"idle":1.5},"timestamp":1700000000},
        {"name":"mem","tags":{},"fields":{"free":2},"timestamp":1700000001}]}"#;
    assert_eq!(
        show(Preset::Telegraf, "telegraf/h", batch),
        [
            "[cpu] host=h 1700000000000000000 idle=Float(1.5)",
            "[mem]  1700000001000000000 free=Int(2)",
        ]
    );
    let shadow = r#"{"state":{"reported":{"t":3}},"timestamp":1700000000}"#;
    assert_eq!(
        show(Preset::AwsIot, "$aws/things/lamp/shadow/update/accepted", shadow),
        ["thing=lamp 1700000000000000000 t=Int(3)"]
    );
    for preset in [Preset::Cloudevents, Preset::Telegraf, Preset::AwsIot] {
        assert!(show(preset, "x", "{}")[0].starts_with("refused"), "{preset:?}");
        assert!(show(preset, "x", "{")[0].starts_with("refused"), "{preset:?}");
    }
}

/// Samples and the topics they come under; a `.tsv` file has a topic and a payload a line.
const SAMPLES: [(Preset, &str, &str); 10] = [
    (Preset::Cloudevents, "events", "cloudevents/json-format-01.json"),
    (Preset::Cloudevents, "events", "cloudevents/json-format-02.json"),
    (Preset::Cloudevents, "events", "cloudevents/json-format-03.json"),
    (Preset::Cloudevents, "events", "cloudevents/json-format-05.json"),
    (Preset::Cloudevents, "events", "cloudevents/json-format-06.json"),
    (Preset::Cloudevents, "events", "cloudevents/json-format-07.json"),
    (Preset::TtnV3, "v3/app1/devices/dev1/up", "ttn_v3/mqtt-client-01.json"),
    (Preset::TtnV3, "v3/app1/devices/dev1/up/simulated", "ttn_v3/simulated-01.json"),
    (Preset::Collectd, "", "collectd/captured.tsv"),
    (Preset::Rtl433, "", "rtl_433/messages.tsv"),
];

/// Topics and payloads of a sample.
fn messages(topic: &str, path: &str) -> Vec<(String, String)> {
    let text = String::from_utf8(sample(path)).unwrap();
    if !path.ends_with(".tsv") {
        return vec![(topic.to_owned(), text)];
    }
    let lines = text.lines().map(|line| line.split_once('\t').unwrap());
    lines.map(|(topic, payload)| (topic.to_owned(), payload.replace("\\0", "\0"))).collect()
}

#[test]
fn samples_give_the_rows_beside_them() {
    for (preset, topic, path) in SAMPLES {
        let messages = messages(topic, path);
        let shown = messages.iter().map(|(topic, payload)| {
            let rows = show(preset, topic, payload);
            if rows.is_empty() { "no row".to_owned() } else { rows.join("\n") }
        });
        assert_rows(path, &shown.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn broken_messages_of_collectd_are_refused() {
    for (topic, payload) in [
        ("cpu", "1700000000:1"),
        ("h/cpu/cpu", "1700000000"),
        ("h/cpu/cpu", "now:1"),
        ("h/cpu/cpu", "1700000000:one"),
    ] {
        assert!(show(Preset::Collectd, topic, payload)[0].starts_with("refused"), "{payload}");
    }
}

const ALL: [Preset; 11] = [
    Preset::TtnV3,
    Preset::ChirpstackV4,
    Preset::Zigbee2mqtt,
    Preset::Tasmota,
    Preset::Shelly,
    Preset::HomeAssistant,
    Preset::Cloudevents,
    Preset::Telegraf,
    Preset::AwsIot,
    Preset::Collectd,
    Preset::Rtl433,
];

#[test]
fn more_tags_than_a_row_may_have_are_refused_before_each_is_looked_for() {
    let message = |tags: usize| {
        let tags: Vec<String> = (0..tags).map(|at| format!("\"t{at}\":\"x\"")).collect();
        format!("{{\"name\":\"m\",\"fields\":{{\"v\":1}},\"tags\":{{{}}}}}", tags.join(","))
    };
    let read = |tags| rows(Preset::Telegraf, "t/h", message(tags).as_bytes(), &Nulls::default());
    assert_eq!(read(TAGS_MAX).unwrap()[0].tags.len(), TAGS_MAX);
    assert_eq!(read(TAGS_MAX + 1).unwrap_err().reason, oribi_model::RejectReason::Limit);
}

#[test]
fn names_in_configuration() {
    let name = |preset: &Preset| serde_json::to_string(preset).unwrap().replace('"', "");
    let names: Vec<String> = ALL.iter().map(name).collect();
    assert_eq!(
        names.join(" "),
        "ttn_v3 chirpstack_v4 zigbee2mqtt tasmota shelly home_assistant cloudevents telegraf \
         aws_iot collectd rtl_433"
    );
}

proptest! {
    #[test]
    fn any_message_is_survived(
        preset in prop::sample::select(&ALL[..]),
        topic in "[a-z0-9/+$-]{0,30}",
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        drop(rows(preset, &topic, &payload, &Nulls::default()));
    }

    #[test]
    fn broken_samples_are_survived(
        which in 0..SAMPLES.len(),
        preset in prop::sample::select(&ALL[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let (_, topic, path) = SAMPLES[which];
        for (topic, payload) in messages(topic, path) {
            let mut payload = payload.into_bytes();
            for (place, byte) in &changes {
                let place = place.index(payload.len());
                payload[place] = *byte;
            }
            drop(rows(preset, &topic, &payload, &Nulls::default()));
        }
    }
}
