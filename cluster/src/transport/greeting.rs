//! The first bytes of a connection: preface and hello in each direction, or one question and its
//! answer from somebody who wants to be known. Either is sealed by what admits strangers
//! (`secured::Admission`): the body of such a frame is the seal, then what is said. Whoever asks by a
//! secret that ends by itself names it in between.

use super::{
    Agreed, Asker, Channel, Decoder, Frame, FrameError, Hello, HelloError, Kind, PREFACE, Pending,
    Received,
};
use crate::{
    NodeIdentity,
    secured::{Direction, NodeTls, PassName, Peer, SEAL_BYTES, Standing},
};
use bytes::{Bytes, BytesMut};
use oribi_model::NodeId;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long the other side may take to say who it is.
pub(super) const GREETING_WAIT: Duration = Duration::from_secs(5);
/// How long an answer may take that has to be agreed on first.
const ASKING_WAIT: Duration = Duration::from_secs(10);
/// Bytes of the first frame, of this or a later version.
const FIRST_BYTES_MAX: usize = 4 << 10;
/// Bytes of the answer to who wants to be known, which names all nodes of a cluster.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why there is no connection to a node.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The two do not go together.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The network's own answer.
    #[error("cannot greet the other side: {0}")]
    Io(#[from] io::Error),
    /// It is another one than was called, by its key.
    #[error("the side that was called does not have the key of node {0}")]
    OtherKey(NodeId),
    /// Nothing came.
    #[error("the other side did not say in time who it is")]
    Late,
}

/// Greets the side that was called. What came behind its hello is in the decoder.
///
/// # Errors
/// Why this is no connection to that node.
pub(super) async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &Hello,
) -> Result<(Agreed, Decoder), GreetingError> {
    let greeting = async {
        send(stream, hello.to_frame()).await?;
        let (first, rest) = receive(stream, FIRST_BYTES_MAX).await?;
        Ok((hello.answered(&hello_of(&first)?)?, decoder(hello.channel, rest)))
    };
    timeout(GREETING_WAIT, greeting).await.unwrap_or(Err(GreetingError::Late))
}

/// What a side that calls turns out to be.
pub(super) enum Caller {
    /// A node, for what was agreed on.
    Node(Agreed, Decoder),
    /// Somebody who wants to be known, and what it says.
    Joining(Bytes),
}

/// Asks the side that was called to make this node known. Gives its answer, and whether that is to be
/// believed whoever it is.
///
/// # Errors
/// Why there is none.
pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    tls: &NodeTls,
    peer: &Peer,
    body: Bytes,
) -> Result<(Bytes, Standing), GreetingError> {
    let asking = async {
        send(stream, sealed(tls, peer, Direction::Asked, tls.pass(), &body)).await?;
        match receive(stream, ANSWER_BYTES_MAX).await?.0 {
            Frame { kind: Kind::Join, body, .. } => {
                let heard = unseal(tls, peer, Direction::Answered, body)?;
                Ok((heard.said, heard.standing))
            }
            _ => Err(HelloError::Malformed.into()),
        }
    };
    timeout(ASKING_WAIT, asking).await.unwrap_or(Err(GreetingError::Late))
}

/// Takes what somebody says who wants to be known, and answers it by `answer`; whatever else comes
/// is refused.
///
/// # Errors
/// Why there is no answer.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    tls: &NodeTls,
    peer: &Peer,
    answer: impl FnOnce(Asker, Bytes) -> Pending<Option<Bytes>>,
) -> Result<(), GreetingError> {
    let received = timeout(GREETING_WAIT, receive(stream, FIRST_BYTES_MAX)).await;
    match received.unwrap_or(Err(GreetingError::Late))?.0 {
        Frame { kind: Kind::Join, body, .. } => reply(stream, tls, peer, body, answer).await,
        _ => Err(HelloError::Malformed.into()),
    }
}

/// Sends the answer to somebody who wants to be known, where there is one.
///
/// # Errors
/// Why it was not sent.
pub(super) async fn reply<S: AsyncWrite + Unpin>(
    stream: &mut S,
    tls: &NodeTls,
    peer: &Peer,
    asked: Bytes,
    answer: impl FnOnce(Asker, Bytes) -> Pending<Option<Bytes>>,
) -> Result<(), GreetingError> {
    let heard = unseal(tls, peer, Direction::Asked, asked)?;
    let (pin, standing, pass) = (peer.pin(), heard.standing, heard.pass);
    let answer = answer(Asker { pin, standing }, heard.said);
    let replying = async {
        let Some(body) = answer.await else { return Err(GreetingError::Late) };
        Ok(send(stream, sealed(tls, peer, Direction::Answered, pass, &body)).await?)
    };
    timeout(ASKING_WAIT, replying).await.unwrap_or(Err(GreetingError::Late))
}

/// What was said, and what is to be made of it.
struct Heard {
    said: Bytes,
    standing: Standing,
    /// The pass that was shown.
    pass: Option<PassName>,
}

fn sealed(
    tls: &NodeTls,
    peer: &Peer,
    direction: Direction,
    pass: Option<PassName>,
    said: &[u8],
) -> Frame {
    let seal = tls.seal(peer, direction, pass, said);
    let named = PassName::before(pass.filter(|_| direction == Direction::Asked), said);
    Frame::notice(Kind::Join, [&seal[..], &named].concat().into())
}

fn unseal(
    tls: &NodeTls,
    peer: &Peer,
    direction: Direction,
    mut said: Bytes,
) -> Result<Heard, HelloError> {
    let seal = said.split_to(SEAL_BYTES.min(said.len()));
    let seal = seal[..].try_into().map_err(|_| HelloError::Malformed)?;
    let pass = PassName::take(&mut said).map_err(|_| HelloError::Malformed)?;
    let standing = tls.judge(peer, direction, pass, &seal, &said);
    Ok(Heard { said, standing, pass })
}

/// Answers the greeting of a side that calls. It is told who this node is also where the two do not
/// go together, so that it can say why. One that is not known (`knows`) is told so.
///
/// # Errors
/// Why this connection is not taken.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    own: NodeIdentity,
    knows: impl Fn(NodeId) -> bool,
) -> Result<Caller, GreetingError> {
    let greeting = async {
        let (first, rest) = receive(stream, FIRST_BYTES_MAX).await?;
        if first.kind == Kind::Join {
            return Ok(Caller::Joining(first.body));
        }
        let theirs = hello_of(&first)?;
        let node = theirs.identity.node;
        if Hello::accept(own, &theirs).is_ok() && !knows(node) {
            send(stream, Hello::to_nobody(own, theirs.channel).to_frame()).await?;
            return Err(HelloError::Unknown { node, by: own.node }.into());
        }
        send(stream, Hello::new(own, theirs.channel, node).to_frame()).await?;
        Ok(Caller::Node(Hello::accept(own, &theirs)?, decoder(theirs.channel, rest)))
    };
    timeout(GREETING_WAIT, greeting).await.unwrap_or(Err(GreetingError::Late))
}

/// The hello by which this node calls another one.
pub(super) fn hello(own: NodeIdentity, channel: Channel, node: NodeId) -> Hello {
    Hello::new(own, channel, node)
}

fn hello_of(first: &Frame) -> Result<Hello, HelloError> {
    match first.kind {
        Kind::Hello => Hello::decode(&first.body),
        _ => Err(HelloError::Malformed),
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, first: Frame) -> io::Result<()> {
    let mut bytes = BytesMut::from(&PREFACE[..]);
    first.encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// The first frame, and the bytes behind it.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes_max: usize,
) -> Result<(Frame, BytesMut), GreetingError> {
    let mut preface = [0; PREFACE.len()];
    // One byte is enough to tell most of what is no node.
    for at in 0..preface.len() {
        stream.read_exact(&mut preface[at..=at]).await?;
        if preface[at] != PREFACE[at] {
            return Err(HelloError::NoNode.into());
        }
    }
    // What comes first is read before it is known what the connection is for.
    let mut decoder = Decoder::new(Channel::Liveness);
    loop {
        match decoder.next_frame()? {
            Some(Received::Frame(frame)) if matches!(frame.kind, Kind::Hello | Kind::Join) => {
                return Ok((frame, decoder.buffer().split()));
            }
            Some(_) => return Err(HelloError::Malformed.into()),
            None if decoder.buffer().len() > bytes_max => {
                return Err(HelloError::Malformed.into());
            }
            None => {}
        }
        decoder.buffer().reserve(512);
        if stream.read_buf(decoder.buffer()).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn decoder(channel: Channel, rest: BytesMut) -> Decoder {
    let mut decoder = Decoder::new(channel);
    decoder.buffer().unsplit(rest);
    decoder
}
