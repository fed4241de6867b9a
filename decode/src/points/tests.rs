use super::*;
use oribi_model::{ColumnType, Value};

fn builder() -> PointsBuilder {
    PointsBuilder::new(Name::new("default").unwrap(), Name::new("m").unwrap())
}

#[test]
fn rows_with_gaps_odd_cells_and_abandoned_rows() {
    let mut b = builder();
    let north = b.series([("site", "north"), ("rack", "")]);
    let south = b.series([("rack", "7"), ("site", "south")]);
    assert_eq!(b.series([("site", "north")]), north);

    let v = b.field("v", ColumnType::Int);
    b.set_int(v, 1);
    b.end_row(north, 10, 1);

    b.text("note", "lost", Duplicate::Refuse).unwrap();
    b.int("v", 9, Duplicate::Refuse).unwrap();
    b.abandon_row();
    let note = b.field("note", ColumnType::Text);

    b.set_text(note, "ä");
    b.set_float(v, 2.5);
    b.end_row(south, 20, 3);
    b.set_int(v, 3);
    b.end_row(south, 30, 4);

    let points = b.finish();
    assert_eq!((points.rows(), points.series.len()), (3, 2));
    assert_eq!(points.origins, [1, 3, 4]);
    let values = &points.fields[0].values;
    assert_eq!(
        (0..3).map(|row| values.get(row)).collect::<Vec<_>>(),
        [Some(Value::Int(1)), None, Some(Value::Int(3))]
    );
    assert_eq!(points.fields[0].odd, [(1, Value::Float(2.5))]);
    assert_eq!(points.fields[1].values.get(1), Some(Value::Text("ä".into())));
    assert!(points.fields[1].values.is_null(0) && points.fields[1].values.is_null(2));
    let tags = |series| points.tags_of(series).collect::<Vec<_>>();
    assert_eq!(tags(0), [("site", "north")]);
    assert_eq!(tags(1), [("site", "south"), ("rack", "7")]);
}

/// Each line of a batch may bring a tag of its own; what is held then grows with the lines,
/// not with lines times tags.
#[test]
fn tags_cost_what_is_written_of_them() {
    let held = |count: usize| {
        let mut b = builder();
        for at in 0..count {
            let series = b.series([(format!("tag{at}").as_str(), "x")]);
            b.end_row(series, at as i64, at as u32);
        }
        b.finish().bytes_held()
    };
    let (small, large) = (held(500), held(8_000));
    assert!(large < 20 * small, "{small} B for 500 tags, {large} B for 8,000");
}

#[test]
fn taken_rows_keep_their_series_times_origins_and_odd_cells() {
    let mut builder = builder();
    for row in 0..4u32 {
        let series = builder.series([("host", if row % 2 == 0 { "a" } else { "b" })]);
        let field = builder.field("v", ColumnType::Int);
        builder.set_int(field, i64::from(row));
        if row == 3 {
            let field = builder.field("text", ColumnType::Text);
            builder.set_text(field, "three");
        }
        if row == 1 {
            let field = builder.field("odd", ColumnType::Int);
            builder.set_int(field, 1);
        } else {
            let field = builder.field("odd", ColumnType::Int);
            builder.set(field, &Value::Bool(row == 2));
        }
        builder.end_row(series, i64::from(row) * 10, row + 5);
    }
    let all = builder.finish();
    let taken = all.take(vec![1, 3]);
    assert_eq!((taken.times.clone(), taken.origins.clone()), (vec![10, 30], vec![6, 8]));
    assert_eq!(taken.series.len(), 1);
    assert_eq!(taken.tags_of(0).collect::<Vec<_>>(), [("host", "b")]);
    let field = |name: &str| taken.fields.iter().find(|field| field.name == name).unwrap();
    assert_eq!(field("v").values.get(1), Some(Value::Int(3)));
    assert_eq!(field("text").values.get(1), Some(Value::Text("three".into())));
    let shown = |name: &str, row: usize| {
        let field = field(name);
        let odd = field.odd.iter().find(|(at, _)| *at as usize == row);
        odd.map(|(_, value)| value.clone()).or_else(|| field.values.get(row))
    };
    assert_eq!(shown("odd", 0), Some(Value::Int(1)));
    assert_eq!(shown("odd", 1), Some(Value::Bool(false)));
    assert_eq!(all.take(vec![0]).fields.iter().filter(|f| f.name == "text").count(), 0);
    assert_eq!(all.take((0..4).collect()), all);
}

#[test]
fn a_row_is_forgotten_in_whatever_order_its_fields_came() {
    let names: Vec<String> = (0..40).map(|at| format!("f{at}")).collect();
    let mut random = 7_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % below
    };
    let (mut b, mut model) = (builder(), Vec::new());
    let series = b.series([("site", "north")]);
    for row in 0..2_000 {
        let mut cells = [None; 40];
        for turn in 0..next(8) {
            let (at, is_text) = (next(40), next(4) == 0);
            let duplicate = if next(2) == 0 { Duplicate::Refuse } else { Duplicate::Replace };
            let set = if is_text {
                b.text(&names[at], &format!("t{row}.{turn}"), duplicate)
            } else {
                b.int(&names[at], turn as i64, duplicate)
            };
            if set.is_ok() {
                cells[at] = Some((is_text, turn));
            }
        }
        if cells.iter().all(Option::is_none) || next(3) == 0 {
            b.abandon_row();
        } else {
            b.end_row(series, row, row as u32);
            model.push((row, cells));
        }
    }
    let points = b.finish();
    assert_eq!(points.rows(), model.len());
    for field in &points.fields {
        let column = names.iter().position(|name| *name == field.name).unwrap();
        for (at, (row, cells)) in model.iter().enumerate() {
            let expected = cells[column].map(|(is_text, turn)| match is_text {
                true => Value::Text(format!("t{row}.{turn}")),
                false => Value::Int(turn as i64),
            });
            let odd = field
                .odd
                .iter()
                .find(|(odd, _)| *odd as usize == at)
                .map(|(_, value)| value.clone());
            assert_eq!(
                odd.or_else(|| field.values.get(at)),
                expected,
                "{} of row {row}",
                field.name
            );
        }
    }
}

/// A batch may have other names before those of a series that is known, or the same in another order.
#[test]
fn known_series_are_the_same_wherever_their_names_stand() {
    let known = |tags: &[(&str, &str)]| KnownSeries::new(tags, None);
    let (ab, abc, ba) = (
        known(&[("a", "1"), ("b", "2")]),
        known(&[("a", "1"), ("b", "2"), ("c", "3")]),
        known(&[("b", "2"), ("a", "1"), ("d", "")]),
    );
    let leads: [&[(&str, &str)]; 5] = [
        &[],
        &[("a", "1")],
        &[("b", "7"), ("a", "1")],
        &[("x", "1")],
        &[("a", "1"), ("c", "3"), ("b", "2")],
    ];
    for lead in leads {
        let mut b = builder();
        let first = b.series(lead.iter().copied());
        let one = b.known_series(&ab).unwrap();
        assert_eq!(b.known_series(&ba).unwrap(), one, "{lead:?}");
        assert_eq!(b.series([("b", "2"), ("a", "1")]), one, "{lead:?}");
        let two = b.known_series(&abc).unwrap();
        assert_eq!(b.series([("c", "3"), ("a", "1"), ("b", "2")]), two, "{lead:?}");
        assert_eq!(b.known_series(&ab).unwrap(), one, "{lead:?}");
        assert_eq!(b.series(lead.iter().copied()), first, "{lead:?}");
        [first, one, two].iter().for_each(|series| b.end_row(*series, 1, 1));
        let points = b.finish();
        let mut tags: Vec<_> = points.tags_of(one as usize).collect();
        tags.sort_unstable();
        assert_eq!(tags, [("a", "1"), ("b", "2")], "{lead:?}");
    }
}

#[test]
fn names_are_shared_by_series_that_have_the_same() {
    let one = KnownSeries::new(&[("a", "1"), ("b", "")], None);
    let same = KnownSeries::new(&[("a", "2")], Some(one.names()));
    assert!(std::sync::Arc::ptr_eq(one.names(), same.names()));
    let other = KnownSeries::new(&[("a", "2"), ("b", "3")], Some(one.names()));
    assert_eq!(other.pairs().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
    assert!(same.bytes(Some(one.names())) < same.bytes(None));
}
