//! A connection that can change the runtime it is driven by, while it stays within a TLS stream that
//! knows nothing of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection over TCP.
#[derive(Debug)]
pub struct Socket(Place);

#[derive(Debug)]
enum Place {
    /// Driven by a runtime.
    Here(TcpStream),
    /// By none, on its way to another one.
    Between(std::net::TcpStream),
    Gone,
}

impl Socket {
    /// Driven by the present runtime.
    pub fn new(stream: TcpStream) -> Socket {
        Socket(Place::Here(stream))
    }

    /// Leaves its runtime. Nothing is read or written until it has arrived in another one.
    ///
    /// # Errors
    /// What the system answers; the connection is lost then.
    pub fn leave(&mut self) -> io::Result<()> {
        if let Place::Here(stream) = std::mem::replace(&mut self.0, Place::Gone) {
            self.0 = Place::Between(stream.into_std()?);
        }
        Ok(())
    }

    /// Arrives in the present runtime.
    ///
    /// # Errors
    /// What the system answers; the connection is lost then.
    pub fn arrive(&mut self) -> io::Result<()> {
        if let Place::Between(stream) = std::mem::replace(&mut self.0, Place::Gone) {
            self.0 = Place::Here(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.get_mut().0 {
            Place::Here(stream) => Ok(Pin::new(stream)),
            Place::Between(_) | Place::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
