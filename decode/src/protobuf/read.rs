//! A message as a document.

use crate::{
    CELL_BYTES_MAX, Fault,
    binary::{Budget, unzigzag},
    document::Document,
    wire::{Value, Wire},
};
use oribi_model::RejectReason;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

const FORMAT: &str = "the Protobuf message";

/// Reads a message of this type.
pub(super) fn message(message: &MessageDescriptor, bytes: &[u8]) -> Result<Document, Fault> {
    Decoder { budget: Budget::new(FORMAT) }.message(message, bytes, 0)
}

struct Decoder {
    budget: Budget,
}

/// What was read of one field.
enum Slot {
    One(Document),
    Many(Vec<Document>),
    /// The later of two values of one key counts.
    Map(BTreeMap<String, Document>),
}

impl Decoder {
    fn message(
        &mut self,
        message: &MessageDescriptor,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Document, Fault> {
        let slots = self.slots(message, bytes, depth)?;
        match message.full_name() {
            "google.protobuf.Timestamp" => timestamp(&slots),
            "google.protobuf.Duration" => duration(&slots),
            "google.protobuf.Value" | "google.protobuf.Struct" | "google.protobuf.ListValue" => {
                Ok(only(slots).unwrap_or(match message.full_name() {
                    "google.protobuf.Struct" => Document::Map(Vec::new()),
                    "google.protobuf.ListValue" => Document::List(Vec::new()),
                    _ => Document::Null,
                }))
            }
            name if is_wrapper(name) => match (only(slots), message.get_field(1)) {
                (Some(value), _) => Ok(value),
                (None, Some(field)) => Ok(default(&field)),
                (None, None) => Ok(Document::Null),
            },
            _ => self.members(message, slots, depth),
        }
    }

    fn slots(
        &mut self,
        message: &MessageDescriptor,
        bytes: &[u8],
        depth: usize,
    ) -> Result<BTreeMap<u32, Slot>, Fault> {
        self.budget.begin_value(depth)?;
        let mut slots = BTreeMap::new();
        let mut inner: BTreeMap<u32, Cow<'_, [u8]>> = BTreeMap::new();
        let mut wire = Wire::new(bytes, FORMAT);
        while let Some((number, value)) = wire.field()? {
            let Some(field) = message.get_field(number) else { continue };
            let is_inner = matches!(field.kind(), Kind::Message(_));
            match value {
                // Of two messages in one place the later one goes on where the first one ends.
                Value::Bytes(bytes) if is_inner && !field.is_list() && !field.is_map() => {
                    match inner.entry(number) {
                        Entry::Vacant(free) => drop(free.insert(Cow::Borrowed(bytes))),
                        Entry::Occupied(mut first) => {
                            first.get_mut().to_mut().extend_from_slice(bytes);
                        }
                    }
                }
                value => self
                    .field(&field, value, &mut slots, depth)
                    .map_err(|fault| within(&field, fault))?,
            }
        }
        for (number, bytes) in inner {
            let Some(field) = message.get_field(number) else { continue };
            let value = self.value(&field.kind(), Value::Bytes(&bytes), depth);
            slots.insert(number, Slot::One(value.map_err(|fault| within(&field, fault))?));
        }
        Ok(slots)
    }

    fn field(
        &mut self,
        field: &FieldDescriptor,
        value: Value<'_>,
        slots: &mut BTreeMap<u32, Slot>,
        depth: usize,
    ) -> Result<(), Fault> {
        let kind = field.kind();
        if !field.is_list() && !field.is_map() {
            let value = self.value(&kind, value, depth)?;
            slots.insert(field.number(), Slot::One(value));
            return Ok(());
        }
        if field.is_map() {
            let Slot::Map(map) = slots.entry(field.number()).or_insert(Slot::Map(BTreeMap::new()))
            else {
                return Ok(());
            };
            let (name, value) = self.entry(&kind, value, depth)?;
            map.insert(name, value);
            return Ok(());
        }
        let Slot::Many(values) = slots.entry(field.number()).or_insert(Slot::Many(Vec::new()))
        else {
            return Ok(());
        };
        match (value, packed_width(&kind)) {
            (Value::Bytes(packed), Some(width)) => {
                let mut packed = Wire::new(packed, FORMAT);
                while !packed.is_empty() {
                    let value = match width {
                        Width::Varint => Value::Varint(packed.varint()?),
                        Width::Fixed32 => Value::Fixed32(packed.fixed32()?),
                        Width::Fixed64 => Value::Fixed64(packed.fixed64()?),
                    };
                    values.push(self.value(&kind, value, depth)?);
                }
            }
            (value, _) => values.push(self.value(&kind, value, depth)?),
        }
        Ok(())
    }

    /// An entry of a map: a message with a key and a value.
    fn entry(
        &mut self,
        kind: &Kind,
        value: Value<'_>,
        depth: usize,
    ) -> Result<(String, Document), Fault> {
        let (Kind::Message(entry), Value::Bytes(bytes)) = (kind, value) else {
            return Err(wrong_type());
        };
        let mut slots = self.slots(entry, bytes, depth + 1)?;
        let mut take = |field: FieldDescriptor| match (slots.remove(&field.number()), field.kind())
        {
            (Some(Slot::One(value)), _) => value,
            (_, Kind::Message(_)) => Document::Null,
            _ => default(&field),
        };
        let name = take(entry.map_entry_key_field());
        let value = take(entry.map_entry_value_field());
        let name = name.text().ok_or_else(|| Fault::syntax("the key of a map is no scalar"))?;
        Ok((name, value))
    }

    /// The members of a message in the order of its fields.
    fn members(
        &mut self,
        message: &MessageDescriptor,
        mut slots: BTreeMap<u32, Slot>,
        depth: usize,
    ) -> Result<Document, Fault> {
        let mut members = Vec::new();
        for field in message.fields() {
            let value = match slots.remove(&field.number()) {
                Some(slot) => slot.into_document(),
                None if field.supports_presence() || field.is_list() || field.is_map() => continue,
                None => {
                    self.budget.begin_value(depth)?;
                    default(&field)
                }
            };
            members.push((field.name().to_owned(), value));
        }
        Ok(Document::Map(members))
    }

    fn value(&mut self, kind: &Kind, value: Value<'_>, depth: usize) -> Result<Document, Fault> {
        if let Kind::Message(inner) = kind {
            return match value {
                Value::Bytes(bytes) => self.message(inner, bytes, depth + 1),
                _ => Err(wrong_type()),
            };
        }
        self.budget.begin_value(depth)?;
        scalar(kind, value)
    }
}

impl Slot {
    fn into_document(self) -> Document {
        match self {
            Slot::One(value) => value,
            Slot::Many(values) => Document::List(values),
            Slot::Map(members) => Document::Map(members.into_iter().collect()),
        }
    }
}

/// A fault with the field in which it is.
fn within(field: &FieldDescriptor, fault: Fault) -> Fault {
    Fault::new(fault.reason, format!("{:?}: {}", field.name(), fault.detail))
}

fn wrong_type() -> Fault {
    Fault::syntax("it is written as another type than the schema says")
}

fn scalar(kind: &Kind, value: Value<'_>) -> Result<Document, Fault> {
    let unsigned = |value: u64| {
        i64::try_from(value).map(Document::Int).map_err(|_| {
            let detail = format!("{value} does not fit into 64 bits with a sign");
            Fault::new(RejectReason::Number, detail)
        })
    };
    Ok(match (kind, value) {
        (Kind::Double, Value::Fixed64(bits)) => Document::Float(f64::from_bits(bits)),
        (Kind::Float, Value::Fixed32(bits)) => Document::Float(f64::from(f32::from_bits(bits))),
        (Kind::Int32, Value::Varint(value)) => Document::Int(i64::from(value as i32)),
        (Kind::Int64, Value::Varint(value)) => Document::Int(value as i64),
        (Kind::Uint32, Value::Varint(value)) => Document::Int(i64::from(value as u32)),
        (Kind::Sint32 | Kind::Sint64, Value::Varint(value)) => Document::Int(unzigzag(value)),
        (Kind::Uint64, Value::Varint(value)) => unsigned(value)?,
        (Kind::Fixed64, Value::Fixed64(value)) => unsigned(value)?,
        (Kind::Fixed32, Value::Fixed32(value)) => Document::Int(i64::from(value)),
        (Kind::Sfixed32, Value::Fixed32(value)) => Document::Int(i64::from(value as i32)),
        (Kind::Sfixed64, Value::Fixed64(value)) => Document::Int(value as i64),
        (Kind::Bool, Value::Varint(value)) => Document::Bool(value != 0),
        (Kind::Bytes, Value::Bytes(bytes)) => Document::Bytes(bytes.to_vec()),
        (Kind::String, Value::Bytes(bytes)) => {
            if bytes.len() > CELL_BYTES_MAX {
                let length = bytes.len();
                let detail = format!("a text of {length} bytes; at most {CELL_BYTES_MAX} fit");
                return Err(Fault::new(RejectReason::Limit, detail));
            }
            let text = std::str::from_utf8(bytes).map_err(|_| Fault::syntax("it is not UTF-8"))?;
            Document::Text(text.to_owned())
        }
        (Kind::Enum(known), Value::Varint(number)) => {
            let number = number as i32;
            Document::Text(match known.get_value(number) {
                Some(value) if known.full_name() == "google.protobuf.NullValue" => {
                    drop(value);
                    return Ok(Document::Null);
                }
                Some(value) => value.name().to_owned(),
                // A later version of the schema names it.
                None => number.to_string(),
            })
        }
        _ => return Err(wrong_type()),
    })
}

/// The value of a field that is left out.
fn default(field: &FieldDescriptor) -> Document {
    match field.kind() {
        Kind::Double | Kind::Float => Document::Float(0.0),
        Kind::Bool => Document::Bool(false),
        Kind::String => Document::Text(String::new()),
        Kind::Bytes => Document::Bytes(Vec::new()),
        Kind::Enum(known) => Document::Text(known.default_value().name().to_owned()),
        Kind::Message(_) => Document::Null,
        _ => Document::Int(0),
    }
}

enum Width {
    Varint,
    Fixed32,
    Fixed64,
}

/// How the values of a packed list are written; `None` where they cannot be packed.
fn packed_width(kind: &Kind) -> Option<Width> {
    Some(match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => return None,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Width::Fixed64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Width::Fixed32,
        _ => Width::Varint,
    })
}

/// The value of a message that has one at most.
fn only(slots: BTreeMap<u32, Slot>) -> Option<Document> {
    slots.into_values().next_back().map(Slot::into_document)
}

fn int(slots: &BTreeMap<u32, Slot>, number: u32) -> i64 {
    match slots.get(&number) {
        Some(Slot::One(Document::Int(value))) => *value,
        _ => 0,
    }
}

fn timestamp(slots: &BTreeMap<u32, Slot>) -> Result<Document, Fault> {
    let (seconds, ns) = (int(slots, 1), int(slots, 2));
    let time = seconds.checked_mul(1_000_000_000).and_then(|time| time.checked_add(ns));
    time.map(Document::Time).ok_or_else(|| {
        let detail = format!("the time {seconds} s lies beyond the years 1677 to 2262");
        Fault::new(RejectReason::Time, detail)
    })
}

/// A duration in seconds.
fn duration(slots: &BTreeMap<u32, Slot>) -> Result<Document, Fault> {
    Ok(Document::Float(int(slots, 1) as f64 + int(slots, 2) as f64 / 1e9))
}

fn is_wrapper(name: &str) -> bool {
    let Some(name) = name.strip_prefix("google.protobuf.") else { return false };
    let known =
        ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"];
    name.strip_suffix("Value").is_some_and(|kind| known.contains(&kind))
}
