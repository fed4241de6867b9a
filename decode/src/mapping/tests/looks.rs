//! What payloads are taken for where a route leaves that to their looks.

use super::{super::*, decoder, rows};

fn mqtt(routes: &str, messages: &[(&str, &[u8])]) -> Vec<String> {
    let mut decoder = decoder(routes, TopicStyle::Mqtt);
    let messages: Vec<Message<'_>> =
        messages.iter().map(|(topic, payload)| Message::new(topic, payload)).collect();
    let shown = rows(&mut decoder, &messages).into_iter();
    // Times of arrival say nothing.
    let is_arrival = |part: &str| part.len() == 19 && !part.starts_with("170");
    shown
        .map(|row| row.split(' ').filter(|part| !is_arrival(part)).collect::<Vec<_>>().join(" "))
        .collect()
}

const NO_ROUTES: &str = "routes = []";

#[test]
fn the_first_line_decides_and_what_is_wrong_behind_it_is_a_fault() {
    let lines = b"cpu,host=a usage=1.5 1700000000000000000\n\
        cpu,host=b usage=nan 1700000000000000000\n\
        mem,host=a used=3i 1700000000000000000\n\
        mem,host=b used=99999999999999999999i 1700000000000000000";
    assert_eq!(
        mqtt(NO_ROUTES, &[("telegraf/h/cpu", lines)]),
        [
            "default.cpu host=a 1700000000000000000 usage=1.5",
            "default.mem host=a 1700000000000000000 used=3",
            "Number",
        ]
    );
    assert_eq!(
        mqtt(NO_ROUTES, &[("t/h", b"# comment\n\nm a=1 1700000000000000000\nbroken")]),
        ["default.m  1700000000000000000 a=1.0", "Syntax"]
    );
    for (text, row) in [
        ("Hello a=b", "\"Hello a=b\""),
        ("mode x=on", "\"mode x=on\""),
        ("a b=1 noon", "\"a b=1 noon\""),
        ("state=on", "\"state=on\""),
    ] {
        let shown = mqtt(NO_ROUTES, &[("t/h", text.as_bytes())]);
        assert_eq!(shown, [format!("default.t topic=t/h h={row}")]);
    }
}

#[test]
fn a_byte_order_mark_and_the_end_of_a_string_change_nothing() {
    let shown = mqtt(
        NO_ROUTES,
        &[
            ("p/info", b"\xEF\xBB\xBF{\"v\":1}"),
            ("p/temp", b"\xEF\xBB\xBF21.5"),
            ("p/temp", b"22.5\0\0"),
            ("p/lines", b"\xEF\xBB\xBFweather,city=a t=3.5 1700000000000000000\0"),
        ],
    );
    assert_eq!(
        shown,
        [
            "default.p topic=p/info v=1",
            "default.p topic=p/temp temp=21.5",
            "default.p topic=p/temp temp=22.5",
            "default.weather city=a 1700000000000000000 t=3.5",
        ]
    );
    for decoder in ["json", "csv", "envelope", "line_protocol"] {
        let routes = format!("[[routes]]\ntopics = [\"t\"]\ndecoder = \"{decoder}\"\n");
        let text: &[u8] = match decoder {
            "csv" => b"\xEF\xBB\xBFtime,v\n1700000000,1\n\0",
            "line_protocol" => b"\xEF\xBB\xBFt v=1i 1700000000000000000\n\0",
            _ => b"\xEF\xBB\xBF{\"time\":1700000000,\"v\":1}\0",
        };
        let shown = mqtt(&routes, &[("t", text)]);
        assert_eq!(shown, ["default.t  1700000000000000000 v=1"], "{decoder}");
    }
}

#[test]
fn words_that_stand_for_no_value_are_none() {
    let words: Vec<(&str, &[u8])> = [
        &b"unavailable"[..],
        b"Unknown",
        b"None",
        b"null",
        b"NaN",
        b"undefined",
        b"",
        b"\"unknown\"",
        b"21.5",
        b"off",
    ]
    .iter()
    .map(|text| ("s/t", *text))
    .collect();
    let both = ["default.s topic=s/t t=21.5", "default.s topic=s/t t=\"off\""];
    assert_eq!(mqtt(NO_ROUTES, &words), both);
    let value = "[[routes]]\ntopics = [\"#\"]\ndecoder = \"value\"\n";
    assert_eq!(mqtt(value, &words).len(), 2);
    let own = "[[routes]]\ntopics = [\"#\"]\nnulls = [\"off\"]\n";
    let shown = mqtt(own, &[("s/t", b"OFF"), ("s/t", b"none")]);
    assert_eq!(shown, ["default.s  t=\"none\""]);
    let states = "[[routes]]\ntopics = [\"#\"]\npreset = \"home_assistant\"\ntable = \"h\"\n";
    let topic = "ha/sensor/attic/state";
    let shown = mqtt(states, &[(topic, b"unavailable"), (topic, b""), (topic, b"21.5")]);
    assert_eq!(shown, ["default.h domain=sensor,entity=attic value=21.5"]);
}

#[test]
fn a_leading_slash_names_no_table_and_an_empty_payload_is_no_fault() {
    let shown = mqtt(NO_ROUTES, &[("/home/x/t", b"21.5"), ("/home/x/t", b"")]);
    assert_eq!(shown, ["default.home topic=/home/x/t t=21.5"]);
    let routes = "[[routes]]\ntopics = [\"/home/#\"]\ndecoder = \"json\"\n";
    assert_eq!(mqtt(routes, &[("/home/x", b"{\"v\":1}"), ("/home/x", b"")]), ["default.home  v=1"]);
}

#[test]
fn numbers_in_text_are_times_and_words_are_none_where_the_route_says_so() {
    let route = |more: &str| format!("[[routes]]\ntopics = [\"t\"]\ndecoder = \"json\"\n{more}\n");
    let at = "default.t  1700000000123000000 v=1";
    for (more, payload) in [
        ("", r#"{"time":"1700000000123","v":1}"#),
        ("time = \"$.at\"", r#"{"at":"1700000000123","v":1}"#),
        ("time = \"$.at\"\ntime_unit = \"ms\"", r#"{"at":" 1700000000123 ","v":1}"#),
        ("time = \"$.d.at\"", r#"{"d":{"at":"1700000000.123"},"v":1}"#),
    ] {
        assert_eq!(mqtt(&route(more), &[("t", payload.as_bytes())]), [at], "{more}");
    }
    for word in ["", "unknown"] {
        let payload = format!(r#"{{"time":"{word}","v":1}}"#);
        assert_eq!(mqtt(&route(""), &[("t", payload.as_bytes())]), ["Time"]);
        let shown = mqtt(&route("nulls = [\"\", \"unknown\"]"), &[("t", payload.as_bytes())]);
        assert_eq!(shown, ["default.t  v=1"]);
    }
}

#[test]
fn a_change_has_the_time_that_the_route_names() {
    let event = br#"{"before":null,"after":{"id":"m1","at":1700000000000,"v":1},"op":"c","source":{"table":"r","ts_ms":1700000009000}}"#;
    let route = |more: &str| {
        format!(
            "[[routes]]\ntopics = [\"t\"]\ndecoder = \"envelope\"\nfields = {{ v = \"$.v\" }}\n{more}\n"
        )
    };
    let plain = |more: &str| route(more).replace("fields = { v = \"$.v\" }", "");
    let picked = mqtt(&route("time = \"$.at\""), &[("t", event)]);
    assert_eq!(picked, ["default.t  1700000000000000000 v=1"]);
    let all = mqtt(&plain("time = \"$.at\""), &[("t", event)]);
    let fields = "__op=\"c\",__table=\"r\",id=\"m1\",v=1";
    assert_eq!(all, [format!("default.t  1700000000000000000 {fields}")]);
    let none = mqtt(&plain(""), &[("t", event)]);
    let fields = "__op=\"c\",__table=\"r\",at=1700000000000,id=\"m1\",v=1";
    assert_eq!(none, [format!("default.t  1700000009000000000 {fields}")]);
}
