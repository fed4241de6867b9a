//! Where a tag, field or time comes from: constants, captures, the record's key and headers, and
//! paths into the payload (a small part of JSONPath, RFC 9535: `$.a.b`, `$.a[0]`, `$['odd name']`).

use crate::document::Document;
use std::mem;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

/// A place in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

/// Where a tag comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    Constant(String),
    Capture(String),
    Key,
    Header(String),
    Path(Path),
}

impl Selector {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Selector, String> {
        if let Some(constant) = text.strip_prefix('=') {
            return Ok(Selector::Constant(constant.to_owned()));
        }
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            return Ok(Selector::Capture(name.to_owned()));
        }
        if text == "$key" {
            return Ok(Selector::Key);
        }
        if let Some(name) = text.strip_prefix("$header.").filter(|name| !name.is_empty()) {
            return Ok(Selector::Header(name.to_owned()));
        }
        Path::parse(text).map(Selector::Path)
    }
}

impl Path {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Path, String> {
        let wrong = || {
            format!(
                "{text:?} is no path; expected such as $.a.b, $.a[0], $['odd name'], =constant, \
                 {{capture}}, $key or $header.NAME"
            )
        };
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                steps.push(Step::Member(after[..end].to_owned()));
                (end > 0).then_some(()).ok_or_else(wrong)?;
                rest = &after[end..];
            } else if let Some(after) = rest.strip_prefix("['") {
                let end = after.find("']").ok_or_else(wrong)?;
                steps.push(Step::Member(after[..end].to_owned()));
                rest = &after[end + 2..];
            } else {
                let after = rest.strip_prefix('[').ok_or_else(wrong)?;
                let end = after.find(']').ok_or_else(wrong)?;
                steps.push(Step::Element(after[..end].parse().map_err(|_| wrong())?));
                rest = &after[end + 1..];
            }
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(Path(steps)) }
    }

    /// The name of a member of the first level, if that is all it says.
    pub(super) fn only_member(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Step::Member(name)] => Some(name),
            _ => None,
        }
    }

    pub(super) fn find<'d>(&self, document: &'d Document) -> Option<&'d Document> {
        self.0.iter().try_fold(document, |at, step| match (step, at) {
            (Step::Member(name), at) => at.get(name),
            (Step::Element(place), Document::List(values)) => values.get(*place),
            (Step::Element(_), _) => None,
        })
    }

    /// Puts null in its place.
    pub(super) fn clear(&self, document: &mut Document) {
        let found = self.0.iter().try_fold(document, |at, step| match (step, at) {
            (Step::Member(name), Document::Map(members)) => {
                members.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            (Step::Element(place), Document::List(values)) => values.get_mut(*place),
            _ => None,
        });
        if let Some(value) = found {
            drop(mem::replace(value, Document::Null));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read_document;

    #[test]
    fn paths_find_and_clear() {
        let text = r#"{"a":{"b":[1,{"c":"x"}]},"odd name":2}"#;
        for (path, expected) in [
            ("$.a.b[0]", Some("1")),
            ("$.a.b[1].c", Some("x")),
            ("$['odd name']", Some("2")),
            ("$.a['b'][0]", Some("1")),
            ("$.a.b[9]", None),
            ("$.nothing", None),
            ("$.a[0]", None),
        ] {
            let mut document = read_document(text).unwrap();
            let path = Path::parse(path).unwrap();
            let found = path.find(&document).and_then(Document::text);
            assert_eq!(found.as_deref(), expected, "{path:?}");
            path.clear(&mut document);
            assert!(path.find(&document).is_none_or(|found| *found == Document::Null));
        }
        for wrong in ["", "a", "$", "$.", "$..a", "$[x]", "$['a", "$a"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn selectors_are_told_apart() {
        let parse = |text| Selector::parse(text).unwrap();
        assert_eq!(parse("=north"), Selector::Constant("north".into()));
        assert_eq!(parse("{site}"), Selector::Capture("site".into()));
        assert_eq!(parse("$key"), Selector::Key);
        assert_eq!(parse("$header.source"), Selector::Header("source".into()));
        assert!(matches!(parse("$.key"), Selector::Path(_)));
        assert!(Selector::parse("north").is_err());
    }
}
