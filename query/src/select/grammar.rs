//! The grammar of `select`: `mean(temperature) as t, max("odd name"), count(*)`.

use super::{Function, Operand, Selected};
use crate::{Error, Result};
use oribi_model::name::TIME_COLUMN;

/// Parses `select`.
///
/// # Errors
/// [`Error::Parameter`] with the byte at which it goes wrong.
pub(crate) fn parse_select(text: &str) -> Result<Vec<Selected>> {
    const ITEMS_MAX: usize = 1_024;
    let mut parser = Parser { text, at: 0 };
    let mut items: Vec<Selected> = Vec::new();
    loop {
        let item = parser.item()?;
        if items.iter().any(|other| other.name == item.name) {
            let detail =
                format!("two columns are named {:?}; expected `as` with another", item.name);
            return Err(parser.refuse(detail));
        }
        items.push(item);
        if items.len() > ITEMS_MAX {
            return Err(parser.refuse(format!("there are more than {ITEMS_MAX} columns")));
        }
        parser.blanks();
        if parser.at == text.len() {
            return Ok(items);
        }
        if !parser.eat(',') {
            return Err(parser.refuse("expected `,` or the end".into()));
        }
    }
}

/// Splits a list of names such as `site, "odd, name"`.
pub(crate) fn parse_names(parameter: &str, text: &str) -> Result<Vec<String>> {
    let mut parser = Parser { text, at: 0 };
    let mut names = Vec::new();
    loop {
        let name = parser.name().map_err(|error| renamed(error, parameter))?;
        names.push(name);
        parser.blanks();
        if parser.at == text.len() {
            return Ok(names);
        }
        if !parser.eat(',') {
            let detail = format!("{text:?} is no list of names; expected `,` between them");
            return Err(Error::parameter_at(parameter, parser.at, detail));
        }
    }
}

fn renamed(error: Error, parameter: &str) -> Error {
    match error {
        Error::Parameter { detail, position, .. } => {
            Error::Parameter { parameter: parameter.into(), detail, position }
        }
        other => other,
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn refuse(&self, reason: String) -> Error {
        let detail = format!("at byte {}: {reason}", self.at);
        Error::parameter_at("select", self.at, detail)
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.blanks();
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn name(&mut self) -> Result<String> {
        self.blanks();
        let rest = &self.text[self.at..];
        if !rest.starts_with('"') {
            let end = rest.find([',', '(', ')', '"']).unwrap_or(rest.len());
            let end = rest[..end].find(char::is_whitespace).unwrap_or(end);
            if end == 0 {
                return Err(self.refuse("expected a name".into()));
            }
            self.at += end;
            return Ok(rest[..end].to_owned());
        }
        let mut name = String::new();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                    name.push('"');
                    chars.next();
                }
                '"' => {
                    self.at += at + 1;
                    return Ok(name);
                }
                c => name.push(c),
            }
        }
        Err(self.refuse("a name in double quotes is never closed".into()))
    }

    fn item(&mut self) -> Result<Selected> {
        self.blanks();
        let start = self.at;
        let function_name = self.name()?;
        let function = function(&function_name).ok_or_else(|| {
            self.at = start;
            self.refuse(format!(
                "unknown function {function_name:?}; expected count, sum, mean, min, max, first, \
                 last, stddev, median, p50 to p99, rate or delta, as in mean(temperature)"
            ))
        })?;
        if !self.eat('(') {
            return Err(self.refuse(format!("expected `(` after {function_name}")));
        }
        let operand = self.operand(function)?;
        let at = Some(self.at);
        if !self.eat(')') {
            return Err(self.refuse("expected `)`".into()));
        }
        let mut name = self.text[start..self.at].to_owned();
        self.blanks();
        if self.text[self.at..].get(..2).is_some_and(|word| word.eq_ignore_ascii_case("as"))
            && self.text[self.at + 2..].starts_with(|c: char| c.is_whitespace() || c == '"')
        {
            self.at += 2;
            name = self.name()?;
        }
        let item = Selected { name, function, operand, at };
        if item.operand == Operand::Time {
            item.time()?;
        }
        Ok(item)
    }

    fn operand(&mut self, function: Function) -> Result<Operand> {
        if self.eat('*') {
            if function != Function::Count {
                return Err(self.refuse("`*` is for count only; expected a field".into()));
            }
            return Ok(Operand::Rows);
        }
        let quoted = self.text[self.at..].starts_with('"');
        let name = self.name()?;
        Ok(if name == TIME_COLUMN && !quoted { Operand::Time } else { Operand::Named(name) })
    }
}

fn function(name: &str) -> Option<Function> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "mean" | "avg" => Function::Mean,
        "min" => Function::Min,
        "max" => Function::Max,
        "first" => Function::First,
        "last" => Function::Last,
        "stddev" => Function::Stddev,
        "median" => Function::Percentile(0.5),
        "rate" => Function::Rate,
        "delta" => Function::Delta,
        percentile => {
            let digits = percentile.strip_prefix('p')?;
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return None;
            }
            let percent: f64 = digits.parse().ok()?;
            if !(0.0..=100.0).contains(&percent) {
                return None;
            }
            Function::Percentile(percent / 100.0)
        }
    })
}
