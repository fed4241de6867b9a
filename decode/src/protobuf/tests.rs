use super::*;
use crate::{
    testing::{Disk, assert_rows, sample},
    wire::{put_bytes, put_number},
};
use proptest::prelude::*;
use std::sync::LazyLock;

const NONE: Imports<'static> = Imports::AtHand(&[]);

static READING: LazyLock<ProtobufSchema> = LazyLock::new(|| {
    let text = String::from_utf8(sample("protobuf/reading.proto")).unwrap();
    ProtobufSchema::parse(&text, NONE, None).unwrap()
});

fn compiled(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(text, NONE, None).unwrap()
}

fn show(document: &Document) -> String {
    let Document::Map(members) = document else { return format!("{document:?}\n") };
    members.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect()
}

#[test]
fn messages_give_the_rows_beside_them() {
    // Compiled by protoc, written by Google's Python package.
    let set = sample("protobuf/reading.desc");
    let by_set = ProtobufSchema::from_descriptor_set(&set, Some("plant.v1.Reading")).unwrap();
    for name in ["full", "sparse"] {
        let path = format!("protobuf/{name}.bin");
        let bytes = sample(&path);
        let document = READING.decode(&bytes).unwrap();
        assert_rows(&path, &show(&document));
        assert_eq!(by_set.decode(&bytes), Ok(document), "{name}");
    }
}

#[test]
fn places_in_a_file_lead_to_messages() {
    assert_eq!(show(&READING.decode_at(&[1], b"\x08\x05").unwrap()), "value=Int(5)\n");
    // The entries of maps, which the compiler puts before it, are not counted.
    assert_eq!(show(&READING.decode_at(&[0, 0], b"\x08\x05").unwrap()), "x=Int(-3)\n");
    for indexes in [&[][..], &[2], &[0, 1], &[0, 0, 0], &[u32::MAX]] {
        assert!(READING.decode_at(indexes, b"").is_err(), "{indexes:?}");
    }
}

#[test]
fn imports_are_found_among_those_at_hand() {
    let import = Import {
        name: "a/part.proto".into(),
        text: "syntax = \"proto3\"; package a; message Part { int32 x = 1; }".into(),
    };
    let text = "syntax = \"proto3\"; import \"a/part.proto\"; message M { a.Part p = 1; }";
    let schema = ProtobufSchema::parse(text, Imports::AtHand(&[import]), None).unwrap();
    assert_eq!(show(&schema.decode(b"\x0a\x02\x08\x05").unwrap()), "p=Map([(\"x\", Int(5))])\n");
    let fault = ProtobufSchema::parse(text, NONE, None).unwrap_err();
    assert!(fault.detail.contains("a/part.proto"), "{}", fault.detail);
}

#[test]
fn imports_are_found_below_a_folder() {
    let folder = std::env::temp_dir().join(format!("oribi-imports-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("a")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write(
        "a/part.proto",
        "syntax = \"proto3\"; package a; import \"unit.proto\"; message Part { Unit u = 1; }",
    );
    write("unit.proto", "syntax = \"proto3\"; enum Unit { NONE = 0; BAR = 1; }");
    write("long.proto", &format!("syntax = \"proto3\"; //{}", "x".repeat(SCHEMA_BYTES_MAX)));
    write("notes.txt", "syntax = \"proto3\";");
    let below = folder.join("a");
    let importing = |name: &str, folder: &Path| {
        let text = format!("syntax = \"proto3\"; import \"{name}\"; message M {{ a.Part p = 1; }}");
        let files: Arc<dyn SchemaFiles> = Arc::new(Disk);
        ProtobufSchema::parse(&text, Imports::Below { folder, files: &files }, None)
    };
    let schema = importing("a/part.proto", &folder).unwrap();
    assert_eq!(
        show(&schema.decode(b"\x0a\x02\x08\x01").unwrap()),
        "p=Map([(\"u\", Text(\"BAR\"))])\n"
    );
    for (name, folder, part) in [
        ("b/part.proto", &folder, "'b/part.proto' not found"),
        ("part.proto", &below, "'unit.proto' not found"),
        ("../unit.proto", &below, "<schema>:1:27: invalid"),
        ("notes.txt", &folder, "'notes.txt' not found"),
        ("long.proto", &folder, "with long.proto it takes more than"),
    ] {
        let fault = importing(name, folder).unwrap_err();
        assert!(fault.detail.contains(part), "{name}: {}", fault.detail);
    }
    // The compiler refuses such names before; a file outside the folder is read in no case.
    let below = Folder { path: below, files: Arc::new(Disk), room: Cell::new(1_000) };
    for name in ["../unit.proto", "./part.proto", folder.join("unit.proto").to_str().unwrap()] {
        assert!(below.open_file(name).unwrap_err().is_file_not_found(), "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn wrong_schemas_say_what_is_wrong() {
    for (text, part) in [
        ("message {", "<schema>:1:9: expected"),
        ("syntax = \"proto3\";", "no message"),
        ("syntax = \"proto3\"; message M { Nothing n = 1; }", "Nothing"),
        ("syntax = \"proto3\"; import \"<schema>\"; message M {}", "import"),
        ("syntax = \"proto3\"; import \"etc/passwd\"; message M {}", "'etc/passwd' not found"),
    ] {
        let fault = ProtobufSchema::parse(text, NONE, None).unwrap_err();
        assert!(fault.detail.contains(part), "{text}: {}", fault.detail);
    }
    let text = "syntax = \"proto3\"; message M {}";
    assert!(ProtobufSchema::parse(text, NONE, Some("N")).is_err());
    assert!(ProtobufSchema::from_descriptor_set(b"\xff", None).is_err());
    assert!(ProtobufSchema::from_descriptor_set(b"", None).is_err());
    let long = " ".repeat(SCHEMA_BYTES_MAX + 1);
    assert_eq!(ProtobufSchema::parse(&long, NONE, None).unwrap_err().reason, RejectReason::Limit);
}

#[test]
fn the_later_value_counts_and_unknown_fields_do_not() {
    let schema = compiled(
        "syntax = \"proto3\"; message M { int32 a = 1; map<string, int32> m = 2; Kind k = 3;
         repeated int32 unpacked = 4 [packed = false]; }
         enum Kind { NONE = 0; }",
    );
    let bytes = b"\x08\x01\x12\x05\x0a\x01x\x10\x01\x08\x02\x12\x05\x0a\x01x\x10\x07\
                  \x18\x09\x78\x01\x12\x03\x0a\x01y\x20\x01\x22\x02\x02\x03";
    assert_eq!(
        show(&schema.decode(bytes).unwrap()),
        "a=Int(2)\nm=Map([(\"x\", Int(7)), (\"y\", Int(0))])\nk=Text(\"9\")\n\
         unpacked=List([Int(1), Int(2), Int(3)])\n"
    );
}

#[test]
fn a_message_in_parts_is_one() {
    let schema = compiled(
        "syntax = \"proto3\"; message M { I i = 1; } message I { int32 a = 1; repeated int32 b = 2; I c = 3; }",
    );
    let part = |field: u32, value: u64, inner: &[u8]| {
        let (mut of, mut whole) = (inner.to_vec(), Vec::new());
        put_number(field, value, &mut of);
        put_bytes(1, &of, &mut whole);
        whole
    };
    let deep = |value: u64| {
        let (mut of, mut inner) = (Vec::new(), Vec::new());
        put_number(2, value, &mut of);
        put_bytes(3, &of, &mut inner);
        inner
    };
    let bytes = [part(2, 1, &deep(7)), part(1, 5, &[]), part(2, 2, &deep(8))].concat();
    let shown = show(&schema.decode(&bytes).unwrap());
    assert_eq!(
        shown,
        "i=Map([(\"a\", Int(5)), (\"b\", List([Int(1), Int(2)])), \
         (\"c\", Map([(\"a\", Int(0)), (\"b\", List([Int(7), Int(8)]))]))])\n"
    );
}

#[test]
fn values_that_cannot_be_kept_are_faults_that_name_the_field() {
    let schema =
        compiled("syntax = \"proto3\"; message M { uint64 u = 1; string s = 2; M m = 3; }");
    for (bytes, part) in [
        (&b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], "\"u\": 18446744073709551615 does"),
        (b"\x12\x01\xff", "\"s\": it is not UTF-8"),
        (b"\x0d\x01\x02\x03\x04", "\"u\": it is written as another type"),
        (b"\x12\x05a", "ends too early"),
    ] {
        let fault = schema.decode(bytes).unwrap_err();
        assert!(fault.detail.contains(part), "{}", fault.detail);
    }
    let mut deep = Vec::new();
    for _ in 0..40 {
        let inner = std::mem::take(&mut deep);
        put_bytes(3, &inner, &mut deep);
    }
    assert!(schema.decode(&deep).unwrap_err().detail.contains("nests deeper"));
}

#[test]
fn many_small_values_are_refused_before_they_fill_memory() {
    let fields: String = (1..=100).map(|at| format!("int32 f{at} = {at};")).collect();
    let schema = compiled(&format!(
        "syntax = \"proto3\"; message L {{ repeated M m = 1; }} message M {{ {fields} }}"
    ));
    // Each empty message stands for a hundred zeros.
    let flood = [0x0a, 0x00].repeat(1 << 19);
    assert_eq!(schema.decode(&flood).unwrap_err().reason, RejectReason::Limit);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(READING.decode(&bytes));
        drop(ProtobufSchema::from_descriptor_set(&bytes, None));
    }

    #[test]
    fn broken_samples_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sample("protobuf/full.bin");
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        drop(READING.decode(&bytes));
    }

    #[test]
    fn any_schema_text_is_survived(
        text in "\\PC{0,60}",
        body in "((int32|M|map<string, M>|repeated [a-z.]{1,3}|message [A-Z]|\\{|\\}|= [0-9]{1,9};|oneof x|option a = \"|[a-z]) ?){0,12}",
    ) {
        drop(ProtobufSchema::parse(&text, NONE, None));
        let text = format!("syntax = \"proto3\"; message M {{ {body} }}");
        drop(ProtobufSchema::parse(&text, NONE, None));
    }

    #[test]
    fn numbers_come_back(value: i64) {
        let schema = compiled("syntax = \"proto3\"; message M { int64 a = 1; }");
        let mut bytes = Vec::new();
        put_number(1, value as u64, &mut bytes);
        let expected = Document::Map(vec![("a".into(), Document::Int(value))]);
        prop_assert_eq!(schema.decode(&bytes), Ok(expected));
    }
}
