use std::io::IoSlice;
use std::time::{Duration, Instant};

use magnes::model::{InfoHash, PeerId};
use magnes::wire::{
    ExtendedHandshake, Features, HANDSHAKE_LEN, Link, LinkConfig, LinkEvent, Message, TRANSMIT_SLICES_MAX,
};

/// The torrent of the conversations.
const INFO_HASH: [u8; 20] = [7; 20];

pub(super) fn config(number: u8, features: u8) -> LinkConfig {
    let has = |bit: u8| features & bit != 0;
    LinkConfig {
        features: Features { extension: has(1), fast: has(2), dht: has(4) },
        extended: ExtendedHandshake { ut_metadata: has(8), ..ExtendedHandshake::default() },
        ..LinkConfig::new(PeerId::new([number; 20]))
    }
}

/// Any bytes of a peer are messages or a fault, however they are cut, and a message that is written is read again unchanged.
///
/// The first byte says what both sides can do, the second the side that connects, the third how the rest arrives.
pub(crate) fn link(now: Instant, bytes: &[u8]) {
    let [features, role, step, rest @ ..] = bytes else { return };
    let ours = config(1, *features);
    let mut link = match role & 1 {
        0 => Link::incoming(now, ours),
        _ => Link::outgoing(now, ours, InfoHash::new(INFO_HASH)),
    };
    // Most inputs begin with a handshake: few would guess one.
    let greeting = (role & 0b110 != 0).then(|| greeting(now, 2, *features | role >> 4, InfoHash::new(INFO_HASH)));
    let stream = [greeting.as_deref().unwrap_or_default(), rest].concat();
    let mut messages = Vec::new();
    for part in stream.chunks(usize::from(*step).pow(2) + 1) {
        link.recv_buf().extend_from_slice(part);
        let outcome = receive(now, &mut link, &mut messages);
        link.check_invariants();
        if outcome.is_err() {
            assert!(link.handle_received(now).is_err(), "a fault is final");
            assert_eq!(link.next_timeout(), None);
            break;
        }
    }
    let _ = link.handle_timeout(now + Duration::from_secs(u64::from(*step)));
    link.check_invariants();
    assert_read_again(now, messages);
}

/// Takes up what arrived; answers a greeting.
fn receive(now: Instant, link: &mut Link, messages: &mut Vec<Message>) -> Result<(), magnes::wire::PeerFault> {
    let mut outcome = link.handle_received(now);
    loop {
        while let Some(event) = link.poll_event() {
            match event {
                LinkEvent::Greeting { .. } => outcome = outcome.and(link.accept(now, ExtendedHandshake::default())),
                LinkEvent::Established(_) => {}
                LinkEvent::Message(message) => messages.push(message),
            }
        }
        if outcome.is_err() || !link.has_backlog() {
            return outcome;
        }
        outcome = link.handle_backlog();
    }
}

/// The handshake of a peer that can do this.
pub(super) fn greeting(now: Instant, number: u8, features: u8, info_hash: InfoHash) -> Vec<u8> {
    let peer = Link::outgoing(now, config(number, features), info_hash);
    let greeting = transmitted(&peer);
    assert_eq!(greeting.len(), HANDSHAKE_LEN);
    greeting
}

pub(super) fn transmitted(link: &Link) -> Vec<u8> {
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(TRANSMIT_SLICES_MAX);
    link.poll_transmit(&mut slices);
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

/// Messages that a peer was understood to say are written by one link and read by another.
fn assert_read_again(now: Instant, messages: Vec<Message>) {
    if messages.is_empty() {
        return;
    }
    let (mut one, mut other) = open(now);
    for message in messages {
        // A handshake of ours always says whether it takes metadata, and what is not understood is not said again.
        if matches!(message, Message::ExtendedHandshake(_) | Message::Unknown) {
            continue;
        }
        one.send(now, message.clone()).expect("an empty queue has room");
        let bytes = transmitted(&one);
        one.handle_transmitted(now, bytes.len());
        other.recv_buf().extend_from_slice(&bytes);
        let mut read = Vec::new();
        receive(now, &mut other, &mut read).expect("our own messages are sound");
        assert_eq!(read, [message]);
    }
}

/// Two links that are connected with each other.
fn open(now: Instant) -> (Link, Link) {
    let mut one = Link::outgoing(now, config(1, 0xff), InfoHash::new(INFO_HASH));
    let mut other = Link::incoming(now, config(2, 0xff));
    for _ in 0..2 {
        for (from, to) in [(true, false), (false, true)] {
            let (from, to) = match (from, to) {
                (true, _) => (&mut one, &mut other),
                _ => (&mut other, &mut one),
            };
            let bytes = transmitted(from);
            from.handle_transmitted(now, bytes.len());
            to.recv_buf().extend_from_slice(&bytes);
            to.handle_received(now).expect("our own handshake is sound");
            while let Some(event) = to.poll_event() {
                if let LinkEvent::Greeting { .. } = event {
                    to.accept(now, config(2, 0xff).extended).expect("our own handshake is sound");
                }
            }
        }
    }
    (one, other)
}
