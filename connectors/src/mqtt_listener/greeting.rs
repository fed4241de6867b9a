//! From an accepted socket to CONNECT: bounded in time, in bytes and in number.

use super::{
    common::Common,
    connect::{self, Connect},
    frame, input,
    ledger::{Account, FREE_BYTES, Owner},
    live::Live,
};
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// Bytes of a CONNECT at most: a will and a password of 64 KiB each, and some properties.
const CONNECT_BYTES_MAX: usize = 64 * 1024;
/// Waits for CONNECT; what came after it stays in `input`. `None`: the connection is not to be
/// served.
pub(super) async fn greet(
    common: &Common,
    live: &Arc<Live>,
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
) -> Option<Connect> {
    let place = common.greetings.enter(live);
    let limit = Duration::from_millis(common.options.connect_timeout_ms);
    let mut account = Account::default();
    let connect = tokio::select! {
        connect = timeout(limit, read_connect(common, live, stream, input, &mut account)) => {
            connect.ok().flatten()
        }
        () = common.shutdown.cancelled() => None,
    };
    common.ledger.clear(&mut account);
    common.greetings.leave(place);
    connect
}

async fn read_connect(
    common: &Common,
    live: &Arc<Live>,
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    account: &mut Account,
) -> Option<Connect> {
    loop {
        if live.ended().is_some() {
            return None;
        }
        match frame::peek(input) {
            Err(_) => return None,
            Ok(Some(frame)) => {
                let bytes_max = CONNECT_BYTES_MAX.min(common.options.packet_bytes_max);
                if frame.head != 0x10 || frame.bytes() > bytes_max {
                    return None;
                }
                if input.len() >= frame.bytes() {
                    let content = &input[frame.start..frame.bytes()];
                    let is_v5 = content.get(6) == Some(&5);
                    let parsed = connect::parse(content);
                    input.drain(..frame.bytes());
                    input::shrink(input);
                    let Err(wrong) = parsed else { return parsed.ok() };
                    let mut answer = Vec::new();
                    connect::push_refusal(&mut answer, wrong, is_v5);
                    // The client may be gone already; it is refused either way.
                    let _ = stream.write_all(&answer).await;
                    return None;
                }
            }
            Ok(None) if input.first().is_some_and(|head| *head != 0x10) => return None,
            Ok(None) => {}
        }
        if input.capacity() > FREE_BYTES {
            let owner = Owner::Connection(live.clone());
            let evicted = common.ledger.note(account, input.capacity(), &owner);
            common.evict(evicted);
        }
        tokio::select! {
            ready = stream.readable() => ready.ok()?,
            () = live.waker.wake.notified() => continue,
        }
        input::read(stream, input, |_, _| ((), 0)).ok()?;
    }
}
