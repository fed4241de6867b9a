//! A way to the broker for messages that the client cannot read. MQTT says that topics are UTF-8 text,
//! yet some brokers pass on others; the client then ends the connection before it tells which message
//! it was, and the broker sends the same one again, for ever. This relay, which is entered only then,
//! marks the topics of such messages and leaves out the properties of all.

use super::spec::Protocol;
use crate::{
    Error, Result,
    connector::{Common, Transport},
    mqtt,
};
use bytes::{Buf, BufMut, BytesMut};
use oribi_decode::mapping::TopicStyle;
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_native_tls::TlsConnector;

/// What stands before a topic that was no text; it cannot stand in a topic itself (MQTT 1.5.3).
pub(super) const MARK: char = '\0';
/// The largest packet that MQTT knows, bytes.
const PACKET_BYTES_MAX: usize = 268_435_460;
const READ_BYTES: usize = 16 << 10;

/// A relay to the broker, for one connection.
pub(super) struct Relay {
    /// The port on loopback at which it is entered.
    pub(super) port: u16,
    passing: JoinHandle<()>,
}

impl Relay {
    /// Opens one.
    ///
    /// # Errors
    /// [`Error::Broker`]: the system gives no port; [`Error::Config`]: files that cannot be read.
    pub(super) async fn open(common: &Common, protocol: Protocol) -> Result<Relay> {
        let addresses = common.addresses(TopicStyle::Mqtt, "connector")?;
        let (host, port) = addresses.hosts[0].clone();
        let tls = match addresses.transport {
            Transport::Plain => None,
            Transport::Tls => Some(TlsConnector::from(mqtt::tls(common)?)),
        };
        let broken = |wrong: std::io::Error| Error::Broker {
            action: "open a relay to",
            target: common.url.clone(),
            reason: wrong.to_string(),
        };
        let entrance = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(broken)?;
        let entered = entrance.local_addr().map_err(broken)?.port();
        let url = common.url.clone();
        let passing = tokio::spawn(async move {
            let passed = async {
                let (client, _) = entrance.accept().await?;
                drop(entrance);
                client.set_nodelay(true)?;
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let broker = TcpStream::connect((bare, port)).await?;
                broker.set_nodelay(true)?;
                match tls {
                    None => pass(client, broker, protocol).await,
                    Some(tls) => {
                        let secured = tls.connect(bare, broker).await;
                        pass(client, secured.map_err(std::io::Error::other)?, protocol).await
                    }
                }
            };
            // The client sees its connection end.
            if let Err(wrong) = passed.await {
                tracing::debug!(url, %wrong, "a relay has ended");
            }
        });
        Ok(Relay { port: entered, passing })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn pass(
    client: TcpStream,
    broker: impl AsyncRead + AsyncWrite,
    protocol: Protocol,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = tokio::io::split(broker);
    let up = tokio::io::copy(&mut from_client, &mut to_broker);
    let down = async {
        let (mut read, mut written) = (BytesMut::new(), BytesMut::new());
        loop {
            read.reserve(READ_BYTES);
            if from_broker.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
            while let Some(packet) = next_packet(&mut read)? {
                relay(&packet, protocol, &mut written);
            }
            to_client.write_all(&written).await?;
            written.clear();
        }
    };
    tokio::select! {
        up = up => up.map(drop),
        down = down => down,
    }
}

/// A packet: its first byte, and what comes behind its length.
struct Packet {
    first: u8,
    body: BytesMut,
}

/// Takes a whole packet off the front.
fn next_packet(read: &mut BytesMut) -> std::io::Result<Option<Packet>> {
    let (mut length, mut at) = (0usize, 1);
    loop {
        let Some(byte) = read.get(at) else { return Ok(None) };
        length |= usize::from(byte & 127) << (7 * (at - 1));
        at += 1;
        match byte & 128 {
            0 => break,
            _ if at > 4 => return Err(std::io::Error::other("a length of more than four bytes")),
            _ => {}
        }
    }
    if read.len() < at + length {
        return Ok(None);
    }
    let first = read[0];
    read.advance(at);
    Ok(Some(Packet { first, body: read.split_to(length) }))
}

/// Passes a packet on.
fn relay(packet: &Packet, protocol: Protocol, out: &mut BytesMut) {
    let cleaned = (packet.first >> 4 == 3).then(|| clean(packet, protocol)).flatten();
    let body = cleaned.as_ref().unwrap_or(&packet.body);
    if body.len() > PACKET_BYTES_MAX {
        return;
    }
    out.put_u8(packet.first);
    put_length(body.len(), out);
    out.extend_from_slice(body);
}

/// A publish that the client can read. `None`: it is broken in other ways, and goes on as it is.
fn clean(packet: &Packet, protocol: Protocol) -> Option<BytesMut> {
    let body = &packet.body;
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let topic = body.get(2..2 + length)?;
    let has_id = packet.first & 0b110 != 0;
    let id = body.get(2 + length..2 + length + 2 * usize::from(has_id))?;
    let mut payload = body.get(2 + length + id.len()..)?;
    let mut cleaned = BytesMut::with_capacity(body.len() + 8);
    let topic = match std::str::from_utf8(topic) {
        Ok(topic) => topic.to_owned(),
        Err(_) => format!("{MARK}{}", String::from_utf8_lossy(topic)),
    };
    // What does not fit is cut: it names a message that nobody can read.
    let mut end = topic.len().min(usize::from(u16::MAX));
    while !topic.is_char_boundary(end) {
        end -= 1;
    }
    cleaned.put_u16(end as u16);
    cleaned.extend_from_slice(&topic.as_bytes()[..end]);
    cleaned.extend_from_slice(id);
    if protocol == Protocol::V5 {
        payload = without_properties(payload)?;
        cleaned.put_u8(0);
    }
    cleaned.extend_from_slice(payload);
    Some(cleaned)
}

fn without_properties(body: &[u8]) -> Option<&[u8]> {
    let mut length = 0usize;
    for at in 0..4 {
        let byte = body.get(at)?;
        length |= usize::from(byte & 127) << (7 * at);
        if byte & 128 == 0 {
            return body.get(at + 1 + length..);
        }
    }
    None
}

fn put_length(mut length: usize, out: &mut BytesMut) {
    loop {
        let byte = (length & 127) as u8;
        length >>= 7;
        out.put_u8(if length > 0 { byte | 128 } else { byte });
        if length == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relayed(bytes: &[u8], protocol: Protocol) -> Vec<u8> {
        let (mut read, mut out) = (BytesMut::from(bytes), BytesMut::new());
        while let Ok(Some(packet)) = next_packet(&mut read) {
            relay(&packet, protocol, &mut out);
        }
        out.to_vec()
    }

    #[test]
    fn topics_that_are_no_text_are_marked_and_properties_left_out() {
        let good = b"\x32\x08\x00\x03a/1\x00\x07x";
        assert_eq!(relayed(good, Protocol::V311), good);
        let bad = b"\x32\x08\x00\x03a/\xff\x00\x07x\xd0\x00";
        let marked = b"\x32\x0b\x00\x06\0a/\xef\xbf\xbd\x00\x07x\xd0\x00";
        assert_eq!(relayed(bad, Protocol::V311), marked);
        let with = b"\x30\x0b\x00\x01a\x06\x03\x00\x03t\xff/x";
        assert_eq!(relayed(with, Protocol::V5), b"\x30\x05\x00\x01a\x00x");
        // Half a packet waits for its other half.
        assert_eq!(relayed(&good[..9], Protocol::V311), b"");
        let long = [&[0x30, 0x80, 0x01, 0x00, 0x01, b'a'][..], &[b'x'; 125]].concat();
        assert_eq!(relayed(&long, Protocol::V311), long);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            relayed(&bytes, Protocol::V311);
            relayed(&bytes, Protocol::V5);
        }
    }
}
