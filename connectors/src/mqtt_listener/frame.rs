//! Cutting the byte stream into packets, ahead of the protocol library: size and packet id of a
//! publish are judged here, and its payload is never copied on the way to the decoder.

/// A packet in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// The first byte: type and flags.
    pub(super) head: u8,
    /// Where the packet's content starts.
    pub(super) start: usize,
    /// Bytes of content.
    pub(super) length: usize,
}

impl Frame {
    /// The packet type, 1 (CONNECT) to 15 (AUTH).
    pub(super) fn kind(self) -> u8 {
        self.head >> 4
    }

    /// Bytes of the whole packet.
    pub(super) fn bytes(self) -> usize {
        self.start + self.length
    }
}

/// The bytes are no MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The packet at the start of `buffer`, which may not be complete yet; `None` while its length
/// is not known.
#[inline]
pub(super) fn peek(buffer: &[u8]) -> Result<Option<Frame>, Malformed> {
    let Some(head) = buffer.first().copied() else { return Ok(None) };
    if head >> 4 == 0 {
        return Err(Malformed);
    }
    let mut length = 0usize;
    for place in 0..4 {
        let Some(byte) = buffer.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some(Frame { head, start: 2 + place, length }));
        }
    }
    Err(Malformed)
}

/// A PUBLISH taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    /// 0, 1 or 2.
    pub(super) qos: u8,
    /// Not 0 where QoS is above 0; 0 there.
    pub(super) packet_id: u16,
    pub(super) topic: &'a str,
    /// MQTT 5: the number that stands for the topic.
    pub(super) alias: Option<u16>,
    pub(super) payload: &'a [u8],
}

/// Takes a PUBLISH apart. `content` may be cut short in the payload.
#[inline]
pub(super) fn publish(head: u8, content: &[u8], is_v5: bool) -> Result<Publish<'_>, Malformed> {
    let mut publish = publish_head(head, content)?;
    if is_v5 {
        let (length, tail) = variable_int(publish.payload)?;
        let (properties, tail) = tail.split_at_checked(length).ok_or(Malformed)?;
        publish.payload = tail;
        if length > 0 {
            publish.alias = read_properties(properties)?;
        }
    }
    Ok(publish)
}

/// As [`publish`], but of `content` only topic and packet id need to be there: properties are
/// neither read nor told from the payload.
#[inline]
pub(super) fn publish_head(head: u8, content: &[u8]) -> Result<Publish<'_>, Malformed> {
    let qos = (head >> 1) & 3;
    if qos == 3 || (qos == 0 && head & 8 != 0) {
        return Err(Malformed);
    }
    let (topic, mut rest) = text(content)?;
    let topic = std::str::from_utf8(topic).map_err(|_| Malformed)?;
    let mut packet_id = 0;
    if qos > 0 {
        packet_id = u16::from_be_bytes(*rest.first_chunk().ok_or(Malformed)?);
        rest = &rest[2..];
        if packet_id == 0 {
            return Err(Malformed);
        }
    }
    Ok(Publish { qos, packet_id, topic, alias: None, payload: rest })
}

fn text(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let length = u16::from_be_bytes(*bytes.first_chunk().ok_or(Malformed)?);
    bytes[2..].split_at_checked(usize::from(length)).ok_or(Malformed)
}

fn variable_int(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let mut value = 0usize;
    for place in 0..4 {
        let byte = bytes.get(place).ok_or(Malformed)?;
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[place + 1..]));
        }
    }
    Err(Malformed)
}

/// Checks the properties of a PUBLISH and answers its topic alias.
fn read_properties(mut bytes: &[u8]) -> Result<Option<u16>, Malformed> {
    const FORMAT: u8 = 1;
    const EXPIRY: u8 = 2;
    const CONTENT_TYPE: u8 = 3;
    const RESPONSE_TOPIC: u8 = 8;
    const CORRELATION: u8 = 9;
    const ALIAS: u8 = 35;
    const USER: u8 = 38;
    let mut alias = None;
    let mut seen = 0u64;
    while let Some((id, rest)) = bytes.split_first() {
        if *id != USER {
            let bit = 1u64.checked_shl(u32::from(*id)).ok_or(Malformed)?;
            if seen & bit != 0 {
                return Err(Malformed);
            }
            seen |= bit;
        }
        bytes = match *id {
            FORMAT => rest.get(1..).ok_or(Malformed)?,
            EXPIRY => rest.get(4..).ok_or(Malformed)?,
            CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION => text(rest)?.1,
            ALIAS => {
                alias = Some(u16::from_be_bytes(*rest.first_chunk().ok_or(Malformed)?));
                &rest[2..]
            }
            USER => text(text(rest)?.1)?.1,
            _ => return Err(Malformed),
        };
    }
    Ok(alias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_publish_is_taken_apart() {
        let packet = [0x32, 7, 0, 1, b'a', 0, 9, b'h', b'i'];
        let frame = peek(&packet).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.bytes()), (3, packet.len()));
        let found = publish(frame.head, &packet[frame.start..], false).unwrap();
        assert_eq!((found.qos, found.packet_id, found.topic), (1, 9, "a"));
        assert_eq!(found.payload, b"hi");
        assert_eq!(publish(0x32, &[0, 1, b'a', 0, 0], false), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(head: u8, bytes: Vec<u8>, is_v5: bool) {
            let _ = peek(&bytes);
            let _ = publish(head, &bytes, is_v5);
        }
    }
}
