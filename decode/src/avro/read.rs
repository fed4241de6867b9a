//! One datum.

use super::schema::{Type, TypeId, Types};
use crate::{
    Fault,
    binary::{Reader, unzigzag},
    document::Document,
    logical,
};

/// A datum and the types by which it is read.
pub(super) struct Datum<'r, 'a> {
    types: &'r Types,
    reader: &'r mut Reader<'a>,
}

impl<'r, 'a> Datum<'r, 'a> {
    pub(super) fn new(types: &'r Types, reader: &'r mut Reader<'a>) -> Datum<'r, 'a> {
        Datum { types, reader }
    }

    pub(super) fn root(&mut self) -> Result<Document, Fault> {
        self.value(self.types.root, 0)
    }

    fn value(&mut self, id: TypeId, depth: usize) -> Result<Document, Fault> {
        self.reader.begin_value(depth)?;
        let one = match self.types.get(id) {
            Type::Union(branches) => {
                let at = self.reader.length()?;
                let branch = usize::try_from(at).ok().and_then(|at| branches.get(at));
                let none = || self.reader.fault("no such branch of a union");
                self.types.get(*branch.ok_or_else(none)?)
            }
            one => one,
        };
        self.of_type(one, depth)
    }

    fn of_type(&mut self, one: &Type, depth: usize) -> Result<Document, Fault> {
        Ok(match one {
            Type::Null => Document::Null,
            Type::Bool => match self.reader.byte()? {
                0 => Document::Bool(false),
                1 => Document::Bool(true),
                _ => return Err(self.reader.fault("a boolean is neither 0 nor 1")),
            },
            Type::Int => Document::Int(self.reader.long()?),
            Type::Float => Document::Float(f64::from(f32::from_le_bytes(self.reader.array()?))),
            Type::Double => Document::Float(f64::from_le_bytes(self.reader.array()?)),
            Type::Bytes => {
                let length = self.reader.length()?;
                Document::Bytes(self.reader.bytes(length)?.to_vec())
            }
            Type::Text => Document::Text(self.text()?),
            Type::Fixed(size) => Document::Bytes(self.reader.bytes(*size as u64)?.to_vec()),
            Type::Date => logical::date(self.reader.long()?)?,
            Type::Moment(unit) => logical::moment(self.reader.long()?, *unit)?,
            Type::Decimal(scale, size) => {
                let length = match size {
                    Some(size) => *size as u64,
                    None => self.reader.length()?,
                };
                logical::decimal(self.reader.bytes(length)?, *scale)?
            }
            Type::Uuid => Document::Text(uuid(&self.reader.array()?)),
            Type::Duration => self.duration()?,
            Type::Enum(symbols) => {
                let at = self.reader.length()?;
                let symbol = usize::try_from(at).ok().and_then(|at| symbols.get(at));
                let symbol = symbol.ok_or_else(|| self.reader.fault("a symbol is not known"))?;
                Document::Text(symbol.clone())
            }
            Type::Union(_) => return Err(self.reader.fault("a union directly in a union")),
            Type::List(items) => {
                let mut values = Vec::new();
                self.blocks(|datum| {
                    values.push(datum.value(*items, depth + 1)?);
                    Ok(())
                })?;
                Document::List(values)
            }
            Type::Map(items) => {
                let mut members = Vec::new();
                self.blocks(|datum| {
                    members.push((datum.text()?, datum.value(*items, depth + 1)?));
                    Ok(())
                })?;
                Document::map(members)?
            }
            Type::Record(fields) => {
                let mut members = Vec::with_capacity(fields.len());
                for (name, id) in fields {
                    members.push((name.clone(), self.value(*id, depth + 1)?));
                }
                Document::Map(members)
            }
        })
    }

    fn text(&mut self) -> Result<String, Fault> {
        let length = self.reader.length()?;
        self.reader.text(length)
    }

    /// Items in blocks: a count, which is negative where the bytes of the block follow, up to a
    /// count of 0. Items may take no bytes, so only the bound on values ends a false count.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        loop {
            let count = self.reader.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.reader.length()?;
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    fn duration(&mut self) -> Result<Document, Fault> {
        let mut members = Vec::with_capacity(3);
        for name in ["months", "days", "millis"] {
            let count = u32::from_le_bytes(self.reader.array()?);
            members.push((name.to_owned(), Document::Int(i64::from(count))));
        }
        Ok(Document::Map(members))
    }
}

impl Reader<'_> {
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        self.varint().map(unzigzag)
    }

    /// A number that cannot be negative.
    pub(super) fn length(&mut self) -> Result<u64, Fault> {
        let length = self.long()?;
        u64::try_from(length).map_err(|_| self.fault("a length is negative"))
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
