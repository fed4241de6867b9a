//! Bytes from sockets, read into one buffer a thread, so that a connection holds only what is left
//! of a packet that is not complete.

use super::wire::Wire;
use std::{cell::RefCell, io};

const READ_BYTES: usize = 64 * 1024;
/// Empty buffers up to this size are kept.
const KEPT_BYTES: usize = 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Hands over `rest` with what there is to read behind it, and how many bytes that is. `take` says
/// how much it is done with; what is not done is `rest` from then on. `None` where there is nothing
/// to read yet.
///
/// # Errors
/// What the system answers, and that the peer has closed the connection.
pub(super) fn read<T>(
    stream: &mut Wire,
    rest: &mut Vec<u8>,
    take: impl FnOnce(&[u8], usize) -> (T, usize),
) -> io::Result<Option<T>> {
    BUFFER.with_borrow_mut(|buffer| {
        // A small rest goes into the buffer, so that nothing is gathered in memory of its own; a
        // large one is that of a large packet, and grows.
        let is_small = rest.len() <= READ_BYTES / 2;
        let start = if is_small { rest.len() } else { 0 };
        buffer[..start].copy_from_slice(&rest[..start]);
        let bytes = match stream.try_read(&mut buffer[start..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => bytes,
            Err(wrong) if wrong.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(wrong) => return Err(wrong),
        };
        let all = &buffer[..start + bytes];
        if !is_small {
            rest.extend_from_slice(all);
            let (taken, done) = take(rest, bytes);
            rest.drain(..done);
            return Ok(Some(taken));
        }
        let (taken, done) = take(all, bytes);
        rest.clear();
        rest.extend_from_slice(&all[done..]);
        Ok(Some(taken))
    })
}

/// Gives back what a buffer does not need for what it holds.
pub(super) fn shrink<T>(buffer: &mut Vec<T>) {
    let needed = buffer.len() * size_of::<T>();
    if buffer.capacity() * size_of::<T>() > (4 * needed).max(KEPT_BYTES) {
        buffer.shrink_to(buffer.len());
    }
}
