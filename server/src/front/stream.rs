//! A client's socket whose progress is watched, with bytes that were read ahead given back first.

use super::{progress::Progress, socket::Socket};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

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
    socket: Socket,
    ahead: Bytes,
    progress: Arc<Progress>,
}

impl Stream {
    /// Watches `socket`.
    pub(super) fn new(socket: Socket, progress: Arc<Progress>) -> Stream {
        Stream { socket, ahead: Bytes::new(), progress }
    }

    /// Reads ahead until the first head is complete, so that one that never gets there costs
    /// little, and says what the client speaks.
    ///
    /// # Errors
    /// What the socket answers; an end of file before a byte is [`io::ErrorKind::UnexpectedEof`].
    pub(super) async fn first_head(&mut self, bytes_max: usize) -> io::Result<Protocol> {
        const READ_BYTES: usize = 512;
        let mut head = BytesMut::with_capacity(READ_BYTES);
        let mut seen = 0;
        while head.len() < bytes_max && !head.starts_with(PREFACE) && !is_complete(&head, seen) {
            seen = head.len();
            head.reserve(READ_BYTES);
            if self.socket.read_buf(&mut head).await? == 0 {
                if head.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                break;
            }
            self.progress.has_read();
        }
        if head.starts_with(PREFACE) {
            self.progress.is_multiplexed();
            self.ahead = head.freeze();
            return Ok(Protocol::Http2);
        }
        self.ahead = with_encoded_target(head.freeze());
        Ok(Protocol::Http1)
    }
}

/// Whether a blank line ends the head; none does among the first `seen` bytes.
fn is_complete(head: &[u8], seen: usize) -> bool {
    const BLANK_LINE_BYTES_MAX: usize = 4;
    let tail = &head[seen.saturating_sub(BLANK_LINE_BYTES_MAX)..];
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// Percent-encodes what people type into a URL and the parser of requests refuses without a word:
/// `where=v>1`. Only for the first request of a connection: there, nothing that came before can
/// have left the place of its beginning open.
fn with_encoded_target(head: Bytes) -> Bytes {
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else { return head };
    let (line, rest) = head.split_at(end);
    if !line.iter().any(|byte| encoded(*byte).is_some()) {
        return head;
    }
    let mut out = BytesMut::with_capacity(head.len() + 64);
    for byte in line {
        match encoded(*byte) {
            Some(text) => out.extend_from_slice(text),
            None => out.put_u8(*byte),
        }
    }
    out.extend_from_slice(rest);
    out.freeze()
}

fn encoded(byte: u8) -> Option<&'static [u8; 3]> {
    match byte {
        b'"' => Some(b"%22"),
        b'<' => Some(b"%3C"),
        b'>' => Some(b"%3E"),
        _ => None,
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
            if self.ahead.is_empty() {
                // Gives the memory back.
                self.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.socket).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.progress.has_read();
        } else if self.progress.meets_end(context.waker()) {
            // Told once the answer is written: until then this would end the request.
            return Poll::Pending;
        }
        Poll::Ready(read)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_line_ends_the_head() {
        for (head, seen, complete) in [
            ("GET / HTTP/1.1\r\n\r\n", 0, true),
            ("GET / HTTP/1.1\r\n\r\n", 17, true),
            ("GET / HTTP/1.1\n\nrest", 15, true),
            ("GET / HTTP/1.1\r\nA: b\r\n", 0, false),
            ("", 0, false),
        ] {
            assert_eq!(is_complete(head.as_bytes(), seen), complete, "{head:?}");
        }
    }

    #[test]
    fn only_the_first_line_is_encoded() {
        let cases = [
            (
                "GET /q?where=v>1 HTTP/1.1\r\nA: <\r\n\r\n",
                "GET /q?where=v%3E1 HTTP/1.1\r\nA: <\r\n\r\n",
            ),
            ("GET / HTTP/1.1\r\nA: <\r\n\r\n", "GET / HTTP/1.1\r\nA: <\r\n\r\n"),
            ("GET /q?where=v>1 HT", "GET /q?where=v>1 HT"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_encoded_target(Bytes::from_static(given.as_bytes())), expected);
        }
    }
}
