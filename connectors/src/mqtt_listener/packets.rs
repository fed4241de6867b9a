//! Everything but PUBLISH: what comes in is parsed by the protocol library, where a panic is a
//! malformed packet; what goes out is a handful of fixed shapes.

use super::frame::Malformed;
use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Topic aliases a client may use on one connection.
pub(super) const TOPIC_ALIAS_MAX: u16 = 256;

pub(super) mod reason {
    //! Reason codes of MQTT 5.
    pub(in crate::mqtt_listener) const MALFORMED: u8 = 0x81;
    pub(in crate::mqtt_listener) const PROTOCOL: u8 = 0x82;
    pub(in crate::mqtt_listener) const NOT_AUTHORIZED: u8 = 0x87;
    pub(in crate::mqtt_listener) const SHUTTING_DOWN: u8 = 0x8b;
    pub(in crate::mqtt_listener) const KEEP_ALIVE: u8 = 0x8d;
    pub(in crate::mqtt_listener) const TAKEN_OVER: u8 = 0x8e;
    pub(in crate::mqtt_listener) const TOPIC_INVALID: u8 = 0x90;
    pub(in crate::mqtt_listener) const ID_UNKNOWN: u8 = 0x92;
    pub(in crate::mqtt_listener) const ALIAS_INVALID: u8 = 0x94;
    pub(in crate::mqtt_listener) const TOO_LARGE: u8 = 0x95;
    pub(in crate::mqtt_listener) const QUOTA: u8 = 0x97;
}

/// Parses without letting a panic through; all bytes have to be taken.
pub(super) fn guarded<T, E>(
    parse: impl FnOnce() -> Result<(T, usize), E>,
    length: usize,
) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(parse)) {
        Ok(Ok((packet, consumed))) if consumed == length => Some(packet),
        _ => None,
    }
}

/// Packet id and number of filters of a SUBSCRIBE.
pub(super) fn subscribe(content: &[u8], is_v5: bool) -> Result<(u16, usize), Malformed> {
    let read = if is_v5 {
        guarded(|| v5_0::Subscribe::parse(content), content.len())
            .map(|packet| (packet.packet_id(), packet.entries().len()))
    } else {
        guarded(|| v3_1_1::Subscribe::parse(content), content.len())
            .map(|packet| (packet.packet_id(), packet.entries().len()))
    };
    read.ok_or(Malformed)
}

/// Packet id and number of filters of an UNSUBSCRIBE.
pub(super) fn unsubscribe(content: &[u8], is_v5: bool) -> Result<(u16, usize), Malformed> {
    let read = if is_v5 {
        guarded(|| v5_0::Unsubscribe::parse(content), content.len())
            .map(|packet| (packet.packet_id(), packet.entries().len()))
    } else {
        guarded(|| v3_1_1::Unsubscribe::parse(content), content.len())
            .map(|packet| (packet.packet_id(), packet.entries().len()))
    };
    read.ok_or(Malformed)
}

/// Whether a DISCONNECT takes the will along, which it does with reason 0 alone, and a new expiry of
/// the session.
pub(super) fn disconnect(content: &[u8], is_v5: bool) -> Result<(bool, Option<u32>), Malformed> {
    if !is_v5 {
        return if content.is_empty() { Ok((true, None)) } else { Err(Malformed) };
    }
    if content.is_empty() {
        return Ok((true, None));
    }
    let packet = guarded(|| v5_0::Disconnect::parse(content), content.len()).ok_or(Malformed)?;
    let expiry_s = packet.props().iter().flat_map(|props| props.iter()).find_map(|one| match one {
        Property::SessionExpiryInterval(value) => Some(value.val()),
        _ => None,
    });
    Ok((content[0] == 0, expiry_s))
}

/// The packet id of a PUBREL.
pub(super) fn pubrel(content: &[u8]) -> Result<u16, Malformed> {
    let id = u16::from_be_bytes(*content.first_chunk().ok_or(Malformed)?);
    if id == 0 { Err(Malformed) } else { Ok(id) }
}

/// PUBACK, PUBREC or PUBCOMP by its first byte.
#[inline]
pub(super) fn push_ack(out: &mut Vec<u8>, head: u8, packet_id: u16) {
    let id = packet_id.to_be_bytes();
    out.extend_from_slice(&[head, 2, id[0], id[1]]);
}

/// SUBACK (`0x90`) or UNSUBACK (`0xb0`) with `count` times one code.
pub(super) fn push_codes(
    out: &mut Vec<u8>,
    head: u8,
    packet_id: u16,
    code: Option<u8>,
    count: usize,
    is_v5: bool,
) {
    let codes = if code.is_some() { count } else { 0 };
    let mut length = 2 + usize::from(is_v5) + codes;
    out.push(head);
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(&packet_id.to_be_bytes());
    if is_v5 {
        out.push(0);
    }
    out.resize(out.len() + codes, code.unwrap_or(0));
}

/// DISCONNECT of MQTT 5; 3.1.1 has none from a server.
pub(super) fn push_disconnect(out: &mut Vec<u8>, code: u8, is_v5: bool) {
    if is_v5 {
        out.extend_from_slice(&[0xe0, 1, code]);
    }
}
