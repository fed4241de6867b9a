//! Schemas as trees of types, whose names are resolved once.

use crate::{Fault, excerpt, time::Precision};
use serde_json::Value;
use std::collections::HashMap;

/// A type's place in [`Types`].
pub(super) type TypeId = usize;

/// A type, logical ones by their meaning.
#[derive(Debug, Clone)]
pub(super) enum Type {
    Null,
    Bool,
    /// `int` or `long`, which are written alike.
    Int,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Date,
    Moment(Precision),
    /// With its decimals, and its bytes where their number is fixed.
    Decimal(i32, Option<usize>),
    /// A UUID in 16 bytes.
    Uuid,
    /// Months, days and milliseconds.
    Duration,
    Enum(Vec<String>),
    List(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Vec<(String, TypeId)>),
}

/// All types of a schema. The last one added is the schema itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Types {
    types: Vec<Type>,
    named: HashMap<String, TypeId>,
    pub(super) root: TypeId,
}

fn wrong(what: impl std::fmt::Display) -> Fault {
    Fault::syntax(format!("the Avro schema is wrong: {what}"))
}

impl Types {
    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// Adds a schema, which may use the names of those before it.
    pub(super) fn add(&mut self, schema: &Value) -> Result<(), Fault> {
        self.root = self.read(schema, "")?;
        Ok(())
    }

    fn push(&mut self, one: Type) -> TypeId {
        self.types.push(one);
        self.types.len() - 1
    }

    fn read(&mut self, schema: &Value, space: &str) -> Result<TypeId, Fault> {
        match schema {
            Value::String(name) => match primitive(name) {
                Some(one) => Ok(self.push(one)),
                None => {
                    let full = full_name(name, space);
                    let id = self.named.get(&full).or_else(|| self.named.get(name)).copied();
                    id.ok_or_else(|| wrong(format_args!("{:?} is not known", excerpt(&full, 64))))
                }
            },
            Value::Array(branches) => {
                let ids = branches.iter().map(|branch| self.read(branch, space));
                let ids = ids.collect::<Result<_, _>>()?;
                Ok(self.push(Type::Union(ids)))
            }
            Value::Object(_) => self.read_object(schema, space),
            _ => Err(wrong("a type is neither a name, an object nor an array")),
        }
    }

    fn read_object(&mut self, schema: &Value, space: &str) -> Result<TypeId, Fault> {
        let kind = match &schema["type"] {
            Value::String(kind) => &**kind,
            // A type in another type's place.
            inner => return self.read(inner, space),
        };
        let logical = schema["logicalType"].as_str().unwrap_or_default();
        match kind {
            "array" => {
                let items = self.read(&schema["items"], space)?;
                Ok(self.push(Type::List(items)))
            }
            "map" => {
                let values = self.read(&schema["values"], space)?;
                Ok(self.push(Type::Map(values)))
            }
            "record" | "error" | "enum" | "fixed" => self.read_named(schema, kind, logical, space),
            _ => match (primitive(kind), logical_of(kind, logical, schema)?) {
                (Some(_), Some(one)) | (Some(one), None) => Ok(self.push(one)),
                (None, _) => self.read(&schema["type"], space),
            },
        }
    }

    fn read_named(
        &mut self,
        schema: &Value,
        kind: &str,
        logical: &str,
        space: &str,
    ) -> Result<TypeId, Fault> {
        let name =
            schema["name"].as_str().ok_or_else(|| wrong(format_args!("a {kind} has no name")))?;
        let full = match schema["namespace"].as_str() {
            Some(space) => full_name(name, space),
            None => full_name(name, space),
        };
        // Taken before its fields are read, which may refer to it.
        let id = self.push(Type::Null);
        if self.named.insert(full.clone(), id).is_some() {
            return Err(wrong(format_args!("{:?} is defined twice", excerpt(&full, 64))));
        }
        self.types[id] = match kind {
            "enum" => {
                let symbols = schema["symbols"].as_array();
                let symbols =
                    symbols.map(|all| all.iter().map(|one| one.as_str().map(str::to_owned)));
                let symbols = symbols.and_then(Iterator::collect::<Option<Vec<_>>>);
                Type::Enum(symbols.ok_or_else(|| wrong("an enum has no list of symbols"))?)
            }
            "fixed" => {
                let size = schema["size"].as_u64().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| wrong("a fixed has no size"))?;
                match logical {
                    "decimal" => Type::Decimal(scale(schema)?, Some(size)),
                    "uuid" if size == 16 => Type::Uuid,
                    "duration" if size == 12 => Type::Duration,
                    _ => Type::Fixed(size),
                }
            }
            _ => {
                let inner = full.rsplit_once('.').map_or("", |(space, _)| space);
                let fields = schema["fields"].as_array();
                let fields = fields.ok_or_else(|| wrong("a record has no fields"))?;
                let field = |field: &Value| {
                    let name =
                        field["name"].as_str().ok_or_else(|| wrong("a field has no name"))?;
                    Ok((name.to_owned(), self.read(&field["type"], inner)?))
                };
                Type::Record(fields.iter().map(field).collect::<Result<_, Fault>>()?)
            }
        };
        Ok(id)
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Bool,
        "int" | "long" => Type::Int,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::Text,
        _ => return None,
    })
}

/// The meaning of a logical type; one that does not fit what it stands on is left out, as the
/// specification demands.
fn logical_of(kind: &str, logical: &str, schema: &Value) -> Result<Option<Type>, Fault> {
    Ok(Some(match (kind, logical) {
        ("int", "date") => Type::Date,
        ("long", "timestamp-millis" | "local-timestamp-millis") => Type::Moment(Precision::Ms),
        ("long", "timestamp-micros" | "local-timestamp-micros") => Type::Moment(Precision::Us),
        ("long", "timestamp-nanos" | "local-timestamp-nanos") => Type::Moment(Precision::Ns),
        ("bytes", "decimal") => Type::Decimal(scale(schema)?, None),
        _ => return Ok(None),
    }))
}

fn scale(schema: &Value) -> Result<i32, Fault> {
    match &schema["scale"] {
        Value::Null => Ok(0),
        scale => {
            let scale = scale.as_i64().and_then(|scale| i32::try_from(scale).ok());
            scale.ok_or_else(|| wrong("the scale of a decimal is no integer"))
        }
    }
}

/// A name with its namespace.
pub(super) fn full_name(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.trim_start_matches('.').to_owned(),
        false => format!("{space}.{name}"),
    }
}
