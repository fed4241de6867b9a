use super::*;
use crate::{points::PointsBuilder, row::RowRules};
use oribi_model::{ArrivalClock, Name, Points, Rejection, SystemClock, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn read(body: &[u8]) -> (Points, Vec<Rejection>, Result<(), Fault>) {
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    let rules = RowRules::new(&arrival);
    let name = |name| Name::new(name).unwrap();
    let mut builder = PointsBuilder::new(name("default"), name("m"));
    let mut sink = RowSink::new(&rules, &mut builder, None, 1);
    let outcome = read_rows(body, DELIMITER, &mut sink);
    let rejected = std::mem::take(&mut sink.rejected);
    (builder.finish(), rejected, outcome)
}

#[test]
fn cells_are_typed_by_their_looks() {
    let (points, rejected, outcome) = read(
        b"\xEF\xBB\xBFtime,n,f,ok,s\r\n1700000000,1,2.5,true,\"a,\"\"b\"\"\"\r\n1700000001,NA,,false,x\n",
    );
    assert!(outcome.is_ok() && rejected.is_empty());
    let cells: Vec<Vec<_>> =
        points.fields.iter().map(|f| (0..2).map(|row| f.values.get(row)).collect()).collect();
    assert_eq!(
        cells,
        [
            [Some(Value::Int(1)), None],
            [Some(Value::Float(2.5)), None],
            [Some(Value::Bool(true)), Some(Value::Bool(false))],
            [Some(Value::Text("a,\"b\"".into())), Some(Value::Text("x".into()))],
        ]
    );
}

#[test]
fn bad_lines_cost_only_themselves_and_are_named_by_line() {
    let (points, rejected, outcome) = read(
        b"time,v\n1700000000,1\n1700000001\nx,2\n1700000002,\"two\nlines\"\n1700000003,1e999\n",
    );
    assert!(outcome.is_ok());
    assert_eq!(points.origins, [2, 5]);
    assert_eq!(rejected.iter().map(|one| one.origin).collect::<Vec<_>>(), [3, 4, 7]);
    assert!(read(b"a,a\n1,2\n").2.is_err());
    let (_, rejected, _) =
        read(b"time,v\r\n1700000000,1\r\n\r\n1700000001\r\n1700000002,\"open\r\n");
    assert_eq!(rejected.iter().map(|one| one.origin).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn quoted_cells_are_text_and_others_numbers_as_in_line_protocol() {
    let cells = |column: &str| {
        let body: String = format!("time,v\n1700000000,{column}\n");
        let (points, rejected, _) = read(body.as_bytes());
        match rejected.first() {
            Some(refused) => Err(refused.reason),
            None => Ok(points.fields.first().and_then(|field| field.values.get(0))),
        }
    };
    for text in ["241408E4", "12345", "", "true", "NULL", "0012", " 1"] {
        assert_eq!(
            cells(&format!("\"{text}\"")),
            if text.is_empty() {
                Ok(Some(Value::Text("".into())))
            } else {
                Ok(Some(Value::Text(text.into())))
            }
        );
    }
    for (text, number) in
        [(".5", 0.5), ("5.", 5.0), ("-.25", -0.25), ("+1.5", 1.5), ("1e3", 1000.0)]
    {
        assert_eq!(cells(text), Ok(Some(Value::Float(number))), "{text}");
    }
    assert_eq!(cells("+5"), Ok(Some(Value::Int(5))));
    for text in ["0012", "1.2.3", "2024-01-01", "-", ".", "+", "1e", "12:30"] {
        assert_eq!(cells(text), Ok(Some(Value::Text(text.into()))), "{text}");
    }
    for text in ["1e999", "-1e999", "99999999999999999999"] {
        assert_eq!(cells(text), Err(RejectReason::Number), "{text}");
    }
    let long = format!("time,v\n1700000000,{}\n", "x".repeat(ROW_BYTES_MAX));
    assert_eq!(read(long.as_bytes()).1[0].reason, RejectReason::Limit);
}

proptest! {
    #[test]
    fn any_bytes_are_safe(body: Vec<u8>) {
        drop(read(&body));
    }

    #[test]
    fn text_like_csv_is_safe(body in "[time,v1.e\"\\r\\n-]{0,80}") {
        drop(read(body.as_bytes()));
    }

    #[test]
    fn rows_come_back(rows in prop::collection::vec((0u32..1_000_000, any::<i64>(), "[^\\p{C}]{0,20}"), 1..30)) {
        let mut body = String::from("time,n,s\n");
        for (second, n, s) in &rows {
            let quoted = format!("x{}", s.replace('"', "\"\""));
            body.push_str(&format!("{},{n},\"{quoted}\"\n", 1_700_000_000 + second));
        }
        let (points, rejected, outcome) = read(body.as_bytes());
        prop_assert!(outcome.is_ok() && rejected.is_empty());
        prop_assert_eq!(points.rows(), rows.len());
        for (row, (second, n, s)) in rows.iter().enumerate() {
            prop_assert_eq!(points.times[row], (1_700_000_000 + i64::from(*second)) * 1_000_000_000);
            prop_assert_eq!(points.fields[0].values.get(row), Some(Value::Int(*n)));
            prop_assert_eq!(points.fields[1].values.get(row), Some(Value::Text(format!("x{s}"))));
        }
    }
}
