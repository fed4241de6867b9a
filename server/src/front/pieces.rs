//! A client's socket below TLS, which is read in larger pieces than TLS asks for while much is coming.

use bytes::{Buf, BytesMut};
use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Read at a time while much is coming, bytes: two records. TLS asks for a quarter of a record, and each
/// time costs a call of the system.
const PIECE_BYTES: usize = 32 << 10;
/// What is no less at a time is much, bytes.
const MUCH_BYTES: usize = 4 << 10;

/// A socket whose bytes may come in pieces. Without any at hand it holds no buffer.
#[derive(Debug)]
pub(crate) struct Pieces {
    socket: TcpStream,
    piece: BytesMut,
    is_much_coming: bool,
}

impl Pieces {
    /// Of `socket`.
    pub(crate) fn of(socket: TcpStream) -> Pieces {
        Pieces { socket, piece: BytesMut::new(), is_much_coming: false }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Pieces { socket, piece, is_much_coming } = &mut *self;
        let mut socket = Pin::new(socket);
        if piece.is_empty() && !*is_much_coming {
            let before = buffer.filled().len();
            ready!(socket.poll_read(context, buffer))?;
            *is_much_coming = buffer.filled().len() - before >= MUCH_BYTES;
            return Poll::Ready(Ok(()));
        }
        if piece.is_empty() {
            let mut next = BytesMut::with_capacity(PIECE_BYTES);
            let bytes = ready!(pin!(socket.read_buf(&mut next)).poll(context))?;
            *is_much_coming = bytes >= MUCH_BYTES;
            *piece = next;
        }
        let bytes = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..bytes]);
        piece.advance(bytes);
        if piece.is_empty() {
            // Gives the memory back.
            *piece = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    #[tokio::test]
    async fn what_is_sent_comes_in_its_order_and_leaves_no_buffer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let sent: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.write_all(b"end").await.unwrap();
        });
        let (mut pieces, mut got, mut were_much) = (Pieces::of(socket), Vec::new(), false);
        // Of sizes that no piece is a multiple of.
        let mut buffer = [0; 5_000];
        loop {
            let bytes = pieces.read(&mut buffer).await.unwrap();
            if bytes == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..bytes]);
            were_much |= pieces.is_much_coming;
            assert!(pieces.piece.capacity() <= PIECE_BYTES);
        }
        sending.await.unwrap();
        assert!(got.len() == expected.len() + 3 && got.starts_with(&expected), "{}", got.len());
        assert!(got.ends_with(b"end") && were_much);
        assert_eq!(pieces.piece.capacity(), 0);
    }
}
