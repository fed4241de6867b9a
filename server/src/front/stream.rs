//! A client's socket whose progress is watched, with bytes that were read ahead given back first.

use super::progress::Progress;
use bytes::{Buf, Bytes};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How HTTP/2 without TLS begins; no method of HTTP/1 is called so.
const PREFACE: &[u8; 4] = b"PRI ";

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2, begun without an upgrade.
    Http2,
}

/// A watched socket.
pub(super) struct Stream {
    socket: TcpStream,
    ahead: Bytes,
    progress: Arc<Progress>,
}

impl Stream {
    /// Watches `socket`.
    pub(super) fn new(socket: TcpStream, progress: Arc<Progress>) -> Stream {
        Stream { socket, ahead: Bytes::new(), progress }
    }

    /// Reads ahead until it is clear what the client speaks.
    ///
    /// # Errors
    /// What the socket answers; an end of file before a byte is [`io::ErrorKind::UnexpectedEof`].
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        let mut head = [0; PREFACE.len()];
        let mut filled = 0;
        while filled < head.len() && head[..filled] == PREFACE[..filled] {
            let read = self.socket.read(&mut head[filled..]).await?;
            if read == 0 {
                if filled == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                break;
            }
            filled += read;
            self.progress.has_read();
        }
        self.ahead = Bytes::copy_from_slice(&head[..filled]);
        if head == *PREFACE {
            self.progress.is_multiplexed();
            return Ok(Protocol::Http2);
        }
        Ok(Protocol::Http1)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let bytes = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..bytes]);
            self.ahead.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.progress.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.progress.cannot_write(),
            Poll::Ready(_) => self.progress.has_written(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
