use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{Block, PieceIndex};

const HASH: InfoHash = InfoHash::new([9; 20]);

#[expect(clippy::disallowed_methods, reason = "the origin of the test's own time line")]
fn start() -> Instant {
    Instant::now()
}

fn config(name: u8) -> LinkConfig {
    let extended = ExtendedHandshake { ut_metadata: true, reqq: Some(u32::from(name)), ..Default::default() };
    LinkConfig { extended, ..LinkConfig::new(PeerId::new([name; 20])) }
}

fn queued(link: &Link) -> Vec<u8> {
    let mut slices = Vec::new();
    link.poll_transmit(&mut slices);
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

fn transfer(now: Instant, from: &mut Link, to: &mut Link) -> Result<(), PeerFault> {
    let bytes = queued(from);
    from.handle_transmitted(now, bytes.len());
    receive(now, to, &bytes)
}

fn receive(now: Instant, link: &mut Link, bytes: &[u8]) -> Result<(), PeerFault> {
    link.recv_buf().extend_from_slice(bytes);
    let result = link.handle_received(now);
    link.check_invariants();
    result
}

fn events(link: &mut Link) -> Vec<LinkEvent> {
    std::iter::from_fn(|| link.poll_event()).collect()
}

/// Two open links, events drained.
fn pair(now: Instant, dialer: LinkConfig, listener: LinkConfig) -> (Link, Link) {
    let extended = listener.extended.clone();
    let mut a = Link::outgoing(now, dialer, HASH);
    let mut b = Link::incoming(now, listener);
    transfer(now, &mut a, &mut b).unwrap();
    assert!(matches!(events(&mut b)[..], [LinkEvent::Greeting { info_hash: HASH, .. }]));
    b.accept(now, extended).unwrap();
    transfer(now, &mut b, &mut a).unwrap();
    transfer(now, &mut a, &mut b).unwrap();
    assert!(matches!(events(&mut a)[0], LinkEvent::Established(_)));
    assert!(matches!(events(&mut b)[0], LinkEvent::Established(_)));
    (a, b)
}

fn open(now: Instant) -> (Link, Link) {
    pair(now, config(1), config(2))
}

#[test]
fn handshakes_and_extension_handshakes_cross() {
    let now = start();
    let mut a = Link::outgoing(now, config(1), HASH);
    let mut b = Link::incoming(now, config(2));
    transfer(now, &mut a, &mut b).unwrap();
    let greeting = LinkEvent::Greeting { info_hash: HASH, peer_id: PeerId::new([1; 20]) };
    assert_eq!(events(&mut b), [greeting]);
    assert_eq!(b.send_queue_bytes(), 0, "an unaccepted peer hears nothing");
    b.accept(now, config(2).extended).unwrap();
    transfer(now, &mut b, &mut a).unwrap();
    let hello = PeerHello { peer_id: PeerId::new([2; 20]), features: Features::ALL };
    let handshake = Message::ExtendedHandshake(config(2).extended);
    assert_eq!(events(&mut a), [LinkEvent::Established(hello), LinkEvent::Message(handshake)]);
}

#[test]
fn a_handshake_for_another_torrent_is_a_fault_that_stays() {
    let now = start();
    let mut a = Link::outgoing(now, config(1), HASH);
    let other = Link::outgoing(now, config(2), InfoHash::new([8; 20]));
    assert_eq!(receive(now, &mut a, &queued(&other)), Err(PeerFault::WrongInfoHash));
    assert_eq!(a.handle_received(now), Err(PeerFault::WrongInfoHash));
    assert_eq!(a.next_timeout(), None);
}

#[test]
fn a_bitfield_may_come_again_instead_of_many_haves() {
    let now = start();
    let (mut a, mut b) = open(now);
    a.send(now, Message::HaveNone).unwrap();
    a.send(now, Message::Bitfield(Bytes::from_static(b"\x80"))).unwrap();
    transfer(now, &mut a, &mut b).unwrap();
    let last = std::iter::from_fn(|| b.poll_event()).last();
    assert_eq!(last, Some(LinkEvent::Message(Message::Bitfield(Bytes::from_static(b"\x80")))));
}

#[test]
fn what_was_not_agreed_on_is_neither_sent_nor_taken() {
    let now = start();
    let plain = LinkConfig { features: Features::default(), ..config(2) };
    let (mut a, mut b) = pair(now, config(1), plain);
    assert_eq!(a.send(now, Message::HaveAll), Err(SendError::NotNegotiated));
    let request = Message::Metadata(MetadataMessage::Request { piece: 0 });
    assert_eq!(a.send(now, request), Err(SendError::NotNegotiated));
    assert_eq!(receive(now, &mut b, b"\0\0\0\x01\x0e"), Err(PeerFault::FastNotNegotiated(14)));
    let (_, mut b) = pair(now, config(1), LinkConfig { features: Features::default(), ..config(2) });
    assert_eq!(receive(now, &mut b, b"\0\0\0\x04\x14\0de"), Err(PeerFault::ExtensionNotNegotiated));
}

#[test]
fn ut_metadata_goes_out_under_the_peers_own_id() {
    let now = start();
    let (mut a, mut b) = open(now);
    receive(now, &mut a, b"\0\0\0\x1b\x14\0d1:md11:ut_metadatai77eee").unwrap();
    a.send(now, Message::Metadata(MetadataMessage::Request { piece: 3 })).unwrap();
    assert_eq!(queued(&a)[4..6], [id::EXTENDED, 77]);
    transfer(now, &mut a, &mut b).unwrap();
    let ignored = vec![LinkEvent::Message(Message::Unknown)];
    assert_eq!((events(&mut b), b.stats().unknown_messages), (ignored, 1), "77 is not the id that b gave");
    receive(now, &mut a, b"\0\0\0\x1a\x14\0d1:md11:ut_metadatai0eee").unwrap();
    let request = Message::Metadata(MetadataMessage::Request { piece: 3 });
    assert_eq!(a.send(now, request), Err(SendError::NotNegotiated), "the peer turned it off");
}

#[test]
fn silence_is_kept_alive_and_then_ended() {
    let mut now = start();
    let (mut a, mut b) = open(now);
    let opened = now;
    while now < opened + Duration::from_secs(105) {
        now = a.next_timeout().unwrap();
        a.handle_timeout(now).unwrap();
    }
    assert_eq!(now, opened + Duration::from_secs(110));
    assert_eq!(queued(&a), [0; 4]);
    b.handle_timeout(now).unwrap();
    transfer(now, &mut a, &mut b).unwrap();
    assert_eq!(events(&mut b), [LinkEvent::Message(Message::KeepAlive)]);
    now = opened + Duration::from_secs(130);
    a.handle_timeout(now).unwrap();
    now = a.next_timeout().unwrap();
    assert_eq!(now, opened + Duration::from_secs(131));
    assert_eq!(a.handle_timeout(now), Err(PeerFault::IdleTimeout));
    b.handle_timeout(now).unwrap();
}

#[test]
fn after_a_standstill_what_waits_in_the_socket_is_read_before_a_peer_is_judged() {
    let opened = start();
    let (mut a, _) = open(opened);
    let now = opened + Duration::from_secs(600);
    a.handle_timeout(now).unwrap();
    receive(now, &mut a, &[0; 4]).unwrap();
    let mut due = now;
    while due < now + Duration::from_secs(130) {
        a.handle_timeout(due).unwrap();
        let len = queued(&a).len();
        a.handle_transmitted(due, len);
        due = a.next_timeout().unwrap();
    }
    assert_eq!(due, now + Duration::from_secs(130), "its silence counts from what was read");

    let mut link = Link::incoming(opened, config(1));
    link.handle_timeout(now).unwrap();
    let greeting =
        Handshake { features: Features::ALL, info_hash: InfoHash::new([7; 20]), peer_id: PeerId::new([2; 20]) };
    receive(now, &mut link, &greeting.encode()).unwrap();
    assert!(matches!(events(&mut link)[..], [LinkEvent::Greeting { .. }]));
}

#[test]
fn a_handshake_has_to_come_in_time() {
    let now = start();
    let mut link = Link::incoming(now, config(1));
    receive(now, &mut link, b"\x13Bit").unwrap();
    link.handle_timeout(now + Duration::from_secs(14)).unwrap();
    link.handle_timeout(now + Duration::from_secs(15)).unwrap();
    // Bytes that are no handshake yet gain no time.
    receive(now, &mut link, b"T").unwrap();
    assert_eq!(link.handle_timeout(now + Duration::from_secs(16)), Err(PeerFault::HandshakeTimeout));
}

#[test]
fn an_idle_link_gives_its_buffer_back_and_keeps_its_unfinished_frame() {
    let now = start();
    let (mut a, mut b) = open(now);
    let data = Bytes::from(vec![5; BLOCK_LEN as usize]);
    for index in 0..30 {
        a.send(now, Message::Piece { piece: PieceIndex::new(index), begin: 0, data: data.clone() }).unwrap();
    }
    let bytes = queued(&a);
    receive(now, &mut b, &bytes[..bytes.len() - 20]).unwrap();
    assert_eq!(events(&mut b).len(), 29);
    b.handle_timeout(now + RELEASE_AFTER).unwrap();
    assert!(b.recv.bytes.capacity() < 2 * BLOCK_LEN as usize);
    receive(now, &mut b, &bytes[bytes.len() - 20..]).unwrap();
    assert_eq!(events(&mut b).len(), 1);
    b.handle_timeout(now + RELEASE_AFTER).unwrap();
    assert!(b.recv.bytes.capacity() < 8 * 1024);
}

fn message() -> impl Strategy<Value = Message> {
    let piece = || any::<u32>().prop_map(PieceIndex::new);
    let block = (piece(), any::<u32>(), 1..=128 * 1024u32).prop_map(|(piece, begin, len)| Block { piece, begin, len });
    let data = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        piece().prop_map(Message::Have),
        block.clone().prop_map(Message::Request),
        block.clone().prop_map(Message::Cancel),
        block.prop_map(Message::Reject),
        any::<u16>().prop_map(Message::Port),
        piece().prop_map(Message::Suggest),
        piece().prop_map(Message::AllowedFast),
        (piece(), any::<u32>(), data()).prop_map(|(piece, begin, data)| Message::Piece { piece, begin, data }),
        (any::<u32>(), 0..=1u32 << 20, data()).prop_map(|(piece, total_size, data)| {
            Message::Metadata(MetadataMessage::Data { piece, total_size, data })
        }),
    ]
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_messages(
        messages in proptest::collection::vec(message(), 1..30),
        cuts in proptest::collection::vec(1..700usize, 1..20),
    ) {
        let now = start();
        let (mut a, mut b) = open(now);
        for message in &messages {
            a.send(now, message.clone()).unwrap();
        }
        let mut stream = Vec::new();
        while a.send_queue_bytes() > 0 {
            let bytes = queued(&a);
            a.handle_transmitted(now, bytes.len());
            stream.extend_from_slice(&bytes);
        }
        let mut received = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (now_part, later) = rest.split_at((*cut).min(rest.len()));
            receive(now, &mut b, now_part).unwrap();
            received.extend(events(&mut b));
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let expected: Vec<_> = messages.into_iter().map(LinkEvent::Message).collect();
        prop_assert_eq!(received, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_choose_how_much_is_held(
        reads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
        id in 0..24u8,
    ) {
        let now = start();
        let (_, mut link) = open(now);
        let _ = receive(now, &mut link, &[0, 0, 0, 13, id]);
        for read in reads {
            if receive(now, &mut link, &read).is_err() {
                break;
            }
            events(&mut link);
            prop_assert!(link.recv.bytes.capacity() < 64 * 1024);
        }
    }
}

#[test]
fn who_reads_nothing_is_given_up_even_if_it_sends() {
    let opened = start();
    let (mut a, _) = open(opened);
    let mut now = opened + Duration::from_secs(10);
    a.send(now, Message::Unchoke).unwrap();
    let due = now + Duration::from_secs(121);
    while now < due {
        receive(now, &mut a, &[0; 4]).unwrap();
        events(&mut a);
        a.handle_timeout(now).unwrap();
        now = a.next_timeout().unwrap().min(now + Duration::from_secs(5));
    }
    assert_eq!(a.handle_timeout(due), Err(PeerFault::WriteTimeout));

    let (mut a, _) = open(opened);
    a.send(opened, Message::Unchoke).unwrap();
    let late = opened + Duration::from_secs(125);
    a.handle_timeout(late).unwrap();
    a.handle_transmitted(late, 1);
    a.handle_timeout(late + Duration::from_secs(2)).unwrap();
}

#[test]
fn a_flood_of_tiny_messages_becomes_events_by_and_by_and_none_is_lost() {
    let now = start();
    let (mut a, _) = open(now);
    let count = 3 * EVENTS_MAX + 5;
    receive(now, &mut a, &vec![0; 4 * count]).unwrap();
    let mut seen = 0;
    loop {
        let drained = events(&mut a).len();
        assert!(drained <= EVENTS_MAX);
        seen += drained;
        if !a.has_backlog() {
            break;
        }
        a.handle_backlog().unwrap();
    }
    assert_eq!(seen, count);
}

#[test]
fn metadata_that_a_peer_does_not_read_is_rejected_instead_of_copied() {
    let now = start();
    let (mut a, _) = open(now);
    let data = |piece| MetadataMessage::Data { piece, total_size: 1 << 24, data: vec![0; 16 * 1024].into() };
    (0..1000).for_each(|piece| a.send(now, Message::Metadata(data(piece))).unwrap());
    let most = METADATA_QUEUE_MAX + 17 * 1024 + 1000 * 64;
    assert!(a.send_queue_bytes() < most, "{}", a.send_queue_bytes());
}

#[test]
fn a_bounded_number_of_bytes_waits_behind_a_handshake_that_is_not_answered() {
    let now = start();
    let mut link = Link::incoming(now, config(1));
    let greeting = Handshake { features: Features::ALL, info_hash: HASH, peer_id: PeerId::new([2; 20]) };
    receive(now, &mut link, &greeting.encode()).unwrap();
    receive(now, &mut link, &vec![0; EAGER_LEN_MAX]).unwrap();
    assert_eq!(receive(now, &mut link, &[0]), Err(PeerFault::TooEager(EAGER_LEN_MAX + 1)));
}
