use super::{payload::Raw, *};
use crate::{
    document::Document,
    testing::{assert_rows, sample},
    wire::{put_bytes, put_number},
};
use proptest::prelude::*;
use std::fmt::Write;

const SECOND: i64 = 1_000_000_000;

/// Messages of one session, written by the npm package sparkplug-payload.
const SAMPLES: [(&str, &str); 9] = [
    ("01-nbirth", "spBv1.0/plant/NBIRTH/n1"),
    ("02-dbirth", "spBv1.0/plant/DBIRTH/n1/boiler"),
    ("03-ddata", "spBv1.0/plant/DDATA/n1/boiler"),
    ("04-ddata-historical", "spBv1.0/plant/DDATA/n1/boiler"),
    ("05-ddata-null", "spBv1.0/plant/DDATA/n1/boiler"),
    ("06-ddata-types", "spBv1.0/plant/DDATA/n1/boiler"),
    ("07-ddeath", "spBv1.0/plant/DDEATH/n1/boiler"),
    ("08-ndata", "spBv1.0/plant/NDATA/n1"),
    ("09-ndeath", "spBv1.0/plant/NDEATH/n1"),
];

fn bytes(name: &str) -> Vec<u8> {
    sample(&format!("sparkplug_b/{name}.bin"))
}

/// `tag=value,… time field=value …` of each row, then what else came out.
fn show(outcome: &Outcome) -> String {
    let mut shown = String::new();
    for row in &outcome.rows {
        let tags: Vec<String> = row.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let time = row.time.map_or("-".into(), |time| time.to_string());
        write!(shown, "{} {time}", tags.join(",")).unwrap();
        for (name, value) in &row.fields {
            write!(shown, " {name}={value:?}").unwrap();
        }
        shown.push('\n');
    }
    if let Some(fault) = &outcome.fault {
        writeln!(shown, "fault: {}", fault.detail).unwrap();
    }
    if let Some(edge) = &outcome.rebirth {
        writeln!(shown, "rebirth: {}/{}", edge.group, edge.node).unwrap();
    }
    if let Some(why) = outcome.ignored {
        writeln!(shown, "ignored: {why}").unwrap();
    }
    shown
}

fn take(nodes: &SparkplugNodes, topic: &str, payload: &[u8], now_s: i64) -> String {
    match nodes.take(topic, payload, now_s * SECOND) {
        Ok(outcome) => show(&outcome),
        Err(fault) => format!("refused: {}", fault.detail),
    }
}

struct Written {
    payload: Vec<u8>,
}

/// A message with a number and metrics (name, alias, 64-bit integer).
fn message(seq: Option<u64>, metrics: &[(Option<&str>, Option<u64>, i64)]) -> Written {
    let mut payload = Vec::new();
    put_number(1, 1_765_000_000_000, &mut payload);
    for (name, alias, value) in metrics {
        let mut metric = Vec::new();
        if let Some(name) = name {
            put_bytes(1, name.as_bytes(), &mut metric);
        }
        if let Some(alias) = alias {
            put_number(2, *alias, &mut metric);
        }
        put_number(4, 4, &mut metric);
        put_number(11, *value as u64, &mut metric);
        put_bytes(2, &metric, &mut payload);
    }
    if let Some(seq) = seq {
        put_number(3, seq, &mut payload);
    }
    Written { payload }
}

const NBIRTH: &str = "spBv1.0/g/NBIRTH/n";
const NDATA: &str = "spBv1.0/g/NDATA/n";
const NDEATH: &str = "spBv1.0/g/NDEATH/n";

fn birth(bd_seq: i64) -> Vec<u8> {
    message(Some(0), &[(Some("bdSeq"), None, bd_seq), (Some("a"), Some(1), 5)]).payload
}

fn by_alias(seq: u64, alias: u64) -> Vec<u8> {
    message(Some(seq), &[(None, Some(alias), 6)]).payload
}

#[test]
fn a_session_gives_the_rows_beside_its_messages() {
    let nodes = SparkplugNodes::default();
    for (name, topic) in SAMPLES {
        let shown = take(&nodes, topic, &bytes(name), 0);
        assert_rows(&format!("sparkplug_b/{name}.bin"), &shown);
    }
}

#[test]
fn a_gap_asks_for_a_rebirth_and_keeps_the_rows() {
    let nodes = SparkplugNodes::default();
    take(&nodes, NBIRTH, &birth(1), 0);
    assert!(!take(&nodes, NDATA, &by_alias(1, 1), 1).contains("rebirth"));
    let shown = take(&nodes, NDATA, &by_alias(3, 1), 2);
    assert!(shown.contains("a=Int(6)") && shown.ends_with("rebirth: g/n\n"), "{shown}");
    // What follows the gap is in order again.
    assert!(!take(&nodes, NDATA, &by_alias(4, 1), 30).contains("rebirth"));
}

#[test]
fn data_by_name_has_the_type_that_the_birth_gave_whether_with_an_alias_or_not() {
    let metric = |name: &str, alias: Option<u64>, datatype: Option<u64>, field: u32, value: u64| {
        let mut metric = Vec::new();
        put_bytes(1, name.as_bytes(), &mut metric);
        alias.into_iter().for_each(|alias| put_number(2, alias, &mut metric));
        datatype.into_iter().for_each(|of| put_number(4, of, &mut metric));
        put_number(field, value, &mut metric);
        metric
    };
    let payload = |seq: u64, metrics: &[Vec<u8>]| {
        let mut payload = Vec::new();
        put_number(1, 1_765_000_000_000, &mut payload);
        metrics.iter().for_each(|metric| put_bytes(2, metric, &mut payload));
        put_number(3, seq, &mut payload);
        payload
    };
    // Name, data type, field of the value, and the value as it is sent.
    let all: [(&str, u64, u32, u64); 5] = [
        ("i8", 1, 10, u64::from(-7i32 as u32)),
        ("i16", 2, 10, u64::from(-2i32 as u32)),
        ("i32", 3, 10, u64::from(-15i32 as u32)),
        ("i64", 4, 11, -9i64 as u64),
        ("flag", 11, 14, 0),
    ];
    for has_alias in [true, false] {
        let nodes = SparkplugNodes::default();
        let born = all.iter().zip(1..).map(|((name, of, field, _), alias)| {
            metric(name, has_alias.then_some(alias), Some(*of), *field, 1)
        });
        take(&nodes, NBIRTH, &payload(0, &born.collect::<Vec<_>>()), 0);
        let sent =
            all.iter().map(|(name, _, field, value)| metric(name, None, None, *field, *value));
        assert_eq!(
            take(&nodes, NDATA, &payload(1, &sent.collect::<Vec<_>>()), 1),
            "group=g,node=n 1765000000000000000 i8=Int(-7) i16=Int(-2) i32=Int(-15) i64=Int(-9) \
             flag=Bool(false)\n"
        );
    }
}

#[test]
fn the_number_after_255_is_0() {
    let nodes = SparkplugNodes::default();
    take(&nodes, NBIRTH, &message(Some(254), &[(Some("a"), Some(1), 5)]).payload, 0);
    for seq in [255, 0, 1] {
        let shown = take(&nodes, NDATA, &by_alias(seq, 1), 1);
        assert!(!shown.contains("rebirth") && shown.contains("a=Int(6)"), "{shown}");
    }
}

#[test]
fn what_no_birth_named_is_a_fault_and_asks_for_one_now_and_then() {
    let nodes = SparkplugNodes::default();
    let shown = take(&nodes, NDATA, &by_alias(7, 1), 0);
    assert_eq!(shown, "fault: alias 1: no birth has named it\nrebirth: g/n\n");
    assert!(!take(&nodes, NDATA, &by_alias(8, 1), 9).contains("rebirth"));
    assert!(take(&nodes, NDATA, &by_alias(9, 1), 10).contains("rebirth"));
    take(&nodes, NBIRTH, &birth(1), 11);
    let mixed = message(Some(1), &[(None, Some(9), 1), (None, Some(1), 2), (None, Some(8), 3)]);
    assert_eq!(
        take(&nodes, NDATA, &mixed.payload, 12),
        "group=g,node=n 1765000000000000000 a=Int(2)\n\
         fault: alias 9: no birth has named it (and 1 more like it)\nrebirth: g/n\n"
    );
}

#[test]
fn metrics_with_names_need_no_birth_but_ask_for_one() {
    let nodes = SparkplugNodes::default();
    let named = message(Some(3), &[(Some("x"), None, 1)]).payload;
    assert_eq!(
        take(&nodes, "spBv1.0/g/DDATA/n/d", &named, 0),
        "group=g,node=n,device=d 1765000000000000000 x=Int(1)\nrebirth: g/n\n"
    );
}

#[test]
fn a_death_of_an_older_session_is_ignored() {
    let nodes = SparkplugNodes::default();
    take(&nodes, NBIRTH, &birth(2), 0);
    let death = |bd_seq| message(None, &[(Some("bdSeq"), None, bd_seq)]).payload;
    assert!(take(&nodes, NDEATH, &death(1), 1).starts_with("ignored"));
    let device = message(Some(1), &[(Some("x"), Some(2), 1)]).payload;
    take(&nodes, "spBv1.0/g/DBIRTH/n/d", &device, 1);
    assert_eq!(
        take(&nodes, NDEATH, &death(2), 2),
        "group=g,node=n - online=Bool(false)\ngroup=g,node=n,device=d - online=Bool(false)\n"
    );
    // Its aliases ended with it.
    assert!(take(&nodes, NDATA, &by_alias(1, 1), 3).starts_with("fault"));
}

#[test]
fn a_birth_defines_anew() {
    let nodes = SparkplugNodes::default();
    take(&nodes, NBIRTH, &birth(1), 0);
    let again = message(Some(0), &[(Some("bdSeq"), None, 2), (Some("b"), Some(1), 5)]).payload;
    take(&nodes, NBIRTH, &again, 1);
    assert!(take(&nodes, NDATA, &by_alias(1, 1), 2).contains("b=Int(6)"));
    let twice = message(Some(0), &[(Some("a"), Some(1), 5), (Some("b"), Some(1), 5)]).payload;
    assert!(take(&nodes, NBIRTH, &twice, 3).starts_with("refused"));
    assert!(take(&nodes, NDATA, &by_alias(2, 1), 4).contains("b=Int(6)"));
}

/// A message as Eclipse Tahu compresses it.
fn compressed(payload: &[u8], algorithm: Option<&str>) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
    use std::io::Write;
    let mut body = Vec::new();
    match algorithm {
        Some("GZIP") => {
            GzEncoder::new(&mut body, Compression::fast()).write_all(payload).unwrap();
        }
        _ => ZlibEncoder::new(&mut body, Compression::fast()).write_all(payload).unwrap(),
    }
    let mut message = Vec::new();
    if let Some(algorithm) = algorithm {
        let mut metric = Vec::new();
        put_bytes(1, b"algorithm", &mut metric);
        put_number(4, 12, &mut metric);
        put_bytes(15, algorithm.as_bytes(), &mut metric);
        put_bytes(2, &metric, &mut message);
    }
    put_number(3, 1, &mut message);
    put_bytes(4, b"SPBV1.0_COMPRESSED", &mut message);
    put_bytes(5, &body, &mut message);
    message
}

#[test]
fn compressed_payloads_are_opened() {
    let data = message(None, &[(None, Some(1), 6)]).payload;
    for algorithm in [None, Some("DEFLATE"), Some("GZIP")] {
        let nodes = SparkplugNodes::default();
        take(&nodes, NBIRTH, &birth(1), 0);
        let shown = take(&nodes, NDATA, &compressed(&data, algorithm), 1);
        assert_eq!(shown, "group=g,node=n 1765000000000000000 a=Int(6)\n", "{algorithm:?}");
        // The number of the message stands outside.
        assert!(!take(&nodes, NDATA, &by_alias(2, 1), 2).contains("rebirth"));
    }
    let nodes = SparkplugNodes::default();
    let wrong = [
        (compressed(&data, Some("LZW")), "a compression \"LZW\" that is not known"),
        (compressed(&[0; 9 << 20], None), "a compressed payload of more than 8388608 bytes"),
    ];
    for (payload, why) in wrong {
        assert_eq!(take(&nodes, NDATA, &payload, 0), format!("refused: {why}"));
    }
}

#[test]
fn births_that_were_kept_name_metrics_and_are_doubted() {
    let nodes = SparkplugNodes::default();
    let mut kept = nodes.take(NBIRTH, &birth(7), 0).unwrap().births;
    let device = message(Some(1), &[(Some("x"), Some(2), 1)]).payload;
    kept.extend(nodes.take("spBv1.0/g/DBIRTH/n/d", &device, 0).unwrap().births);
    // Whatever the order in which they are read again.
    for order in [[0, 1], [1, 0]] {
        let nodes = SparkplugNodes::default();
        order.iter().for_each(|at| nodes.restore(&kept[*at]).unwrap());
        let shown = take(&nodes, NDATA, &by_alias(90, 1), 1);
        assert!(shown.contains("a=Int(6)") && shown.ends_with("rebirth: g/n\n"), "{shown}");
        let shown = take(&nodes, "spBv1.0/g/DDATA/n/d", &by_alias(91, 2), 20);
        assert_eq!(shown, "group=g,node=n,device=d 1765000000000000000 x=Int(6)\n");
        let death = |seq| message(None, &[(Some("bdSeq"), None, seq)]).payload;
        assert!(take(&nodes, NDEATH, &death(6), 21).starts_with("ignored"));
        let dead = nodes.take(NDEATH, &death(7), 22 * SECOND).unwrap().births;
        let dead: Vec<_> = dead.iter().map(|one| (one.device.as_deref(), &one.birth)).collect();
        assert_eq!(dead, [(Some("d"), &None), (None, &None)]);
        assert!(nodes.index.bytes() > 0);
    }
    // A new birth ends what devices said before it.
    let again = nodes.take(NBIRTH, &birth(8), 0).unwrap().births;
    assert_eq!((again[0].device.as_deref(), &again[0].birth), (Some("d"), &None));
    assert_eq!((&again[1].device, &again[1].birth), (&None, &Some(kept_birth(8))));
}

/// `birth` without its values.
fn kept_birth(bd_seq: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    for (name, alias, value) in [("bdSeq", None, Some(bd_seq)), ("a", Some(1), None)] {
        let mut metric = Vec::new();
        put_bytes(1, name.as_bytes(), &mut metric);
        if let Some(alias) = alias {
            put_number(2, alias, &mut metric);
        }
        put_number(4, 4, &mut metric);
        if let Some(value) = value {
            put_number(11, value, &mut metric);
        }
        put_bytes(2, &metric, &mut kept);
    }
    kept
}

#[test]
fn one_name_twice_at_one_time_gives_two_rows() {
    let nodes = SparkplugNodes::default();
    let twice =
        message(Some(0), &[(Some("x"), None, 1), (Some("y"), None, 2), (Some("x"), None, 3)]);
    let outcome = nodes.take(NDATA, &twice.payload, 0).unwrap();
    let fields: Vec<_> = outcome.rows.iter().map(|row| row.fields.clone()).collect();
    let field = |name: &str, value| (name.to_owned(), Document::Int(value));
    assert_eq!(fields, [vec![field("x", 1), field("y", 2)], vec![field("x", 3)]]);
}

#[test]
fn bounds_forget_the_dead_and_the_silent_first() {
    let three = |nodes: &SparkplugNodes| {
        for node in ["a", "b", "c"] {
            take(nodes, &format!("spBv1.0/g/NBIRTH/{node}"), &birth(1), 0);
        }
    };
    let unbounded = SparkplugNodes::default();
    three(&unbounded);
    let nodes = SparkplugNodes::bounded(unbounded.index.bytes());
    three(&nodes);
    // A node without a birth pushes none with one out twice: it goes first itself.
    take(&nodes, "spBv1.0/g/NDATA/x", &by_alias(1, 1), 1);
    take(&nodes, "spBv1.0/g/NDATA/y", &by_alias(1, 1), 1);
    assert_eq!(nodes.len(), 3);
    let named = |nodes: &SparkplugNodes, node: &str| {
        take(nodes, &format!("spBv1.0/g/NDATA/{node}"), &by_alias(1, 1), 2).contains("a=Int")
    };
    assert!(named(&nodes, "c") && named(&nodes, "b") && !named(&nodes, "a"));

    let small = SparkplugNodes::bounded(4_000);
    let names: Vec<String> = (0..100).map(|at| format!("metric {at}")).collect();
    let metrics: Vec<_> =
        names.iter().zip(0..).map(|(name, at)| (Some(&**name), Some(at), 1)).collect();
    let large = message(Some(0), &metrics).payload;
    assert!(take(&small, NBIRTH, &large, 0).starts_with("refused: the node defines more"));
    assert_eq!((small.len(), small.index.bytes()), (0, 0));
}

#[test]
fn thousands_of_nodes_are_known_by_their_aliases() {
    let nodes = SparkplugNodes::default();
    for node in 0..10_000 {
        take(&nodes, &format!("spBv1.0/g/NBIRTH/n{node}"), &birth(1), 0);
    }
    for node in 0..10_000 {
        let shown = take(&nodes, &format!("spBv1.0/g/NDATA/n{node}"), &by_alias(1, 1), 1);
        assert!(shown.contains("a=Int"), "{node}: {shown}");
    }
}

#[test]
fn a_message_of_one_node_waits_for_no_other_node() {
    let nodes = SparkplugNodes::default();
    take(&nodes, NBIRTH, &birth(1), 0);
    let edge = EdgeNode { group: "g".into(), node: "n".into() };
    let meanwhile = nodes.index.change(&edge, |_| {
        let other = |kind: &str| format!("spBv1.0/g/{kind}/other");
        take(&nodes, &other("NBIRTH"), &birth(1), 0);
        take(&nodes, &other("NDATA"), &by_alias(1, 1), 1)
    });
    assert!(meanwhile.unwrap().contains("a=Int"));
}

#[test]
fn a_million_metrics_are_refused_before_they_are_read() {
    let flood = [0x12, 0x00].repeat(1_000_000);
    let shown = take(&SparkplugNodes::default(), NDATA, &flood, 0);
    assert_eq!(shown, "refused: more than 16384 metrics in one message");
}

#[test]
fn arrays_are_lists() {
    let list = |datatype, bytes: &[u8]| match value::read(Raw::Bytes(bytes), Some(datatype)) {
        Ok(Some(Document::List(values))) => format!("{values:?}"),
        other => format!("{other:?}"),
    };
    // The examples of the specification's section on array types.
    assert_eq!(list(22, b"\xe9\x7b"), "[Int(-23), Int(123)]");
    assert_eq!(list(23, b"\xd0\x8a\x30\x75"), "[Int(-30000), Int(30000)]");
    assert_eq!(list(24, b"\xff\xff\xff\xff\x89\xe1\xcc\x12"), "[Int(-1), Int(315416969)]");
    assert_eq!(list(27, b"\x1e\x00\x88\xd0"), "[Int(30), Int(53384)]");
    assert_eq!(list(30, &1.5f32.to_le_bytes()), "[Float(1.5)]");
    assert_eq!(list(32, b"\x0c\x00\x00\x00\x34\xd0").matches("true").count(), 6);
    assert_eq!(list(33, b"ABC\0hello\0"), r#"[Text("ABC"), Text("hello")]"#);
    assert_eq!(list(34, &1u64.to_le_bytes()), "[Time(1000000)]");
    for (datatype, broken) in
        [(24, &b"\x01\x02\x03"[..]), (32, b"\xff\xff\xff\xff\x00"), (33, b"x"), (29, &[0xff; 8])]
    {
        assert!(value::read(Raw::Bytes(broken), Some(datatype)).is_err(), "{datatype}");
    }
}

#[test]
fn topics_and_hosts() {
    let nodes = SparkplugNodes::default();
    for topic in ["spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d", "spBv1.0/STATE/host"] {
        assert!(take(&nodes, topic, b"{}", 0).starts_with("ignored"), "{topic}");
    }
    for topic in [
        "",
        "spBv1.0/g/NDATA",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spAv1.0/g/NDATA/n",
        "spBv1.0//NDATA/n",
        "spBv1.0/g/DDATA/n/d/e",
        "spBv1.0/g/XDATA/n",
    ] {
        assert!(take(&nodes, topic, b"", 0).starts_with("refused"), "{topic}");
    }
    assert!(nodes.is_empty());
}

#[test]
fn a_rebirth_command_reads_as_what_it_asks() {
    let edge = EdgeNode { group: "g".into(), node: "n".into() };
    let command = rebirth_command(&edge, 1_765_000_000_000_000_000);
    assert_eq!(command.topic, "spBv1.0/g/NCMD/n");
    let payload = Payload::read(&command.payload).unwrap();
    assert_eq!(payload.timestamp_ms, Some(1_765_000_000_000));
    let [metric] = &payload.metrics[..] else { panic!("one metric") };
    assert_eq!((metric.name, metric.raw), (Some(command::REBIRTH), Some(Raw::Bool(true))));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let nodes = SparkplugNodes::default();
        for (_, topic) in SAMPLES {
            drop(nodes.take(topic, &bytes, 0));
        }
    }

    #[test]
    fn broken_samples_are_survived(
        which in 0..SAMPLES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let nodes = SparkplugNodes::default();
        for (at, (name, topic)) in SAMPLES.iter().enumerate() {
            let mut payload = bytes(name);
            if at == which {
                for (place, byte) in &changes {
                    let place = place.index(payload.len());
                    payload[place] = *byte;
                }
                payload.truncate(cut.index(payload.len() + 1));
            }
            drop(nodes.take(topic, &payload, 0));
        }
        nodes.index.bytes();
    }
}
