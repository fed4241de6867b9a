//! The grammar of `select`: `mean(temperature) as t, max("odd name"), count(*)`.

use crate::{Error, Result};
use oribi_model::{Column, ColumnId, ColumnKind, ColumnType, Ints, Name, Schema};

/// An aggregate function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    /// Number of values.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The earliest.
    First,
    /// The latest.
    Last,
    /// Sample standard deviation.
    Stddev,
    /// Percentile, 0 to 1, interpolated linearly.
    Percentile(f64),
    /// Increase a second.
    Rate,
    /// Last less first.
    Delta,
}

/// What a function is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Rows: `count(*)`.
    Rows,
    /// The event time.
    Time,
    /// A field, by its place among the columns of the scan.
    Field {
        /// Place in the scan.
        place: usize,
        /// Type of the field.
        column_type: ColumnType,
    },
}

/// One column of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// Its name.
    pub(crate) name: String,
    /// The function.
    pub(crate) function: Function,
    /// What it is applied to.
    pub(crate) input: Input,
}

/// Parses `select` against a schema; fields go to `fields` in order of first use.
pub(crate) fn parse_select(
    text: &str,
    schema: &Schema,
    fields: &mut Vec<Column>,
) -> Result<Vec<Item>> {
    const ITEMS_MAX: usize = 1_024;
    let mut parser = Parser { text, at: 0 };
    let mut items: Vec<Item> = Vec::new();
    loop {
        let item = parser.item(schema, fields)?;
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

/// Checks the grammar of `select`, whatever columns it names.
pub(crate) fn check_select(text: &str) -> Result<()> {
    let mut schema = Schema::default();
    loop {
        match parse_select(text, &schema, &mut Vec::new()) {
            // Numbers suit every function.
            Err(Error::UnknownColumn { column, .. }) => schema.columns.push(Column {
                id: ColumnId(schema.columns.len() as u32),
                name: Name::new(&column)
                    .map_err(|wrong| Error::parameter("select", wrong.to_string()))?,
                kind: ColumnKind::Field,
                column_type: ColumnType::Float,
                ints: Ints::Exact,
            }),
            parsed => return parsed.map(drop),
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

    fn item(&mut self, schema: &Schema, fields: &mut Vec<Column>) -> Result<Item> {
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
        let input = if self.eat('*') {
            if function != Function::Count {
                return Err(self.refuse("`*` is for count only; expected a field".into()));
            }
            Input::Rows
        } else {
            let quoted = self.text[self.at..].starts_with('"');
            let name = self.name()?;
            if name == "time" && !(quoted && schema.column("time").is_some()) {
                self.time_input(function)?
            } else {
                self.field_input(&name, function, schema, fields)?
            }
        };
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
        Ok(Item { name, function, input })
    }

    fn time_input(&self, function: Function) -> Result<Input> {
        use Function::{Count, First, Last, Max, Min};
        if matches!(function, Min | Max | First | Last | Count) {
            return Ok(Input::Time);
        }
        Err(self.refuse("`time` is for min, max, first, last and count only".into()))
    }

    fn field_input(
        &self,
        name: &str,
        function: Function,
        schema: &Schema,
        fields: &mut Vec<Column>,
    ) -> Result<Input> {
        let columns = || schema.fields().map(|column| column.name.to_string()).collect();
        let column = schema.column(name).ok_or_else(|| Error::UnknownColumn {
            parameter: "select".into(),
            column: name.into(),
            columns: columns(),
        })?;
        if column.kind == ColumnKind::Tag {
            return Err(self.refuse(format!("{name:?} is a tag; expected a field")));
        }
        use Function::{Count, First, Last, Max, Min};
        let numeric = matches!(column.column_type, ColumnType::Int | ColumnType::Float);
        if !numeric && !matches!(function, Count | First | Last | Min | Max) {
            return Err(self.refuse(format!(
                "{name:?} holds {} values; expected a number here (count, first, last, min and \
                 max take any type)",
                column.column_type
            )));
        }
        let place = fields.iter().position(|field| field.id == column.id).unwrap_or_else(|| {
            fields.push(column.clone());
            fields.len() - 1
        });
        Ok(Input::Field { place, column_type: column.column_type })
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
