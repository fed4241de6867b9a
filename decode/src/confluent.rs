//! Messages whose schema lies in a registry with Confluent's interface ("Schema Registry", "Wire
//! format"): a zero, the schema's id in 4 bytes, and the message.

mod schema;

use super::{
    Fault,
    binary::{Reader, unzigzag},
};

pub use schema::Schema;

const FORMAT: &str = "the framed message";

/// Deepest place of a message within a Protobuf file.
const INDEXES_MAX: i64 = 32;

/// A message and the id of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The id.
    pub id: u32,
    /// What [`Schema::decode`] reads.
    pub body: &'a [u8],
}

impl<'a> Framed<'a> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// A message that is not framed.
    pub fn split(bytes: &'a [u8]) -> Result<Framed<'a>, Fault> {
        let framed = bytes.strip_prefix(&[0]).and_then(<[u8]>::split_first_chunk);
        let Some((id, body)) = framed else {
            let detail = "the message does not begin with 00 and the id of a schema";
            return Err(Fault::syntax(detail));
        };
        Ok(Framed { id: u32::from_be_bytes(*id), body })
    }
}

/// Splits off the place of a Protobuf message within its file, outermost first; the first message
/// of a file is written as a single 0.
///
/// # Errors
/// Bytes that are no such place.
pub fn message_indexes(body: &[u8]) -> Result<(Vec<u32>, &[u8]), Fault> {
    let mut reader = Reader::new(body, FORMAT);
    let mut next = || reader.varint().map(unzigzag);
    let count = next()?;
    if count == 0 {
        return Ok((vec![0], reader.rest()));
    }
    let wrong = || Fault::syntax("the framed message names a place that no message can have");
    if !(0..=INDEXES_MAX).contains(&count) {
        return Err(wrong());
    }
    let mut index = |_| next().and_then(|index| u32::try_from(index).map_err(|_| wrong()));
    let indexes = (0..count).map(&mut index).collect::<Result<_, _>>()?;
    Ok((indexes, reader.rest()))
}

#[cfg(test)]
mod tests;
