//! Bytes from sockets, read into one buffer a thread, so that a connection holds only what is left
//! of a packet that is not complete.

use std::{cell::RefCell, io};
use tokio::net::TcpStream;

const READ_BYTES: usize = 64 * 1024;
/// Empty buffers up to this size are kept.
const KEPT_BYTES: usize = 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Hands over what there is to read; `None` where there is nothing yet.
///
/// # Errors
/// What the system answers, and that the peer has closed the connection.
pub(super) fn read<T>(stream: &TcpStream, take: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
    BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(bytes) => Ok(Some(take(&buffer[..bytes]))),
        Err(wrong) if wrong.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(wrong) => Err(wrong),
    })
}

/// Gives back what a buffer does not need for what it holds.
pub(super) fn shrink<T>(buffer: &mut Vec<T>) {
    let needed = buffer.len() * size_of::<T>();
    if buffer.capacity() * size_of::<T>() > (4 * needed).max(KEPT_BYTES) {
        buffer.shrink_to(buffer.len());
    }
}
