//! The wire format of Protocol Buffers ("Encoding" in its documentation): numbered fields.

use super::{Fault, binary::Reader};

/// The bytes of one message.
pub(super) struct Wire<'a> {
    reader: Reader<'a>,
}

/// A field's value as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    /// A group, whose fields were passed over.
    Group,
}

/// Deepest nesting of groups.
const GROUP_DEPTH_MAX: usize = 16;

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8], format: &'static str) -> Wire<'a> {
        Wire { reader: Reader::new(bytes, format) }
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Fault> {
        if self.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        Ok(Some((number, self.value(number, kind, 0)?)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reader.peek().is_none()
    }

    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        self.reader.varint()
    }

    pub(super) fn fixed32(&mut self) -> Result<u32, Fault> {
        self.reader.array().map(u32::from_le_bytes)
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, Fault> {
        self.reader.array().map(u64::from_le_bytes)
    }

    pub(super) fn fault(&self, what: &str) -> Fault {
        self.reader.fault(what)
    }

    fn tag(&mut self) -> Result<(u32, u8), Fault> {
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number) if number > 0 && number < 1 << 29 => Ok((number, (tag & 7) as u8)),
            _ => Err(self.reader.fault("a field number that cannot be")),
        }
    }

    fn value(&mut self, number: u32, kind: u8, depth: usize) -> Result<Value<'a>, Fault> {
        Ok(match kind {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.reader.bytes(length)?)
            }
            3 if depth < GROUP_DEPTH_MAX => {
                loop {
                    match self.tag()? {
                        (end, 4) if end == number => break,
                        (inner, kind) => drop(self.value(inner, kind, depth + 1)?),
                    }
                }
                Value::Group
            }
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err(self.reader.fault("a wire type that cannot be")),
        })
    }
}

/// Appends a varint.
pub(super) fn put_varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Appends a field of bytes.
pub(super) fn put_bytes(number: u32, bytes: &[u8], to: &mut Vec<u8>) {
    put_varint(u64::from(number << 3 | 2), to);
    put_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

/// Appends a field that is a varint.
pub(super) fn put_number(number: u32, value: u64, to: &mut Vec<u8>) {
    put_varint(u64::from(number << 3), to);
    put_varint(value, to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::unzigzag;
    use proptest::prelude::*;

    #[test]
    fn fields_of_the_documentation_are_read() {
        let mut wire = Wire::new(b"\x08\x96\x01\x12\x07testing\x0d\x01\x00\x00\x00", "x");
        assert_eq!(wire.field().unwrap(), Some((1, Value::Varint(150))));
        assert_eq!(wire.field().unwrap(), Some((2, Value::Bytes(b"testing"))));
        assert_eq!(wire.field().unwrap(), Some((1, Value::Fixed32(1))));
        assert_eq!(wire.field().unwrap(), None);
        // A group with another inside, then a field.
        let mut wire = Wire::new(b"\x0b\x13\x08\x01\x14\x0c\x08\x02", "x");
        assert_eq!(wire.field().unwrap(), Some((1, Value::Group)));
        assert_eq!(wire.field().unwrap(), Some((1, Value::Varint(2))));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let cases: [&[u8]; 7] = [
            b"\x00\x01",
            b"\x08",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x12\xff\xff\xff\xff\x0fx",
            b"\x0c",
            b"\x0b\x14",
            &[0x0b; 100],
        ];
        for bytes in cases {
            assert!(Wire::new(bytes, "x").field().is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>()) {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            prop_assert_eq!(Wire::new(&bytes, "x").varint().unwrap(), value);
            let signed = value as i64;
            prop_assert_eq!(unzigzag((signed << 1 ^ signed >> 63) as u64), signed);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut wire = Wire::new(&bytes, "x");
            while let Ok(Some(_)) = wire.field() {}
        }
    }
}
