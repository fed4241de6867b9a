use super::*;
use oribi_model::{SystemClock, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn arrival() -> ArrivalClock {
    ArrivalClock::new(Arc::new(SystemClock))
}

fn read(body: &[u8]) -> Decoded {
    let arrival = arrival();
    decode(body, &Options::new(Name::new("default").unwrap(), &arrival))
}

#[test]
fn lines_that_must_decode() {
    for (line, rows) in [
        ("m v=1i 5", 1),
        ("m,a=b v=1.5,w=t,x=\"a \\\"b\\\" c\" 5", 1),
        ("m\\ x,a\\,b=c\\=d f\\ g=1 5", 1),
        ("\u{feff}m v=1 5\r\nm v=2 6\r\n", 2),
        ("", 0),
        ("\n", 0),
        ("# only a comment", 0),
        ("\n\nm v=-1i -5\n", 1),
        ("m v=1,v=2 5", 1),
        ("m v=18u 5", 1),
        ("m v=\"two\nlines\" 5\nm v=\"x\" 6", 2),
        ("m v=9223372036854775807i 9000", 1),
        ("m v=1e3,w=-0,x=+1 5", 1),
    ] {
        let decoded = read(line.as_bytes());
        assert_eq!(decoded.rejected, [], "{line:?}");
        assert_eq!(decoded.rows(), rows, "{line:?}");
    }
}

#[test]
fn lines_that_must_fail_with_their_number() {
    for (line, reason) in [
        ("m", RejectReason::Syntax),
        ("m,a=b", RejectReason::Syntax),
        ("m,a= v=1", RejectReason::Syntax),
        ("m,a=b,a=c v=1", RejectReason::Syntax),
        ("m,time=b v=1", RejectReason::Name),
        ("m time=1", RejectReason::Name),
        ("m v=", RejectReason::Syntax),
        ("m v=\"never closed", RejectReason::Syntax),
        ("m v=NaN", RejectReason::Number),
        ("m v=1e999", RejectReason::Number),
        ("m v=9223372036854775808i", RejectReason::Number),
        ("m v=18446744073709551615u", RejectReason::Number),
        ("m v=1 12.5", RejectReason::Time),
        ("m v=1 99999999999999999999", RejectReason::Time),
        ("m v=1 9223372036854775807", RejectReason::Time),
        ("m v=1 5 6", RejectReason::Syntax),
        ("m,a=b=c v=1", RejectReason::Syntax),
        ("m,a=x\0y v=1", RejectReason::Syntax),
        ("../../etc/passwd v=1", RejectReason::Name),
        ("_dlq v=1", RejectReason::Name),
    ] {
        let body = format!("ok v=1 1\n{line}\nok v=2 2");
        let decoded = read(body.as_bytes());
        let found: Vec<_> = decoded.rejected.iter().map(|one| (one.origin, one.reason)).collect();
        assert_eq!(found, [(2, reason)], "{line:?}: {:?}", decoded.rejected);
        assert_eq!(decoded.rows(), 2, "{line:?}");
    }
}

#[test]
fn a_later_field_wins_and_types_may_change() {
    let decoded = read(b"m v=1i,v=2i 5\nm v=2.5 6\nm s=\"a\",s=\"b\" 7");
    let fields = &decoded.points[0].fields;
    assert_eq!(fields[0].values.get(0), Some(Value::Int(2)));
    assert_eq!(fields[0].odd, [(1, Value::Float(2.5))]);
    assert_eq!(fields[1].values.get(2), Some(Value::Text("b".into())));
}

#[test]
fn invalid_utf8_and_too_many_tags_cost_one_line() {
    let decoded = read(b"m v=1 1\nm,a=\xff v=1 2\nm v=3 3");
    assert_eq!((decoded.rows(), decoded.rejected[0].origin), (2, 2));
    let tags: String = (0..10_000).map(|tag| format!(",t{tag}=x")).collect();
    let decoded = read(format!("m{tags} v=1").as_bytes());
    assert_eq!(decoded.rejected[0].reason, RejectReason::Limit);
}

proptest! {
    #[test]
    fn any_bytes_are_safe(body: Vec<u8>) {
        read(&body);
    }

    #[test]
    fn text_like_lines_are_safe(body in "[mv,= \\\\\"\\n1ite.\u{fc}#-]{0,80}") {
        read(body.as_bytes());
    }

    #[test]
    fn rows_come_back(rows in prop::collection::vec((any::<i64>(), -1e9f64..1e9, 0u8..4), 1..40)) {
        let mut body = String::new();
        for (at, (int, float, host)) in rows.iter().enumerate() {
            body.push_str(&format!("m,host=h{host} i={int}i,f={float:?} {at}\n"));
        }
        let decoded = read(body.as_bytes());
        prop_assert_eq!(&decoded.rejected, &[]);
        let points = &decoded.points[0];
        for (at, (int, float, host)) in rows.iter().enumerate() {
            prop_assert_eq!(points.times[at], at as i64);
            prop_assert_eq!(points.fields[0].values.get(at), Some(Value::Int(*int)));
            prop_assert_eq!(points.fields[1].values.get(at), Some(Value::Float(*float)));
            let tag = points.tags[0].value(points.row_series[at] as usize);
            let wanted = format!("h{host}");
            prop_assert_eq!(tag, wanted.as_bytes());
        }
    }
}
