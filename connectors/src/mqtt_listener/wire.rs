//! A client's socket, with TLS or without.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A client's socket.
pub(super) enum Wire {
    /// In clear text.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<Secured>),
}

/// A socket over TLS.
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    /// Whether bytes that were deciphered may wait to be read, of which the socket tells nothing.
    may_hold: bool,
}

impl Wire {
    /// A socket whose handshake is done.
    pub(super) fn secured(stream: TlsStream<TcpStream>) -> Wire {
        Wire::Tls(Box::new(Secured { stream, may_hold: true }))
    }

    /// The certificate that the client has shown, DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        let Wire::Tls(secured) = self else { return None };
        let (_, session) = secured.stream.get_ref();
        session.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.readable().await,
            Wire::Tls(secured) if secured.may_hold => Ok(()),
            Wire::Tls(secured) => secured.stream.get_ref().0.readable().await,
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where nothing is.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let secured = match self {
            Wire::Plain(stream) => return stream.try_read(buffer),
            Wire::Tls(secured) => secured,
        };
        // Who wants to know when there is more waits for the socket itself.
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut secured.stream).poll_read(&mut context, &mut buffer) {
            Poll::Ready(read) => {
                secured.may_hold = true;
                read.map(|()| buffer.filled().len())
            }
            Poll::Pending => {
                secured.may_hold = false;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Writes all of it, through to the socket.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.write_all(bytes).await,
            Wire::Tls(secured) => {
                secured.stream.write_all(bytes).await?;
                secured.stream.flush().await
            }
        }
    }

    /// Says that nothing more is written.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.shutdown().await,
            Wire::Tls(secured) => secured.stream.shutdown().await,
        }
    }
}
