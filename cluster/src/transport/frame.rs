//! Frames: what goes over a connection between two nodes.
//!
//! `length u32 | kind u8 | role u8 | group u64 | incarnation u32 | request u64 | body | crc u32`,
//! integers little-endian. The length counts what follows it; the CRC-32C is that of everything
//! between the two.

use crate::Incarnation;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_store::log::GroupId;

/// What stands before the body, without the length.
const HEAD_BYTES: usize = 22;
const LENGTH_BYTES: usize = 4;
const CRC_BYTES: usize = 4;

/// What the three connections from one node to another are for, so that none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Pings.
    Liveness,
    /// What a consensus group waits for.
    Raft,
    /// Files, blocks and answers to questions.
    Bulk,
}

impl Channel {
    /// All of them.
    pub const ALL: [Channel; 3] = [Channel::Liveness, Channel::Raft, Channel::Bulk];

    /// Bytes of the longest body. An entry is not cut, so that an append may be long.
    pub fn body_bytes_max(self) -> usize {
        match self {
            Channel::Liveness => 64 << 10,
            Channel::Raft => 64 << 20,
            Channel::Bulk => 4 << 20,
        }
    }

    /// As a hello names it.
    pub(super) fn to_u8(self) -> u8 {
        match self {
            Channel::Liveness => 1,
            Channel::Raft => 2,
            Channel::Bulk => 3,
        }
    }

    pub(super) fn from_u8(byte: u8) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.to_u8() == byte)
    }
}

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who speaks; the first frame in each direction.
    Hello,
    /// That the node lives, and what it knows of others.
    Ping,
    /// A candidate asks for a vote.
    Vote,
    /// A node asks whether it would get a vote.
    PreVote,
    /// A leader's entries.
    Append,
    /// A leader gives its group to another member.
    Transfer,
    /// Rows for a leader.
    Write,
    /// A follower asks how far it has to be to answer a question.
    ReadIndex,
    /// A piece of a segment.
    Segment,
    /// A question about tablets of the node.
    Ask,
    /// A node that wants to be known, in the place of a hello: one that has no id yet, or one that
    /// says where it is.
    Join,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Hello,
        Kind::Ping,
        Kind::Vote,
        Kind::PreVote,
        Kind::Append,
        Kind::Transfer,
        Kind::Write,
        Kind::ReadIndex,
        Kind::Segment,
        Kind::Ask,
        Kind::Join,
    ];

    /// As a frame has it.
    pub(crate) fn to_u8(self) -> u8 {
        match self {
            Kind::Hello => 1,
            Kind::Ping => 2,
            Kind::Vote => 3,
            Kind::PreVote => 4,
            Kind::Append => 5,
            Kind::Transfer => 6,
            Kind::Write => 7,
            Kind::ReadIndex => 8,
            Kind::Segment => 9,
            Kind::Ask => 10,
            Kind::Join => 11,
        }
    }

    fn from_u8(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.to_u8() == byte)
    }

    /// The connection that such frames go over; a hello begins each. What asks to join stands alone.
    pub fn channel(self) -> Option<Channel> {
        match self {
            Kind::Hello | Kind::Join => None,
            Kind::Ping => Some(Channel::Liveness),
            Kind::Segment | Kind::Ask => Some(Channel::Bulk),
            Kind::Vote
            | Kind::PreVote
            | Kind::Append
            | Kind::Transfer
            | Kind::Write
            | Kind::ReadIndex => Some(Channel::Raft),
        }
    }
}

/// Which side of an exchange a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Wants an answer where its number is not 0.
    Request,
    /// The answer to the request of the same number.
    Answer,
    /// Says why there is none. The body is a [`Refusal`](super::Refusal).
    Refusal,
}

impl Role {
    fn to_u8(self) -> u8 {
        match self {
            Role::Request => 0,
            Role::Answer => 1,
            Role::Refusal => 2,
        }
    }

    fn from_u8(byte: u8) -> Option<Role> {
        [Role::Request, Role::Answer, Role::Refusal].into_iter().find(|role| role.to_u8() == byte)
    }
}

/// One frame. Clones share the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is about.
    pub kind: Kind,
    /// Request or answer.
    pub role: Role,
    /// The group concerned; 0, the catalog's, also where none is.
    pub group: GroupId,
    /// The replica that it is for: a request for another one changes nothing.
    pub incarnation: Incarnation,
    /// The number of the request, given by who asks, on this connection; 0 wants no answer.
    pub request: u64,
    /// What it says; the form is that of the kind.
    pub body: Bytes,
}

/// Bytes that are no frames. The connection that brought them is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length beyond the bound of the connection.
    #[error("a frame of {bytes} bytes on a connection for at most {bytes_max}")]
    TooLong {
        /// What it says.
        bytes: u32,
        /// The bound.
        bytes_max: usize,
    },
    /// A length that not even an empty frame has.
    #[error("a frame of {bytes} bytes is shorter than its head")]
    TooShort {
        /// What it says.
        bytes: u32,
    },
    /// Something was changed on the way.
    #[error("the checksum of a frame differs")]
    Checksum,
    /// A role that is not known; it may give the body another meaning.
    #[error("a frame of the unknown role {0}")]
    UnknownRole(u8),
    /// A frame of a kind that goes over another connection.
    #[error("a frame of kind {kind:?} on the connection for {channel:?}")]
    WrongChannel {
        /// Its kind.
        kind: Kind,
        /// The connection.
        channel: Channel,
    },
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame.
    Frame(Frame),
    /// A whole frame of a kind that is not known here. Where it is a request it is refused; the
    /// connection goes on.
    UnknownKind {
        /// The kind.
        kind: u8,
        /// Request or answer.
        role: Role,
        /// The number of the request.
        request: u64,
    },
}

impl Frame {
    /// A request without an answer, of no group.
    pub fn notice(kind: Kind, body: Bytes) -> Frame {
        let (group, incarnation) = (GroupId(0), Incarnation(0));
        Frame { kind, role: Role::Request, group, incarnation, request: 0, body }
    }

    /// What answers this one.
    pub fn answered(&self, role: Role, body: Bytes) -> Frame {
        Frame { role, body, ..self.clone() }
    }

    /// What stands before the body.
    pub fn head(&self) -> [u8; LENGTH_BYTES + HEAD_BYTES] {
        encode_head(self.kind.to_u8(), self)
    }

    /// What stands behind the body, where `head` stands before it.
    pub fn tail(&self, head: &[u8; LENGTH_BYTES + HEAD_BYTES]) -> [u8; CRC_BYTES] {
        let crc = crc32c::crc32c(&head[LENGTH_BYTES..]);
        crc32c::crc32c_append(crc, &self.body).to_le_bytes()
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let head = self.head();
        out.put_slice(&head);
        out.put_slice(&self.body);
        out.put_slice(&self.tail(&head));
    }
}

fn encode_head(kind: u8, frame: &Frame) -> [u8; LENGTH_BYTES + HEAD_BYTES] {
    let mut head = [0; LENGTH_BYTES + HEAD_BYTES];
    // Whoever makes a body keeps to the bound of its channel, which is far below 4 GiB.
    let length = (HEAD_BYTES + frame.body.len() + CRC_BYTES) as u32;
    let mut out = &mut head[..];
    out.put_u32_le(length);
    out.put_u8(kind);
    out.put_u8(frame.role.to_u8());
    out.put_u64_le(frame.group.0);
    out.put_u32_le(frame.incarnation.0);
    out.put_u64_le(frame.request);
    head
}

/// Takes the frames out of the bytes of one connection. What a peer only announces takes no
/// memory.
#[derive(Debug)]
pub struct Decoder {
    channel: Channel,
    bytes: BytesMut,
}

impl Decoder {
    /// For a connection of this kind.
    pub fn new(channel: Channel) -> Decoder {
        Decoder { channel, bytes: BytesMut::new() }
    }

    /// Where the bytes that come in are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// The next frame that is whole; `None` where more bytes are needed.
    ///
    /// # Errors
    /// Bytes that are no frame. No call after that makes sense.
    pub fn next_frame(&mut self) -> Result<Option<Received>, FrameError> {
        let Some(length) = self.bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes = u32::from_le_bytes(*length);
        let length = bytes as usize;
        let bytes_max = HEAD_BYTES + self.channel.body_bytes_max() + CRC_BYTES;
        if length < HEAD_BYTES + CRC_BYTES {
            return Err(FrameError::TooShort { bytes });
        }
        if length > bytes_max {
            return Err(FrameError::TooLong { bytes, bytes_max });
        }
        if self.bytes.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.bytes.advance(LENGTH_BYTES);
        let mut checked = self.bytes.split_to(length - CRC_BYTES);
        let crc = self.bytes.get_u32_le();
        if crc != crc32c::crc32c(&checked) {
            return Err(FrameError::Checksum);
        }
        let kind = checked.get_u8();
        let role = checked.get_u8();
        let role = Role::from_u8(role).ok_or(FrameError::UnknownRole(role))?;
        let group = GroupId(checked.get_u64_le());
        let incarnation = Incarnation(checked.get_u32_le());
        let request = checked.get_u64_le();
        let Some(kind) = Kind::from_u8(kind) else {
            return Ok(Some(Received::UnknownKind { kind, role, request }));
        };
        if kind.channel().is_some_and(|channel| channel != self.channel) {
            return Err(FrameError::WrongChannel { kind, channel: self.channel });
        }
        let body = checked.freeze();
        Ok(Some(Received::Frame(Frame { kind, role, group, incarnation, request, body })))
    }
}
