//! A decoded message as a tree, for formats that are not read straight into cells and for routes
//! that pick values from inside.

use super::{
    Fault, excerpt,
    row::{Cell, RowSink},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use oribi_model::RejectReason;

/// A value of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float; may be no number, which no field can hold.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes, which become text in base64.
    Bytes(Vec<u8>),
    /// A moment, ns since the Unix epoch.
    Time(i64),
    /// Values in order.
    List(Vec<Document>),
    /// Members in order, each name once.
    Map(Vec<(String, Document)>),
}

/// Up to this many members, each is compared with each.
const LISTED_MAX: usize = 16;

impl Document {
    /// Members as a map.
    ///
    /// # Errors
    /// A name that stands twice.
    pub fn map(members: Vec<(String, Document)>) -> Result<Document, Fault> {
        let twice = if members.len() <= LISTED_MAX {
            let is_twice = |at: &usize| members[..*at].iter().any(|one| one.0 == members[*at].0);
            (0..members.len()).find(is_twice).map(|at| &*members[at].0)
        } else {
            let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
            names.sort_unstable();
            names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
        };
        match twice {
            Some(name) => {
                let name = excerpt(name, 64);
                Err(Fault::syntax(format!("the member {name:?} stands twice")))
            }
            None => Ok(Document::Map(members)),
        }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Document> {
        match self {
            Document::Map(members) => {
                members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The value as text, where it is a scalar.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Document::Null | Document::List(_) | Document::Map(_) => return None,
            Document::Bool(value) => value.to_string(),
            Document::Int(value) | Document::Time(value) => value.to_string(),
            Document::Float(value) => ryu::Buffer::new().format(*value).to_owned(),
            Document::Text(text) => text.clone(),
            Document::Bytes(bytes) => STANDARD.encode(bytes),
        })
    }
}

/// Puts a map as a row, or a list of maps as rows.
///
/// # Errors
/// Anything else; rows before it stand.
pub fn push_rows(document: &Document, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let rows = match document {
        Document::List(rows) => rows.as_slice(),
        one => std::slice::from_ref(one),
    };
    for row in rows {
        if !matches!(row, Document::Map(_)) {
            return Err(Fault::syntax("expected an object or an array of objects"));
        }
        set_members(row, sink);
        sink.end_row();
    }
    Ok(())
}

/// Sets the members of a map as cells of the present row. Nested ones flatten with `_`, lists
/// inside as `a_0`.
pub fn set_members(map: &Document, sink: &mut RowSink<'_, '_>) {
    if let Document::Map(members) = map {
        for (name, value) in members {
            set(name, value, sink, RowSink::set);
        }
    }
}

/// Sets a value as a field of the present row, flattened if it is a map or list.
pub fn set_field(name: &str, value: &Document, sink: &mut RowSink<'_, '_>) {
    set(name, value, sink, RowSink::set_value);
}

fn set<'a, 'b>(
    name: &str,
    value: &Document,
    sink: &mut RowSink<'a, 'b>,
    put: fn(&mut RowSink<'a, 'b>, &str, Cell<'_>),
) {
    match value {
        Document::Null => {}
        Document::Bool(value) => put(sink, name, Cell::Bool(*value)),
        Document::Int(value) => {
            put(sink, name, Cell::Int(*value, itoa::Buffer::new().format(*value)));
        }
        Document::Float(value) if value.is_finite() => {
            put(sink, name, Cell::Float(*value, ryu::Buffer::new().format_finite(*value)));
        }
        Document::Float(value) => {
            let detail = format!("{name:?} is {value}, which is no number that can be kept");
            sink.refuse(Fault::new(RejectReason::Number, detail));
        }
        Document::Text(text) => put(sink, name, Cell::Text(text)),
        Document::Bytes(bytes) => put(sink, name, Cell::Text(&STANDARD.encode(bytes))),
        Document::Time(time) => sink.set_time(name, *time),
        Document::List(values) => {
            for (at, value) in values.iter().enumerate() {
                set(&format!("{name}_{at}"), value, sink, put);
            }
        }
        Document::Map(members) => {
            for (inner, value) in members {
                set(&format!("{name}_{inner}"), value, sink, put);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::arrival;
    use crate::{json, points::PointsBuilder, row::RowRules};
    use oribi_model::{Name, Points};

    fn points(read: impl FnOnce(&mut RowSink<'_, '_>) -> Result<(), Fault>) -> Points {
        let arrival = arrival();
        let rules = RowRules::new(&arrival);
        let name = |text| Name::new(text).unwrap();
        let mut builder = PointsBuilder::new(name("default"), name("t"));
        let mut sink = RowSink::new(&rules, &mut builder, None, 1);
        read(&mut sink).unwrap();
        assert!(sink.rejected.is_empty(), "{:?}", sink.rejected);
        builder.finish()
    }

    #[test]
    fn a_tree_gives_the_cells_that_streaming_gives() {
        for text in [
            r#"{"time":1700000000,"a":1,"b":{"c":2.5,"d":{"e":[true,{"f":"x"}]}},"n":null}"#,
            r#"[{"ts":"2024-01-01T00:00:00Z","a":-1},{"time":1700000000,"a":2,"b":[[1,2],[3]]}]"#,
            r#"{"time":1e9,"s":"a\"b\u00fc","big":9007199254740993,"neg":-0.0,"empty":{},"l":[]}"#,
        ] {
            let streamed = points(|sink| json::read_rows(text, sink));
            let document = json::read_document(text).unwrap();
            assert_eq!(points(|sink| push_rows(&document, sink)), streamed, "{text}");
        }
    }

    #[test]
    fn names_that_stand_twice_are_found_however_many_there_are() {
        for count in [2usize, 16, 17, 200_000] {
            let mut members: Vec<_> =
                (0..count).map(|at| (format!("m{at}"), Document::Null)).collect();
            assert!(Document::map(members.clone()).is_ok(), "{count}");
            members[count - 1].0 = "m0".into();
            let fault = Document::map(members).unwrap_err();
            assert_eq!(*fault.detail, *r#"the member "m0" stands twice"#, "{count}");
        }
    }

    #[test]
    fn broken_texts_are_refused() {
        for text in ["", "{", "[1,]", r#"{"a":1,"a":2}"#, "nul", "1 2", &"[".repeat(5_000), "1e999"]
        {
            assert!(json::read_document(text).is_err(), "{text}");
        }
    }
}
