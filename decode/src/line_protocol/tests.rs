use super::*;
use oribi_model::{Rejection, SystemClock, Value};
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

/// A row as (line, table, tags, fields, time), in an order of its own; times that a line did not
/// say are all the same.
type Seen = (u32, String, Vec<(String, String)>, Vec<(String, String)>, i64);

fn seen(decoded: &Decoded) -> Vec<Seen> {
    const SAID_MAX: i64 = 1_000_000;
    let mut rows = Vec::new();
    for points in &decoded.points {
        for row in 0..points.rows() {
            let series = points.row_series[row] as usize;
            let tag = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let mut tags: Vec<_> = points.tags_of(series).map(tag).collect();
            tags.sort();
            let mut fields = Vec::new();
            for field in &points.fields {
                let odd = field.odd.iter().rfind(|(at, _)| *at as usize == row);
                let value = odd.map(|(_, value)| value.clone()).or_else(|| field.values.get(row));
                fields.extend(value.map(|value| (field.name.clone(), format!("{value:?}"))));
            }
            fields.sort();
            let time = points.times[row].min(SAID_MAX);
            rows.push((points.origins[row], points.table.to_string(), tags, fields, time));
        }
    }
    rows.sort();
    rows
}

/// Reads bodies with what the ones before taught, and each line on its own by somebody who was
/// taught nothing: both must see the same.
fn compare(bodies: &[Vec<String>], bytes_max: usize) {
    let arrival = arrival();
    let options = Options::new(Name::new("default").unwrap(), &arrival);
    let mut heads = Heads::within(bytes_max);
    for lines in bodies {
        heads.begin_batch();
        let taught = decode_with(lines.join("\n").as_bytes(), &options, &mut heads);
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        for (at, line) in lines.iter().enumerate() {
            let origin = at as u32 + 1;
            let alone = decode(line.as_bytes(), &options);
            rows.extend(
                seen(&alone)
                    .into_iter()
                    .map(|(_, table, tags, fields, time)| (origin, table, tags, fields, time)),
            );
            rejected.extend(alone.rejected.into_iter().map(|one| Rejection { origin, ..one }));
        }
        assert_eq!((seen(&taught), taught.rejected), (rows, rejected), "{lines:?}");
    }
}

/// Rows of as many tags as lines would otherwise hold lines times tags.
#[test]
fn tags_past_the_bound_cost_the_lines_that_bring_them() {
    let lines: String = (0..3_000).map(|tag| format!("m,t{tag}=x v=1i {tag}\n")).collect();
    let decoded = read(lines.as_bytes());
    assert_eq!(
        (decoded.rows(), decoded.rejected.len(), decoded.rejected_more),
        (1_024, 1_000, 976)
    );
    assert!(decoded.rejected.iter().all(|one| one.reason == RejectReason::Limit));
    assert_eq!(decoded.rejected[0].origin, 1_025);
}

#[test]
fn names_that_are_written_with_backslashes_are_not_taken_bare() {
    let lines =
        ["m f\\ g=1 1", "m f g=1 2", "m a\\,b=1 3", "m a,b=1 4", "m\\ x v=1 5", "m x v=1 6"];
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    compare(&[lines.clone(), lines], 1 << 20);
}

#[test]
fn many_series_are_read_alike_whether_they_are_known_or_forgotten() {
    let line = |host: usize, round: usize| {
        // Of some hosts the tags come in another order, which is the same series.
        let tags = if (host + round).is_multiple_of(7) {
            format!("site=s{},host=h{host}", host % 3)
        } else {
            format!("host=h{host},site=s{}", host % 3)
        };
        format!("m{},{tags} v={host}i,w=2.5 {round}", host % 2)
    };
    let bodies: Vec<Vec<String>> =
        (0..4).map(|round| (0..1_500).map(|host| line(host, round)).collect()).collect();
    for bytes_max in [1, 40_000, 10 << 20] {
        compare(&bodies, bytes_max);
    }
}

/// Whether a line does not reach into the next one.
fn is_closed(line: &String) -> bool {
    read(line.as_bytes()).rejected.iter().all(|one| !one.detail.contains("never closed"))
}

const HEAD: &str = "(m|n|m\\\\ x|_a|m\\\\|#m| m|\t?n)(,(a|b|a\\\\=c|c|time|)=(1|2|x\\\\ y|x\\\\|\u{1}|\u{fc}|)){0,3}";
const FIELDS: &str = "((f|g|f\\\\ g|f g|a\\\\,b|a,b|h\\\\|time)=(1|1i|-0i|2.5|t|F|tRue|true|\"s\"|\"\"|\"a\\\\\"b\"|\"\u{fc} ,=\"|1e3|\\+1|.5|1e999|x|),){0,2}(f|g|h)=(3|7i)";
const TIME: &str = "( {1,2}-?[0-9]{1,4}[x ]?)?\r?";

proptest! {
    #[test]
    fn what_was_seen_before_changes_nothing(
        heads in prop::collection::vec(HEAD, 1..12),
        picks in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), FIELDS, TIME), 1..20), 1..4),
        bytes_max in prop::sample::select(vec![1usize, 1_000, 1 << 20]),
    ) {
        let line = |(head, fields, time): &(prop::sample::Index, String, String)| {
            format!("{} {fields}{time}", head.get(&heads))
        };
        let bodies: Vec<Vec<String>> =
            picks.iter().map(|picks| picks.iter().map(line).filter(is_closed).collect()).collect();
        compare(&bodies, bytes_max);
    }

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
            let tag = points.tags_of(points.row_series[at] as usize).next().unwrap().1;
            prop_assert_eq!(tag, format!("h{host}"));
        }
    }
}

#[test]
fn a_batch_has_so_many_tables_and_the_lines_of_others_are_refused() {
    let body: String = (0..crate::TABLES_MAX + 3).map(|at| format!("m{at} v=1\n")).collect();
    let decoded = read(body.as_bytes());
    assert_eq!((decoded.points.len(), decoded.rejected.len()), (crate::TABLES_MAX, 3));
    assert_eq!(decoded.rejected[0].reason, RejectReason::Limit);
    let again = format!("{body}m0 v=2\nm1 v=\n");
    assert_eq!(read(again.as_bytes()).rows(), crate::TABLES_MAX + 1);
}
