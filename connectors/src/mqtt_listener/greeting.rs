//! From an accepted socket to CONNECT and who it is: bounded in time, in bytes and in number.

use super::{
    common::{Caller, Common},
    connect::{self, BadConnect, Connect, Secret},
    counters::Counters,
    frame, input,
    ledger::{Account, FREE_BYTES, Owner},
    live::Live,
    packets::reason,
    wire::Wire,
};
use oribi_access::{Access, Certificate, Denied, Presented, TopicRules, admit};
use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::timeout;

/// Bytes of a CONNECT at most, its will and its password included: with all else that a connection takes
/// before it is let in no more than 64 KiB.
const CONNECT_BYTES_MAX: usize = 56 * 1024;
/// What guessing a token costs.
const REFUSAL_WAIT: Duration = Duration::from_millis(250);
/// Refusals that wait at once; further ones are told at once.
const REFUSALS_MAX: usize = 1_024;
/// Until the tokens are asked for again, where they were not at hand.
const TOKENS_PAUSE: Duration = Duration::from_millis(200);

/// A client that is let in.
pub(super) struct Guest {
    pub(super) wire: Wire,
    pub(super) connect: Connect,
    pub(super) access: Access,
    pub(super) topics: TopicRules,
}

/// Waits for CONNECT; what came after it stays in `input`. `None`: the connection is not to be
/// served.
pub(super) async fn greet(
    common: &Common,
    live: &Arc<Live>,
    caller: Caller,
    input: &mut Vec<u8>,
) -> Option<Guest> {
    let address = caller.socket().peer_addr().ok().map(|peer| peer.ip());
    let place = common.greetings.enter(live, address, reason::QUOTA);
    let limit = Duration::from_millis(common.options.connect_timeout_ms);
    let mut account = Account::default();
    // Aside, since a connection in use does not need what this takes.
    let received = Box::pin(receive(common, live, caller, address, input, &mut account));
    let guest = tokio::select! {
        guest = timeout(limit, received) => guest.ok().flatten(),
        () = common.shutdown.cancelled() => None,
    };
    common.ledger.clear(&mut account);
    common.greetings.leave(place);
    guest
}

async fn receive(
    common: &Common,
    live: &Arc<Live>,
    caller: Caller,
    address: Option<IpAddr>,
    input: &mut Vec<u8>,
    account: &mut Account,
) -> Option<Guest> {
    let (mut wire, identify) = match caller {
        Caller::Plain(socket) => (Wire::Plain(socket), None),
        Caller::Secured(socket, door) => tokio::select! {
            // What is no handshake is told by an alert, as far as the peer reads it.
            secured = door.acceptor().accept(socket) => {
                let Counters { handshakes, failed_handshakes, .. } = &*common.counters;
                let counter = if secured.is_ok() { handshakes } else { failed_handshakes };
                counter.fetch_add(1, Ordering::Relaxed);
                (Wire::secured(secured.ok()?), Some(door))
            }
            () = live.waker.wake.notified() => return None,
        },
    };
    let (is_v5, parsed) = read_connect(common, live, &mut wire, input, account).await?;
    let certificate = identify.zip(wire.certificate()).map(|(door, shown)| door.identify(shown));
    let judged = match (parsed, certificate) {
        (Ok(_), Some(None)) => Err(BadConnect::NotAllowed("the certificate names nobody")),
        (Ok(connect), certificate) => {
            judge(common, address, connect, certificate.flatten().map(Arc::new)).await
        }
        (Err(wrong), _) => Err(wrong),
    };
    match judged {
        Ok((connect, access, topics)) => Some(Guest { wire, connect, access, topics }),
        Err(wrong) => {
            let mut answer = Vec::new();
            connect::push_refusal(&mut answer, wrong, is_v5);
            // The client may be gone already; it is refused either way.
            let _ = wire.write_all(&answer).await;
            None
        }
    }
}

/// Who a client is, and whether it may have what it asks for.
async fn judge(
    common: &Common,
    address: Option<IpAddr>,
    mut connect: Connect,
    certificate: Option<Arc<Certificate>>,
) -> Result<(Connect, Access, TopicRules), BadConnect> {
    let secret = connect.secret.take();
    let shown = match (&certificate, &secret) {
        (None, None) => Presented::Nothing,
        (None, Some(Secret::Password(secret) | Secret::UserName(secret))) => {
            Presented::Secret(secret)
        }
        (Some(certificate), Some(Secret::Password(secret))) => Presented::Both(certificate, secret),
        (Some(certificate), _) => Presented::Certificate(certificate),
    };
    let access = loop {
        match admit(common.keeper.as_ref(), shown).await {
            Ok(access) => break access,
            // Devices take a refusal for the last word, so that none is given before it is known.
            Err(Denied::NotNow) => tokio::time::sleep(TOKENS_PAUSE).await,
            Err(denied) => {
                common.keeper.turned_away("mqtt", address, denied);
                if let Ok(_place) = common.refusals.try_acquire() {
                    tokio::time::sleep(REFUSAL_WAIT).await;
                }
                return Err(BadConnect::Credentials(denied));
            }
        }
    };
    let refuse = |what: &'static str| {
        common.keeper.kept_out(&access, &connect.client_id);
        Err(BadConnect::NotAllowed(what))
    };
    if !access.allows_certificate() {
        return refuse("the token and the certificate do not belong together");
    }
    let Some(topics) = access.topics(&connect.client_id) else {
        return refuse("the token may not have this client id");
    };
    if !access.may_write_in(None) {
        return refuse("the token may write to no table");
    }
    if connect.will.as_ref().is_some_and(|will| !topics.allow(&will.topic)) {
        return refuse("the token may not publish this will");
    }
    if let Some(will) = &mut connect.will {
        will.access = access.clone();
    }
    Ok((connect, access, topics))
}

async fn read_connect(
    common: &Common,
    live: &Arc<Live>,
    wire: &mut Wire,
    input: &mut Vec<u8>,
    account: &mut Account,
) -> Option<(bool, Result<Connect, BadConnect>)> {
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
                    return Some((is_v5, parsed));
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
            ready = wire.readable() => ready.ok()?,
            () = live.waker.wake.notified() => continue,
        }
        input::read(wire, input, |_, _| ((), 0)).ok()?;
    }
}

/// How many refusals wait at once.
pub(super) fn refusals() -> tokio::sync::Semaphore {
    tokio::sync::Semaphore::new(REFUSALS_MAX)
}
