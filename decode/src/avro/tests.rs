use super::*;
use crate::{
    json,
    testing::{assert_rows, sample},
};
use proptest::prelude::*;

/// Written by the Python package fastavro with the schema beside them.
const SAMPLES: [&str; 5] = [
    "datum.bin",
    "single-object.bin",
    "container-null.avro",
    "container-deflate.avro",
    "container-zstandard.avro",
];

fn reading() -> AvroSchema {
    let text = String::from_utf8(sample("avro/reading.avsc")).unwrap();
    AvroSchema::parse(&text).unwrap()
}

fn show(document: &Document) -> String {
    let rows = match document {
        Document::List(rows) => rows.as_slice(),
        one => std::slice::from_ref(one),
    };
    let row = |row: &Document| match row {
        Document::Map(members) => {
            members.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect()
        }
        other => format!("{other:?}\n"),
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn datum(schema: &str, bytes: &[u8]) -> Result<Document, Fault> {
    AvroSchema::parse(schema).unwrap().decode(bytes)
}

#[test]
fn each_form_gives_the_rows_beside_it() {
    let schema = reading();
    for name in SAMPLES {
        let path = format!("avro/{name}");
        assert_rows(&path, &show(&schema.decode_message(&sample(&path)).unwrap()));
    }
    let datum = sample("avro/datum.bin");
    let object = sample("avro/single-object.bin");
    assert_eq!(schema.decode(&datum), schema.decode_single_object(&object));
    assert!(schema.decode_single_object(&datum).is_err());
    let other = AvroSchema::parse(r#""int""#).unwrap();
    let fault = other.decode_single_object(&object).unwrap_err();
    assert!(fault.detail.starts_with("the message was written with schema 3b11236ae136e5c0"));
}

#[test]
fn fingerprints_are_those_of_other_libraries() {
    // The first two as the specification's test data has them, the others by fastavro.
    for (schema, expected) in [
        (r#""null""#, 0x63dd_24e7_cc25_8f8a),
        (r#""int""#, 0x7275_d51a_3f39_5c8f),
        (r#"{"type":"int","doc":"x"}"#, 0x7275_d51a_3f39_5c8f),
        (r#"{"type":"fixed","name":"a.b.C","size":4}"#, 0x6519_7804_e54f_ef83),
        (
            r#"[{"type":"int"},{"type":"enum","name":"E","namespace":"x.y","symbols":["A"],"doc":"d"}]"#,
            0x8ccb_32fa_5086_2327,
        ),
    ] {
        let found = AvroSchema::parse(schema).unwrap().fingerprint;
        assert_eq!(found, expected, "{schema}: {found:016x}");
    }
}

#[test]
fn logical_types_mean_what_they_say() {
    let time = |logical: &str| format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
    for (logical, ns) in [
        ("timestamp-millis", 1_000_000),
        ("local-timestamp-millis", 1_000_000),
        ("timestamp-micros", 1_000),
        ("timestamp-nanos", 1),
    ] {
        assert_eq!(datum(&time(logical), &[2]), Ok(Document::Time(ns)), "{logical}");
    }
    assert!(datum(&time("timestamp-millis"), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").is_err());
    let fixed = r#"{"type":"fixed","name":"F","size":2,"logicalType":"decimal","scale":1}"#;
    assert_eq!(datum(fixed, &[0xff, 0xfb]), Ok(Document::Float(-0.5)));
    let uuid = r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#;
    let text = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    let bytes: Vec<u8> = (0..16).collect();
    assert_eq!(datum(uuid, &bytes), Ok(Document::Text(text.into())));
    let duration = r#"{"type":"fixed","name":"F","size":12,"logicalType":"duration"}"#;
    let expected = json::read_document(r#"{"months":1,"days":2,"millis":3}"#);
    assert_eq!(datum(duration, b"\x01\0\0\0\x02\0\0\0\x03\0\0\0"), expected);
    // A logical type on a wrong type does not count.
    let wrong = r#"{"type":"string","logicalType":"timestamp-millis"}"#;
    assert_eq!(datum(wrong, b"\x02a"), Ok(Document::Text("a".into())));
}

#[test]
fn named_types_come_from_other_schemas() {
    let part =
        r#"{"type":"record","name":"Part","namespace":"a","fields":[{"name":"x","type":"int"}]}"#;
    let whole = r#"{"type":"record","name":"Whole","namespace":"a","fields":[
        {"name":"p","type":"Part"},{"name":"q","type":"a.Part"}]}"#;
    let schema = AvroSchema::parse_with(whole, &[part.to_owned()]).unwrap();
    let expected = json::read_document(r#"{"p":{"x":1},"q":{"x":-1}}"#);
    assert_eq!(schema.decode(&[2, 1]), expected);
    assert!(AvroSchema::parse(whole).unwrap_err().detail.contains("\"a.Part\" is not known"));
}

#[test]
fn wrong_schemas_say_what_is_wrong() {
    for (schema, part) in [
        ("{", "is no JSON"),
        ("5", "neither a name"),
        (r#""decimal""#, "not known"),
        (r#"{"type":"record","name":"R"}"#, "no fields"),
        (r#"{"type":"record","fields":[]}"#, "no name"),
        (r#"{"type":"fixed","name":"F"}"#, "no size"),
        (r#"{"type":"enum","name":"E","symbols":[1]}"#, "symbols"),
        (
            r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":1}]"#,
            "defined twice",
        ),
    ] {
        let fault = AvroSchema::parse(schema).unwrap_err();
        assert!(fault.detail.contains(part), "{schema}: {}", fault.detail);
    }
    assert!(AvroSchema::parse(&" ".repeat(SCHEMA_BYTES_MAX + 1)).is_err());
}

#[test]
fn false_counts_cost_neither_time_nor_memory() {
    // 2^40 values of no bytes.
    let mut bytes = Vec::new();
    crate::wire::put_varint(1 << 41, &mut bytes);
    let nulls = r#"{"type":"array","items":"null"}"#;
    assert!(datum(nulls, &bytes).unwrap_err().detail.contains("more than"));
    let endless = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
    assert!(datum(endless, &[]).unwrap_err().detail.contains("nests deeper"));
    assert!(datum(r#""bytes""#, b"\xfe\xff\xff\xff\xff\x01").is_err());
    assert!(datum(r#""bytes""#, b"\x01").is_err());
    assert!(datum(r#"["null"]"#, b"\x02").is_err());
    assert!(datum(r#"{"type":"enum","name":"E","symbols":["A"]}"#, b"\x02").is_err());
    assert!(datum(r#""boolean""#, b"\x02").is_err());
    assert!(datum(r#""int""#, b"\x02\x02").is_err());
}

#[test]
fn a_container_that_would_burst_is_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; container::CONTAINER_BYTES_MAX + 1]).unwrap();
    let block = encoder.finish().unwrap();
    let mut bytes = b"Obj\x01\x04\x16avro.schema\x0c\"null\"\x14avro.codec\x0edeflate\x00".to_vec();
    bytes.extend([7; 16]);
    crate::wire::put_varint(2, &mut bytes);
    crate::wire::put_varint(block.len() as u64 * 2, &mut bytes);
    bytes.extend(block);
    bytes.extend([7; 16]);
    assert!(read_container(&bytes).unwrap_err().detail.contains("a container of more than"));
}

#[test]
fn a_container_compressed_with_snappy() {
    let mut bytes = b"Obj\x01\x04\x16avro.schema\x0c\"long\"\x14avro.codec\x0csnappy\x00".to_vec();
    bytes.extend(*b"0123456789abcdef");
    // Two objects, 1 and -1, in a block of a literal and its sum.
    let mut crc = flate2::Crc::new();
    crc.update(b"\x02\x01");
    let block = [&b"\x02\x04\x02\x01"[..], &crc.sum().to_be_bytes()].concat();
    bytes.extend([4, 2 * block.len() as u8]);
    bytes.extend(block);
    bytes.extend(*b"0123456789abcdef");
    let expected = Document::List(vec![Document::Int(1), Document::Int(-1)]);
    assert_eq!(read_container(&bytes), Ok(expected));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(reading().decode(&bytes));
        let mut container = b"Obj\x01".to_vec();
        container.extend(&bytes);
        drop(read_container(&container));
    }

    #[test]
    fn broken_samples_are_survived(
        name in prop::sample::select(&SAMPLES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sample(&format!("avro/{name}"));
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        drop(reading().decode_message(&bytes));
    }

    #[test]
    fn any_schema_text_is_survived(text in r#"[\[\]{}:,"a-z]{0,40}"#, json in "\\PC{0,60}") {
        drop(AvroSchema::parse(&text));
        drop(AvroSchema::parse(&json));
    }

    #[test]
    fn numbers_come_back(value: i64) {
        let mut bytes = Vec::new();
        crate::wire::put_varint((value << 1 ^ value >> 63) as u64, &mut bytes);
        prop_assert_eq!(datum(r#""long""#, &bytes), Ok(Document::Int(value)));
    }
}
