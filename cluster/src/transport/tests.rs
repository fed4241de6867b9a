//! Frames and hellos through bytes, broken bytes, and connections in any order.

mod tcp;

use super::*;
use crate::{Boot, ClusterId, Incarnation, NodeIdentity};
use bytes::{Bytes, BytesMut};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn channels() -> impl Strategy<Value = Channel> {
    prop::sample::select(&Channel::ALL[..])
}

fn frames(channel: Channel) -> impl Strategy<Value = Frame> {
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.channel().is_none_or(|wanted| wanted == channel))
        .collect();
    let roles = prop::sample::select(&[Role::Request, Role::Answer, Role::Refusal][..]);
    let body = prop::collection::vec(any::<u8>(), 0..200);
    let fields = (prop::sample::select(kinds), roles, any::<u64>(), any::<u32>(), any::<u64>());
    (fields, body).prop_map(|((kind, role, group, incarnation, request), body)| {
        let (group, incarnation) = (GroupId(group), Incarnation(incarnation));
        Frame { kind, role, group, incarnation, request, body: body.into() }
    })
}

fn sent() -> impl Strategy<Value = (Channel, Vec<Frame>)> {
    channels()
        .prop_flat_map(|channel| (Just(channel), prop::collection::vec(frames(channel), 1..5)))
}

fn encoded(frames: &[Frame]) -> BytesMut {
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    bytes
}

/// Everything that comes out of the bytes when they arrive in pieces of these lengths.
fn decoded(channel: Channel, bytes: &[u8], pieces: &[usize]) -> Result<Vec<Received>, FrameError> {
    let (mut decoder, mut received) = (Decoder::new(channel), Vec::new());
    let (mut rest, mut pieces) = (bytes, pieces.iter().cycle());
    while !rest.is_empty() {
        let count = pieces.next().map_or(rest.len(), |count| (*count).clamp(1, rest.len()));
        let (piece, behind) = rest.split_at(count);
        decoder.buffer().extend_from_slice(piece);
        rest = behind;
        while let Some(one) = decoder.next_frame()? {
            received.push(one);
        }
    }
    Ok(received)
}

fn identity(node: u32, boot: u64) -> NodeIdentity {
    NodeIdentity { cluster: ClusterId(7), node: NodeId(node), boot: Boot(boot) }
}

/// Bytes as anybody may send them: nothing may panic, or take more memory than came in.
fn take_anything(channel: Channel, bytes: &[u8]) {
    let mut decoder = Decoder::new(channel);
    decoder.buffer().extend_from_slice(bytes);
    while let Ok(Some(received)) = decoder.next_frame() {
        let Received::Frame(frame) = received else { continue };
        assert!(frame.body.len() <= bytes.len());
        let _ = Refusal::decode(&frame.body);
        if let Ok(hello) = Hello::decode(&frame.body) {
            let _ = Hello::accept(identity(1, 1), &hello);
        }
    }
    assert!(decoder.buffer().capacity() <= 2 * bytes.len() + 64);
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        (channel, sent) in sent(),
        pieces in prop::collection::vec(1_usize..70, 1..8),
    ) {
        let received = decoded(channel, &encoded(&sent), &pieces).unwrap();
        let expected: Vec<_> = sent.into_iter().map(Received::Frame).collect();
        prop_assert_eq!(received, expected);
    }

    #[test]
    fn a_changed_bit_never_passes(
        (channel, sent) in sent(),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let mut bytes = encoded(&sent);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // A changed length may make the end wait for more; what comes out is what was sent.
        let received = decoded(channel, &bytes, &[]).unwrap_or_default();
        prop_assert!(received.len() < sent.len());
        for (one, sent) in received.into_iter().zip(sent) {
            prop_assert_eq!(one, Received::Frame(sent));
        }
    }

    #[test]
    fn any_bytes_are_taken_without_harm(
        channel in channels(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        take_anything(channel, &bytes);
    }

    /// As above, with a right length and checksum around it, which get it past the first look.
    #[test]
    fn any_content_is_taken_without_harm(
        channel in channels(),
        content in prop::collection::vec(any::<u8>(), 22..300),
    ) {
        let mut bytes = ((content.len() + 4) as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&content);
        bytes.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        take_anything(channel, &bytes);
    }

    #[test]
    fn hellos_and_refusals_come_out_as_they_went_in(
        (low, high) in (any::<u16>(), any::<u16>()),
        (cluster, node, boot, for_node) in (any::<u128>(), any::<u32>(), any::<u64>(), any::<u32>()),
        channel in channels(),
        more in prop::collection::vec(any::<u8>(), 0..9),
        have in any::<u32>(),
    ) {
        let hello = Hello {
            protocol_min: low.min(high),
            protocol_max: low.max(high),
            identity: NodeIdentity { cluster: ClusterId(cluster), node: NodeId(node), boot: Boot(boot) },
            channel,
            for_node: NodeId(for_node),
        };
        let body = hello.to_frame().body;
        prop_assert_eq!(Hello::decode(&body), Ok(hello));
        let longer = Bytes::from([&body[..], &more].concat());
        prop_assert_eq!(Hello::decode(&longer), Ok(hello), "a later version says more");
        prop_assert_eq!(Hello::decode(&body.slice(..body.len() - 1)), Err(HelloError::Malformed));
        for refusal in [
            Refusal::WrongReplica { have: Incarnation(have) },
            Refusal::NoReplica,
            Refusal::UnknownKind(have as u8),
            Refusal::Busy { retry_after_ms: have },
            Refusal::Malformed,
            Refusal::Stopping,
            Refusal::Other(99),
        ] {
            prop_assert_eq!(Refusal::decode(&refusal.encode()), refusal);
        }
    }
}

#[test]
fn a_length_beyond_the_bound_is_refused_at_once() {
    for channel in Channel::ALL {
        let bytes_max = channel.body_bytes_max() + 26;
        let announce = |length: u32| {
            let mut decoder = Decoder::new(channel);
            decoder.buffer().extend_from_slice(&length.to_le_bytes());
            let outcome = decoder.next_frame();
            assert!(decoder.buffer().capacity() < 1_000);
            outcome
        };
        assert_eq!(announce(bytes_max as u32), Ok(None));
        for bytes in [bytes_max as u32 + 1, u32::MAX] {
            assert_eq!(announce(bytes), Err(FrameError::TooLong { bytes, bytes_max }));
        }
        for bytes in [0, 25] {
            assert_eq!(announce(bytes), Err(FrameError::TooShort { bytes }));
        }
    }
}

#[test]
fn an_unknown_kind_keeps_the_connection_and_an_unknown_role_does_not() {
    let frame = Frame { request: 9, ..Frame::notice(Kind::Vote, Bytes::from_static(b"body")) };
    let with = |at: usize, byte: u8| {
        let mut bytes = encoded(std::slice::from_ref(&frame)).to_vec();
        bytes[at] = byte;
        let end = bytes.len() - 4;
        let crc = crc32c::crc32c(&bytes[4..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&encoded(std::slice::from_ref(&frame)));
        decoded(Channel::Raft, &bytes, &[])
    };
    let unknown = Received::UnknownKind { kind: 200, role: Role::Request, request: 9 };
    assert_eq!(with(4, 200), Ok(vec![unknown, Received::Frame(frame.clone())]));
    assert_eq!(with(5, 3), Err(FrameError::UnknownRole(3)));
    let (kind, channel) = (Kind::Ask, Channel::Raft);
    assert_eq!(with(4, 10), Err(FrameError::WrongChannel { kind, channel }));
}

#[test]
fn nodes_that_do_not_go_together_say_why() {
    let (own, peer) = (identity(1, 5), identity(2, 9));
    let hello = |identity, for_node| Hello::new(identity, Channel::Raft, NodeId(for_node));
    let agreed = Hello::accept(own, &hello(peer, 1)).unwrap();
    let expected = Agreed { protocol: 1, node: NodeId(2), boot: Boot(9), channel: Channel::Raft };
    assert_eq!(agreed, expected);
    assert_eq!(hello(own, 2).answered(&hello(peer, 1)), Ok(expected));

    let accept = |theirs: Hello| Hello::accept(own, &theirs).unwrap_err();
    let (asked, found) = (NodeId(3), NodeId(1));
    assert_eq!(accept(hello(peer, 3)), HelloError::NotMeant { asked, found });
    assert_eq!(accept(hello(identity(1, 4), 1)), HelloError::Ourselves(NodeId(1)));
    let stranger = NodeIdentity { cluster: ClusterId(8), ..peer };
    let (ours, theirs) = (ClusterId(7), ClusterId(8));
    assert_eq!(accept(hello(stranger, 1)), HelloError::OtherCluster { ours, theirs });
    let newer = Hello { protocol_min: 2, protocol_max: 4, ..hello(stranger, 9) };
    assert_eq!(accept(newer), HelloError::Protocol { ours: (1, 1), theirs: (2, 4) });
    let both = Hello { protocol_min: 0, protocol_max: 4, ..hello(peer, 1) };
    assert_eq!(Hello::accept(own, &both).unwrap().protocol, 1);

    let (asked, found) = (NodeId(3), NodeId(2));
    assert_eq!(
        hello(own, 3).answered(&hello(peer, 1)),
        Err(HelloError::OtherNode { asked, found })
    );
    let bulk = Hello { channel: Channel::Bulk, ..hello(peer, 1) };
    let (asked, found) = (Channel::Raft, Channel::Bulk);
    assert_eq!(hello(own, 2).answered(&bulk), Err(HelloError::OtherChannel { asked, found }));
}

proptest! {
    /// Connections of some nodes and runs in any order: at most one counts for each node and
    /// channel, it is of the newest run, and every other one was given back to be ended.
    #[test]
    fn one_connection_counts_and_it_is_of_the_newest_run(
        offers in prop::collection::vec((1_u32..3, 1_u64..4, channels(), any::<bool>()), 1..40),
    ) {
        let mut succession = Succession::default();
        let mut newest = BTreeMap::<NodeId, Boot>::new();
        let mut current = BTreeMap::<(NodeId, Channel), (Boot, Connection)>::new();
        let mut open = BTreeSet::new();
        for (node, boot, channel, closes) in offers {
            let (node, boot) = (NodeId(node), Boot(boot));
            let agreed = Agreed { protocol: 1, node, boot, channel };
            let known = newest.entry(node).or_default();
            match succession.offer(&agreed) {
                Err(refused) => prop_assert!(boot < *known && refused.newest == *known),
                Ok((connection, ended)) => {
                    prop_assert!(boot >= *known);
                    if boot > *known {
                        current.retain(|(of, _), _| *of != node);
                        *known = boot;
                    }
                    current.insert((node, channel), (boot, connection));
                    open.insert(connection);
                    for one in ended {
                        prop_assert!(open.remove(&one), "each is ended once");
                    }
                    if closes {
                        prop_assert!(succession.end(node, channel, connection));
                        prop_assert!(!succession.end(node, channel, connection));
                        current.remove(&(node, channel));
                        open.remove(&connection);
                    }
                }
            }
            prop_assert_eq!(succession.newest(node), Some(newest[&node]));
            let counted: BTreeSet<_> = current.values().map(|(_, connection)| *connection).collect();
            prop_assert_eq!(&counted, &open);
            for ((node, channel), (_, connection)) in &current {
                prop_assert!(succession.is_current(*node, *channel, *connection));
            }
        }
    }
}
