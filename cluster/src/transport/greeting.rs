//! The first bytes of a connection: preface and hello in each direction.

use super::{Agreed, Channel, Decoder, FrameError, Hello, HelloError, Kind, PREFACE, Received};
use crate::NodeIdentity;
use bytes::BytesMut;
use oribi_model::NodeId;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long the other side may take to say who it is.
const GREETING_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a hello, its frame included, of this or a later version.
const HELLO_BYTES_MAX: usize = 4 << 10;

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
        send(stream, hello).await?;
        let (theirs, rest) = receive(stream).await?;
        Ok((hello.answered(&theirs)?, decoder(hello.channel, rest)))
    };
    timeout(GREETING_WAIT, greeting).await.unwrap_or(Err(GreetingError::Late))
}

/// Answers the greeting of a side that calls. It is told who this node is also where the two do not
/// go together, so that it can say why.
///
/// # Errors
/// Why this connection is not taken.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    own: NodeIdentity,
) -> Result<(Agreed, Decoder), GreetingError> {
    let greeting = async {
        let (theirs, rest) = receive(stream).await?;
        send(stream, &Hello::new(own, theirs.channel, theirs.identity.node)).await?;
        Ok((Hello::accept(own, &theirs)?, decoder(theirs.channel, rest)))
    };
    timeout(GREETING_WAIT, greeting).await.unwrap_or(Err(GreetingError::Late))
}

/// The hello by which this node calls another one.
pub(super) fn hello(own: NodeIdentity, channel: Channel, node: NodeId) -> Hello {
    Hello::new(own, channel, node)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, hello: &Hello) -> io::Result<()> {
    let mut bytes = BytesMut::from(&PREFACE[..]);
    hello.to_frame().encode(&mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// The hello, and the bytes behind it.
async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Hello, BytesMut), GreetingError> {
    let mut preface = [0; PREFACE.len()];
    // One byte is enough to tell most of what is no node.
    for at in 0..preface.len() {
        stream.read_exact(&mut preface[at..=at]).await?;
        if preface[at] != PREFACE[at] {
            return Err(HelloError::NoNode.into());
        }
    }
    // A hello is read before it is known what the connection is for.
    let mut decoder = Decoder::new(Channel::Liveness);
    loop {
        match decoder.next_frame()? {
            Some(Received::Frame(frame)) if frame.kind == Kind::Hello => {
                let rest = decoder.buffer().split();
                return Ok((Hello::decode(&frame.body)?, rest));
            }
            Some(_) => return Err(HelloError::Malformed.into()),
            None if decoder.buffer().len() > HELLO_BYTES_MAX => {
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
