//! MQTT 3.1.1 packets, as far as a publisher needs them.

use std::io::{self, Read};

use anyhow::{Result, bail, ensure};

use crate::random::Random;

/// Bytes of every payload.
pub(super) const PAYLOAD_BYTES: usize = 244;

const TIME_PLACE: usize = "{\"time\":".len();
const TIME_DIGITS: usize = 13;
const USAGES: [&str; 10] = crate::workload::cpu::FIELDS;

/// CONNECT with a clean session and no keep-alive.
pub(super) fn connect(client_id: &str) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    push_text(&mut rest, client_id);
    let mut packet = vec![0x10];
    push_length(&mut packet, rest.len());
    packet.extend_from_slice(&rest);
    packet
}

/// DISCONNECT.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0x00];

/// The start of every PUBLISH at QoS 1 to a topic, up to where the packet id goes.
pub(super) fn publish_head(topic: &str) -> Vec<u8> {
    let mut packet = vec![0x32];
    push_length(&mut packet, 2 + topic.len() + 2 + PAYLOAD_BYTES);
    push_text(&mut packet, topic);
    packet
}

/// Appends a whole PUBLISH.
pub(super) fn push_publish(out: &mut Vec<u8>, head: &[u8], id: u16, payload: &[u8], time_ms: u64) {
    out.extend_from_slice(head);
    out.extend_from_slice(&id.to_be_bytes());
    let place = out.len() + TIME_PLACE;
    out.extend_from_slice(payload);
    let mut rest = time_ms;
    for digit in out[place..place + TIME_DIGITS].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Payloads of one device, one after the other: random walks that keep their number of digits.
pub(super) fn payloads(random: &mut Random, count: usize) -> Vec<Vec<u8>> {
    let mut walks: [f64; 13] = std::array::from_fn(|_| 10.0 + random.unit() * 89.0);
    let payload = |walks: &[f64; 13]| {
        let mut text = String::from("{\"time\":0000000000000");
        for (name, walk) in USAGES.iter().zip(walks) {
            text.push_str(&format!(",\"{name}\":{}", *walk as u8));
        }
        let tail = (walks[10], walks[11], walks[12] as u8);
        let (temperature, humidity, rssi) = tail;
        text.push_str(&format!(",\"temperature\":{temperature:.2},\"humidity\":{humidity:.2}"));
        text.push_str(&format!(",\"rssi\":-{rssi}}}"));
        text.into_bytes()
    };
    let mut next = || {
        walks = walks.map(|walk| (walk + random.normal()).clamp(10.0, 99.0));
        payload(&walks)
    };
    (0..count).map(|_| next()).collect()
}

/// Reads acks off a connection.
pub(super) struct Acks<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Acks<R> {
    /// Reads from `input`.
    pub(super) fn new(input: R) -> Acks<R> {
        Acks { input, buffer: vec![0; 64 << 10], start: 0, end: 0 }
    }

    /// Waits for CONNACK.
    ///
    /// # Errors
    /// The broker refuses, says something else, or the connection fails.
    pub(super) fn connected(&mut self) -> Result<()> {
        loop {
            if let Some(packet) = self.packet()? {
                let (kind, rest) = packet;
                ensure!(kind == 0x20 && rest.len() == 2, "expected CONNACK, got {kind:#x}");
                ensure!(rest[1] == 0, "the broker refuses the connection with code {}", rest[1]);
                return Ok(());
            }
            self.read()?;
        }
    }

    /// Reads once, and shows the packet ids of all PUBACKs that are whole by then.
    ///
    /// # Errors
    /// Something else came, or the connection fails.
    pub(super) fn next(&mut self, mut acked: impl FnMut(u16) -> Result<()>) -> Result<()> {
        self.read()?;
        while let Some((kind, rest)) = self.packet()? {
            if kind != 0x40 || rest.len() != 2 {
                bail!("expected PUBACK, got a packet of kind {kind:#x}");
            }
            acked(u16::from_be_bytes([rest[0], rest[1]]))?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = self.input.read(&mut self.buffer[self.end..])?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.end += read;
        Ok(())
    }

    /// The next whole packet in the buffer: first byte and what follows its length. Acks are
    /// short, so a length of more than one byte is not expected.
    fn packet(&mut self) -> Result<Option<(u8, &[u8])>> {
        let held = &self.buffer[self.start..self.end];
        let [kind, length, rest @ ..] = held else { return Ok(None) };
        ensure!(*length < 0x80, "a packet of kind {kind:#x} is longer than an ack");
        let length = usize::from(*length);
        if rest.len() < length {
            return Ok(None);
        }
        self.start += 2 + length;
        Ok(Some((*kind, &rest[..length])))
    }
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    loop {
        let more = if rest >= 128 { 0x80 } else { 0 };
        out.push((rest % 128) as u8 | more);
        rest /= 128;
        if rest == 0 {
            return;
        }
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Topics and client ids here are a few bytes long.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_one_length() {
        for payload in payloads(&mut Random::new(4), 5000) {
            assert_eq!(payload.len(), PAYLOAD_BYTES);
        }
        let payload = &payloads(&mut Random::new(4), 1)[0];
        let head = publish_head("sensors/site1/dev2");
        let mut packet = Vec::new();
        push_publish(&mut packet, &head, 0x1234, payload, 1_451_606_400_001);
        let length = usize::from(packet[1] & 0x7f) + usize::from(packet[2]) * 128;
        assert_eq!(packet.len(), 3 + length);
        let body = &packet[packet.len() - PAYLOAD_BYTES..];
        let parsed: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(parsed["time"], 1_451_606_400_001_u64);
        assert_eq!(parsed.as_object().unwrap().len(), 14);
    }

    #[test]
    fn acks_are_found_wherever_reads_end() {
        let bytes = [0x40, 2, 0, 7, 0x40, 2, 1, 0, 0x40, 2, 0, 9];
        for step in 1..bytes.len() {
            let mut seen = Vec::new();
            let mut acks = Acks::new(Slow(&bytes, step));
            while acks
                .next(|id| {
                    seen.push(id);
                    Ok(())
                })
                .is_ok()
            {}
            assert_eq!(seen, [7, 256, 9]);
        }
    }

    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(out.len());
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }
}
