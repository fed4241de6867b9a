//! CONNECT: parsed by the protocol library, and what it lets pass judged here.

use super::packets::{TOPIC_ALIAS_MAX, guarded, reason};
use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
use oribi_access::{Access, Denied};

/// A session that never expires.
pub(super) const EXPIRY_NEVER: u32 = u32::MAX;
/// Longest client id, bytes.
const CLIENT_ID_BYTES_MAX: usize = 4 * 1024;
/// Longest topic of a will, bytes.
const WILL_TOPIC_BYTES_MAX: usize = 4 * 1024;
/// Longest content of a will, bytes: it is kept for as long as its client likes.
const WILL_BYTES_MAX: usize = 16 * 1024;

/// A message to publish when the client is gone.
#[derive(Debug, Clone)]
pub(super) struct Will {
    /// Who asked for it.
    pub(super) access: Access,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) delay_s: u32,
}

impl Will {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Will>() + self.topic.capacity() + self.payload.capacity()
    }
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) struct Connect {
    pub(super) is_v5: bool,
    pub(super) client_id: String,
    pub(super) is_clean: bool,
    pub(super) keep_alive_s: u16,
    pub(super) expiry_s: u32,
    pub(super) will: Option<Will>,
    /// What it shows: its password, or its user name where it has none.
    pub(super) secret: Option<Secret>,
}

/// Where a secret came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Secret {
    Password(Vec<u8>),
    /// As some platforms teach it; of who shows a certificate it is just a name.
    UserName(Vec<u8>),
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadConnect {
    /// Neither 3.1.1 nor 5.
    Version,
    /// An id that is too long, or an empty one with a session to keep (3.1.1).
    ClientId,
    /// A will to a topic that cannot be published to.
    WillTopic,
    /// A will that is too long to be kept.
    WillSize,
    /// A way to log in that does not exist here.
    AuthMethod,
    /// Nobody is known by what it shows.
    Credentials(Denied),
    /// Who it is may not have this, for a person.
    NotAllowed(&'static str),
    Malformed,
}

impl BadConnect {
    fn code_v5(self) -> u8 {
        match self {
            BadConnect::Version => 0x84,
            BadConnect::ClientId => 0x85,
            BadConnect::WillTopic => reason::TOPIC_INVALID,
            BadConnect::WillSize => reason::TOO_LARGE,
            BadConnect::AuthMethod => 0x8c,
            BadConnect::Credentials(_) => 0x86,
            BadConnect::NotAllowed(_) => reason::NOT_AUTHORIZED,
            BadConnect::Malformed => reason::MALFORMED,
        }
    }

    /// What is said of it to a person.
    fn words(self) -> String {
        match self {
            BadConnect::Credentials(denied) => denied.to_string(),
            BadConnect::NotAllowed(what) => what.to_owned(),
            _ => String::new(),
        }
    }

    /// `None`: 3.1.1 has no word for it, and the connection is closed without any.
    fn code_v3(self) -> Option<u8> {
        match self {
            BadConnect::Version => Some(1),
            BadConnect::ClientId => Some(2),
            BadConnect::Credentials(_) => Some(4),
            BadConnect::NotAllowed(_) => Some(5),
            BadConnect::WillTopic
            | BadConnect::WillSize
            | BadConnect::AuthMethod
            | BadConnect::Malformed => None,
        }
    }
}

/// Reads a CONNECT's content.
///
/// # Errors
/// Why it is refused.
pub(super) fn parse(content: &[u8]) -> Result<Connect, BadConnect> {
    if content.get(..6) != Some(b"\0\x04MQTT") {
        let is_old = content.get(..8) == Some(b"\0\x06MQIsdp");
        return Err(if is_old { BadConnect::Version } else { BadConnect::Malformed });
    }
    let is_v5 = match content.get(6) {
        Some(4) => false,
        Some(5) => true,
        _ => return Err(BadConnect::Version),
    };
    check_flags(*content.get(7).ok_or(BadConnect::Malformed)?, is_v5)?;
    let connect = if is_v5 { parse_v5(content)? } else { parse_v3(content)? };
    if connect.client_id.contains('\0') {
        return Err(BadConnect::Malformed);
    }
    if connect.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(BadConnect::ClientId);
    }
    if let Some(will) = &connect.will {
        let is_wild = will.topic.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0));
        if will.topic.is_empty() || is_wild || will.topic.len() > WILL_TOPIC_BYTES_MAX {
            return Err(BadConnect::WillTopic);
        }
        if will.payload.len() > WILL_BYTES_MAX {
            return Err(BadConnect::WillSize);
        }
    }
    Ok(connect)
}

/// MQTT 3.1.1 and 5, 3.1.2.3 to 3.1.2.9.
fn check_flags(flags: u8, is_v5: bool) -> Result<(), BadConnect> {
    const RESERVED: u8 = 0x01;
    const WILL: u8 = 0x04;
    const WILL_QOS: u8 = 0x18;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;
    let has = |bits: u8| flags & bits != 0;
    let is_wrong = has(RESERVED)
        || flags & WILL_QOS == WILL_QOS
        || (!has(WILL) && has(WILL_QOS | WILL_RETAIN))
        || (!is_v5 && has(PASSWORD) && !has(USER_NAME));
    if is_wrong { Err(BadConnect::Malformed) } else { Ok(()) }
}

fn parse_v3(content: &[u8]) -> Result<Connect, BadConnect> {
    let packet = guarded(|| v3_1_1::Connect::parse(content), content.len());
    let packet = packet.ok_or(BadConnect::Malformed)?;
    if packet.client_id().is_empty() && !packet.clean_session() {
        return Err(BadConnect::ClientId);
    }
    check_user_name(packet.user_name())?;
    let will = packet.will_topic().map(|topic| Will {
        access: Access::Open,
        topic: topic.to_owned(),
        payload: packet.will_payload().unwrap_or_default().to_vec(),
        delay_s: 0,
    });
    Ok(Connect {
        is_v5: false,
        client_id: packet.client_id().to_owned(),
        is_clean: packet.clean_session(),
        keep_alive_s: packet.keep_alive(),
        expiry_s: if packet.clean_session() { 0 } else { EXPIRY_NEVER },
        will,
        secret: shown(packet.password(), packet.user_name()),
    })
}

fn parse_v5(content: &[u8]) -> Result<Connect, BadConnect> {
    let packet = guarded(|| v5_0::Connect::parse(content), content.len());
    let packet = packet.ok_or(BadConnect::Malformed)?;
    check_user_name(packet.user_name())?;
    let mut expiry_s = 0;
    for property in packet.props().iter() {
        match property {
            Property::SessionExpiryInterval(value) => expiry_s = value.val(),
            Property::AuthenticationMethod(_) => return Err(BadConnect::AuthMethod),
            Property::AuthenticationData(_) => return Err(BadConnect::Malformed),
            _ => {}
        }
    }
    let delay_s = packet.will_props().iter().find_map(|property| match property {
        Property::WillDelayInterval(value) => Some(value.val()),
        _ => None,
    });
    let will = packet.will_topic().map(|topic| Will {
        access: Access::Open,
        topic: topic.to_owned(),
        payload: packet.will_payload().unwrap_or_default().to_vec(),
        delay_s: delay_s.unwrap_or(0),
    });
    Ok(Connect {
        is_v5: true,
        client_id: packet.client_id().to_owned(),
        is_clean: packet.clean_start(),
        keep_alive_s: packet.keep_alive(),
        expiry_s,
        will,
        secret: shown(packet.password(), packet.user_name()),
    })
}

fn shown(password: Option<&[u8]>, user_name: Option<&str>) -> Option<Secret> {
    match (password, user_name) {
        (Some(password), _) => Some(Secret::Password(password.to_vec())),
        (None, Some(name)) => Some(Secret::UserName(name.as_bytes().to_vec())),
        (None, None) => None,
    }
}

fn check_user_name(user_name: Option<&str>) -> Result<(), BadConnect> {
    match user_name {
        Some(name) if name.contains('\0') => Err(BadConnect::Malformed),
        _ => Ok(()),
    }
}

/// CONNACK for an accepted client.
pub(super) fn push_connack(
    out: &mut Vec<u8>,
    connect: &Connect,
    session_present: bool,
    assigned: Option<&str>,
) {
    if !connect.is_v5 {
        out.extend_from_slice(&[0x20, 2, u8::from(session_present), 0]);
        return;
    }
    let mut properties = vec![34];
    properties.extend_from_slice(&TOPIC_ALIAS_MAX.to_be_bytes());
    // Retained messages, wildcard, shared and identified subscriptions: none of them here. A
    // retain flag is still accepted, so it is not announced as unavailable.
    properties.extend_from_slice(&[40, 0, 41, 0, 42, 0]);
    if let Some(id) = assigned {
        properties.push(18);
        properties.extend_from_slice(&(id.len() as u16).to_be_bytes());
        properties.extend_from_slice(id.as_bytes());
    }
    let length = properties.len() as u8;
    out.extend_from_slice(&[0x20, length + 3, u8::from(session_present), 0, length]);
    out.extend_from_slice(&properties);
}

/// CONNACK for a refused client.
pub(super) fn push_refusal(out: &mut Vec<u8>, wrong: BadConnect, is_v5: bool) {
    if is_v5 {
        const REASON_STRING: u8 = 31;
        let words = wrong.words();
        let length = if words.is_empty() { 0 } else { 3 + words.len() as u8 };
        out.extend_from_slice(&[0x20, 3 + length, 0, wrong.code_v5(), length]);
        if !words.is_empty() {
            out.extend_from_slice(&[REASON_STRING, 0, words.len() as u8]);
            out.extend_from_slice(words.as_bytes());
        }
    } else if let Some(code) = wrong.code_v3() {
        out.extend_from_slice(&[0x20, 2, 0, code]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(version: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
        let mut content = [b"\0\x04MQTT", &[version, flags, 0, 60][..]].concat();
        for (at, text) in rest.iter().enumerate() {
            if version == 5 && at <= usize::from(flags & 4 != 0) {
                content.push(0);
            }
            content.extend((text.len() as u16).to_be_bytes());
            content.extend_from_slice(text);
        }
        content
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        use BadConnect::{ClientId, Malformed, WillTopic};
        let long = [b'x'; CLIENT_ID_BYTES_MAX + 1];
        for version in [4, 5] {
            let refused = |flags, rest: &[&[u8]]| parse(&content(version, flags, rest)).err();
            assert_eq!(refused(0x02, &[b"id"]), None, "{version}");
            assert_eq!(refused(0x06, &[b"id", b"a/b", b"gone"]), None, "{version}");
            assert_eq!(refused(0x03, &[b"id"]), Some(Malformed), "the reserved bit");
            assert_eq!(refused(0x1e, &[b"id", b"a/b", b""]), Some(Malformed), "will QoS 3");
            assert_eq!(refused(0x0a, &[b"id"]), Some(Malformed), "will QoS without a will");
            assert_eq!(refused(0x22, &[b"id"]), Some(Malformed), "will retain without a will");
            assert_eq!(refused(0x06, &[b"id", b"a/#", b""]), Some(WillTopic));
            assert_eq!(refused(0x06, &[b"id", b"+/a", b""]), Some(WillTopic));
            assert_eq!(refused(0x06, &[b"id", b"", b""]), Some(WillTopic));
            assert_eq!(refused(0x06, &[b"id", &long, b""]), Some(WillTopic));
            assert_eq!(refused(0x02, &[b"a\0b"]), Some(Malformed), "NUL");
            assert_eq!(refused(0x82, &[b"id", b"u\0"]), Some(Malformed), "NUL");
            assert_eq!(refused(0x02, &[b"\xff"]), Some(Malformed), "no UTF-8");
            assert_eq!(refused(0x02, &[b"id", b"more"]), Some(Malformed), "bytes behind the end");
            assert_eq!(refused(0x02, &[&long]), Some(ClientId));
        }
        let password = content(4, 0x42, &[b"id", b"secret"]);
        assert_eq!(parse(&password).err(), Some(Malformed), "a password without a name");
        let mut login = b"\0\x04MQTT\x05\x02\0\x3c\x08\x15\0\x05SCRAM".to_vec();
        login.extend(b"\0\x02id");
        assert_eq!(parse(&login).err(), Some(BadConnect::AuthMethod));
    }

    #[test]
    fn refusals_have_the_words_of_their_version() {
        let answer = |wrong, is_v5| {
            let mut out = Vec::new();
            push_refusal(&mut out, wrong, is_v5);
            out
        };
        assert!(answer(BadConnect::Malformed, false).is_empty());
        assert_eq!(answer(BadConnect::ClientId, false), [0x20, 2, 0, 2]);
        assert_eq!(answer(BadConnect::AuthMethod, true), [0x20, 3, 0, 0x8c, 0]);
    }
}
