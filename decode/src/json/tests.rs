use super::*;
use crate::excerpt;
use crate::{points::PointsBuilder, row::RowRules};
use oribi_model::{ArrivalClock, Name, Points, Rejection, SystemClock, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn read(text: &str) -> (Points, Vec<Rejection>) {
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    let rules = RowRules::new(&arrival);
    let name = |name| Name::new(name).unwrap();
    let mut builder = PointsBuilder::new(name("default"), name("m"));
    let mut sink = RowSink::new(&rules, &mut builder, None, 1);
    if let Err(fault) = read_rows(text, &mut sink) {
        sink.refuse(fault);
        sink.end_row();
    }
    let rejected = std::mem::take(&mut sink.rejected);
    (builder.finish(), rejected)
}

#[test]
fn members_become_fields() {
    let (points, rejected) = read(
        r#"{"ts":1700000000,"t":21.5,"n":3,"on":true,"x":null,"a":{"b":[1,{"c":"ü\u00fc\ud83d\ude00"}]},"e":{}}"#,
    );
    assert_eq!(rejected, []);
    assert_eq!(points.times, [1_700_000_000_000_000_000]);
    let fields: Vec<_> =
        points.fields.iter().map(|f| (f.name.as_str(), f.values.get(0).unwrap())).collect();
    assert_eq!(
        fields,
        [
            ("t", Value::Float(21.5)),
            ("n", Value::Int(3)),
            ("on", Value::Bool(true)),
            ("a_b_0", Value::Int(1)),
            ("a_b_1_c", Value::Text("üü😀".into())),
        ]
    );
}

#[test]
fn bad_objects_do_not_hurt_their_neighbours() {
    let (points, rejected) =
        read(r#"[{"v":1},{"v":1e999},{"v":2,"v":3},{"v":4},{"time":5,"v":1}]"#);
    assert_eq!(points.origins, [1, 4]);
    assert_eq!(rejected.iter().map(|one| one.origin).collect::<Vec<_>>(), [2, 3, 5]);
}

#[test]
fn what_is_no_row_is_refused() {
    let deep = "[".repeat(100_000);
    let nested = format!("{{\"a\":{}", "{\"a\":".repeat(100_000));
    for bad in [
        "",
        "1",
        "{",
        "{}",
        r#"{"a":1"#,
        r#"{"a":1}x"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":tru}"#,
        r#"{"a":01}"#,
        r#"{"a":NaN}"#,
        r#"{"a":18446744073709551616}"#,
        "{\"a\":\"\n\"}",
        &deep,
        &nested,
        r#"{"time":"yesterday","a":1}"#,
        r#"{"":1}"#,
        "[1]",
        r#"{"a":1,}"#,
    ] {
        let (points, rejected) = read(bad);
        assert_eq!((points.rows(), rejected.len()), (0, 1), "{}", excerpt(bad, 40));
    }
}

proptest! {
    #[test]
    fn any_text_is_safe(text: String) {
        read(&text);
    }

    #[test]
    fn text_like_json_is_safe(text in "[\\[\\]{}\":,a1.e\\\\u-]{0,60}") {
        read(&text);
    }

    #[test]
    fn numbers_and_texts_come_back(int: i64, float in -1e300f64..1e300, text in "[^\\p{C}]{0,40}") {
        let body = serde_json::json!({"i": int, "f": float, "s": text}).to_string();
        let (points, rejected) = read(&body);
        prop_assert_eq!(rejected, []);
        let cell = |name: &str| {
            points.fields.iter().find(|field| field.name == name).and_then(|f| f.values.get(0))
        };
        prop_assert_eq!(cell("i"), Some(Value::Int(int)));
        prop_assert_eq!(cell("f"), Some(Value::Float(float)));
        prop_assert_eq!(cell("s"), Some(Value::Text(text)));
    }
}
