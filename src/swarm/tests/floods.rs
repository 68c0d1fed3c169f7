//! One peer sends a torrent as much as it can of each kind of message. What that may cost is bounded, and costs the peer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::{BLOCK_LEN, Bitfield, Block, Geometry, InfoHash, PeerId, PieceIndex};
use crate::swarm::event::{CloseCause, Output, PeerKey, PeerSource};
use crate::swarm::{CloseReason, Swarm, SwarmConfig};
use crate::wire::{ExtendedHandshake, Features, METADATA_PIECE_LEN, Message, MetadataMessage, PeerHello};

const PIECES: u32 = 64;
const METADATA_PIECES: u32 = 4;
/// More than any honest peer sends in so short a time.
const FLOOD: u32 = 20_000;

/// A torrent, a peer that floods it, and what it made of that.
struct Flooded {
    torrent: Swarm,
    now: Instant,
    peer: PeerKey,
    reads: u32,
    sent: u32,
    nodes: u32,
    closed: Option<CloseReason>,
}

impl Flooded {
    /// A torrent with these pieces, which has one honest peer and one that will flood it.
    fn new(have: Bitfield) -> Self {
        let now = Instant::now();
        let info_raw = Bytes::from(vec![b'x'; (METADATA_PIECES * METADATA_PIECE_LEN) as usize]);
        let config = SwarmConfig {
            info_raw: Some(info_raw),
            dht_port: Some(1),
            ..SwarmConfig::new(InfoHash::new([1; 20]), PeerId::new([99; 20]))
        };
        let mut torrent = Swarm::new(config, [3; 32], now);
        let geometry = Geometry::new(u64::from(PIECES * BLOCK_LEN), BLOCK_LEN.into()).unwrap();
        torrent.handle_opened(now, geometry, have, None);
        let mut connect = |last: u8| {
            let peer = torrent.handle_incoming(now, ([9, 9, 9, last], 6881).into()).unwrap();
            torrent.handle_connected(
                now,
                peer,
                PeerHello {
                    peer_id: PeerId::new([last; 20]),
                    features: Features { fast: true, extension: true, dht: true },
                },
            );
            peer
        };
        let (_honest, peer) = (connect(1), connect(2));
        let mut flooded = Self { torrent, now, peer, reads: 0, sent: 0, nodes: 0, closed: None };
        flooded.drain(false);
        flooded.sent = 0;
        flooded
    }

    fn seed() -> Self {
        Self::new(Bitfield::full(PIECES))
    }

    fn leecher() -> Self {
        Self::new(Bitfield::empty(PIECES))
    }

    /// Reads are answered, and the socket takes what is sent, if the peer `reads`.
    fn drain(&mut self, reads: bool) {
        while let Some(output) = self.torrent.poll_output() {
            match output {
                Output::Read { peer, run } => {
                    self.reads += 1;
                    let data = Some(Bytes::from(vec![0; run.len as usize]));
                    self.torrent.handle_read(self.now, peer, &run, data);
                }
                Output::Send { peer, message } if peer == self.peer => {
                    self.sent += 1;
                    if let Message::Piece { data, .. } = message
                        && reads
                    {
                        self.torrent.handle_sent(self.now, peer, data.len() as u32);
                    }
                }
                Output::Close { peer, reason } => {
                    assert_eq!(peer, self.peer, "another peer pays for it");
                    self.closed = Some(reason);
                }
                Output::DhtNode(_) => self.nodes += 1,
                _ => {}
            }
        }
        self.torrent.check_invariants();
    }

    /// Sends a message in runs; returns how many were taken before the peer was closed.
    fn send(&mut self, count: u32, reads: bool, mut message: impl FnMut(u32) -> Message) -> u32 {
        const RUN: u32 = 100;
        for start in (0..count).step_by(RUN as usize) {
            let run = (start..start + RUN).map(&mut message).collect();
            self.torrent.handle_messages(self.now, self.peer, run);
            self.drain(reads);
            if self.closed.is_some() {
                return start + RUN;
            }
        }
        count
    }

    /// The flood ends with the peer's connection, after so many messages at most.
    #[track_caller]
    fn assert_closed(mut self, most: u32, message: impl FnMut(u32) -> Message) {
        let taken = self.send(FLOOD, true, message);
        assert_eq!(self.closed, Some(CloseReason::Flood));
        assert!(taken <= most + 100, "{taken} messages were taken");
        assert!(self.sent <= taken, "{} answers to {taken} messages", self.sent);
    }
}

fn block(number: u32) -> Block {
    Block { piece: PieceIndex::new(number % PIECES), begin: 0, len: BLOCK_LEN }
}

#[test]
fn messages_that_say_nothing_end_the_connection_of_whoever_floods() {
    for leecher in [false, true] {
        let flooded = || if leecher { Flooded::leecher() } else { Flooded::seed() };
        flooded().assert_closed(4000, |_| Message::KeepAlive);
        flooded().assert_closed(4000, |_| Message::Unknown);
        flooded().assert_closed(4000, |number| Message::Suggest(PieceIndex::new(number)));
        flooded().assert_closed(4000, |number| Message::AllowedFast(PieceIndex::new(number)));
        flooded().assert_closed(800, |number| if number % 2 == 0 { Message::Choke } else { Message::Unchoke });
        let interest = |number| if number % 2 == 0 { Message::Interested } else { Message::NotInterested };
        flooded().assert_closed(800, interest);
        flooded().assert_closed(4000 + PIECES, |number| Message::Have(PieceIndex::new(number % (PIECES - 1))));
        flooded().assert_closed(4000, |number| Message::Reject(block(number)));
        flooded().assert_closed(4000, |number| Message::Cancel(block(number)));
        flooded().assert_closed(80, |_| Message::ExtendedHandshake(ExtendedHandshake::default()));
        flooded().assert_closed(9, |_| Message::HaveNone);
        let bitfield = Bytes::from(vec![0x80, 0, 0, 0, 0, 0, 0, 0]);
        flooded().assert_closed(400, |_| Message::Bitfield(bitfield.clone()));
        if leecher {
            flooded().assert_closed(9, |_| Message::HaveAll);
        }
    }
}

#[test]
fn a_peer_that_tells_its_progress_by_bitfields_is_no_flooder() {
    // As aria2 does, here with one for each piece, and all at once.
    let mut flooded = Flooded::seed();
    let mut field = Bitfield::empty(PIECES);
    let mut progress = |number: u32| {
        field.insert(PieceIndex::new(number % PIECES));
        Message::Bitfield(Bytes::copy_from_slice(field.as_bytes()))
    };
    let run = (0..PIECES - 1).map(&mut progress).collect();
    flooded.torrent.handle_messages(flooded.now, flooded.peer, run);
    flooded.drain(true);
    assert_eq!(flooded.closed, None);
}

#[test]
fn blocks_that_nobody_asked_for_and_metadata_that_nobody_wants_cost_the_sender() {
    let data = Bytes::from(vec![0; BLOCK_LEN as usize]);
    let piece = |number| Message::Piece { piece: block(number).piece, begin: 0, data: data.clone() };
    Flooded::leecher().assert_closed(4000, piece);
    let unwanted =
        |piece| Message::Metadata(MetadataMessage::Data { piece, total_size: 9, data: Bytes::from_static(b"x") });
    Flooded::leecher().assert_closed(400, unwanted);
}

#[test]
fn ports_are_pinged_twice_and_then_cost_the_sender() {
    let mut flooded = Flooded::seed();
    let taken = flooded.send(FLOOD, true, |number| Message::Port(1 + number as u16));
    assert_eq!((flooded.closed, flooded.nodes), (Some(CloseReason::Flood), 2));
    assert!(taken <= 200);
}

#[test]
fn metadata_is_given_three_times_over_and_a_flood_of_requests_ends_the_connection() {
    let mut flooded = Flooded::seed();
    let takes = ExtendedHandshake { ut_metadata: true, ..ExtendedHandshake::default() };
    flooded.send(1, true, |_| Message::ExtendedHandshake(takes.clone()));
    let request = |number| Message::Metadata(MetadataMessage::Request { piece: number % METADATA_PIECES });
    let taken = flooded.send(FLOOD, true, request);
    assert_eq!(flooded.closed, Some(CloseReason::Flood));
    assert!(taken <= 600, "{taken}");
}

#[test]
fn tiny_requests_are_bounded_while_the_disk_is_slow_and_end_the_connection_of_whoever_floods() {
    let mut flooded = Flooded::seed();
    flooded.send(1, true, |_| Message::Interested);
    let tiny =
        |number: u32| Message::Request(Block { begin: 2 * (number / PIECES) % BLOCK_LEN, len: 1, ..block(number) });
    // Nothing is read back while they come.
    let run = (0..FLOOD).map(tiny).collect();
    flooded.torrent.handle_messages(flooded.now, flooded.peer, run);
    let reads = std::iter::from_fn(|| flooded.torrent.poll_output())
        .filter(|output| matches!(output, Output::Read { .. }))
        .count();
    assert!(reads <= 64, "{reads} reads at once");
    Flooded::seed().assert_closed(4000, tiny);
}

#[test]
fn a_request_and_its_cancel_over_and_over_end_the_connection() {
    let mut flooded = Flooded::seed();
    flooded.send(1, true, |_| Message::Interested);
    let taken = flooded.send(FLOOD, true, |number| match number % 2 {
        0 => Message::Request(block(number / 2)),
        _ => Message::Cancel(block(number / 2)),
    });
    assert_eq!(flooded.closed, Some(CloseReason::Flood));
    assert!(taken <= 8200, "{taken}");
}

#[test]
fn a_choked_peer_gets_each_allowed_block_twice_and_rejects_from_there_on() {
    let mut flooded = Flooded::seed();
    let taken = flooded.send(FLOOD, true, |number| Message::Request(block(number)));
    assert_eq!(flooded.closed, Some(CloseReason::Flood));
    assert!(flooded.reads <= 2 * 10, "{} blocks of ten pieces of one block", flooded.reads);
    assert!(taken <= 4200);
}

#[test]
fn who_reads_nothing_holds_a_bounded_number_of_bytes() {
    let mut flooded = Flooded::seed();
    flooded.send(1, false, |_| Message::Interested);
    let mut bytes = 0;
    for number in 0..FLOOD / 10 {
        let run = vec![Message::Request(block(number))];
        flooded.torrent.handle_messages(flooded.now, flooded.peer, run);
        while let Some(output) = flooded.torrent.poll_output() {
            match output {
                Output::Read { peer, run } => {
                    let data = Some(Bytes::from(vec![0; run.len as usize]));
                    flooded.torrent.handle_read(flooded.now, peer, &run, data);
                }
                Output::Send { message: Message::Piece { data, .. }, .. } => bytes += data.len(),
                _ => {}
            }
        }
        flooded.torrent.check_invariants();
    }
    assert!(bytes <= (1 << 20) + (256 << 10), "{bytes} bytes wait for it");
}

#[test]
fn an_honest_peer_of_long_standing_is_no_flooder() {
    let mut flooded = Flooded::seed();
    flooded.send(1, true, |_| Message::Interested);
    // Ten hours: a keep-alive a minute, interest that changes now and then, requests, cancels, a have.
    for minute in 0..600u32 {
        flooded.now += Duration::from_secs(60);
        let mut run = vec![Message::KeepAlive, Message::NotInterested, Message::Interested];
        run.extend((0..200).map(|number| Message::Request(block(number))));
        run.extend((0..50).map(|number| Message::Cancel(block(number))));
        run.push(Message::Have(PieceIndex::new(minute % (PIECES - 1))));
        flooded.torrent.handle_messages(flooded.now, flooded.peer, run);
        flooded.drain(true);
        assert_eq!(flooded.closed, None, "minute {minute}");
    }
}

#[test]
fn the_largest_metadata_are_given_to_an_honest_peer() {
    let mut flooded = Flooded::seed();
    let info_raw = Bytes::from(vec![b'x'; 1024 * METADATA_PIECE_LEN as usize]);
    flooded.torrent.handle_info(info_raw, false);
    let peer = flooded.torrent.handle_incoming(flooded.now, ([9, 9, 9, 3], 6881).into()).unwrap();
    let hello =
        PeerHello { peer_id: PeerId::new([3; 20]), features: Features { fast: true, extension: true, dht: false } };
    flooded.torrent.handle_connected(flooded.now, peer, hello);
    let takes = ExtendedHandshake { ut_metadata: true, ..ExtendedHandshake::default() };
    let requests = (0..1024).map(|piece| Message::Metadata(MetadataMessage::Request { piece }));
    let run = std::iter::once(Message::ExtendedHandshake(takes)).chain(requests).collect();
    flooded.torrent.handle_messages(flooded.now, peer, run);
    let given = std::iter::from_fn(|| flooded.torrent.poll_output())
        .filter(|output| {
            matches!(output, Output::Send { message: Message::Metadata(MetadataMessage::Data { .. }), .. })
        })
        .count();
    assert_eq!(given, 1024);
}

#[test]
fn requests_beyond_the_queue_are_rejected_while_the_disk_is_slow() {
    let mut flooded = Flooded::seed();
    flooded.send(1, true, |_| Message::Interested);
    let run = (0..3000).map(|number| Message::Request(block(number))).collect();
    flooded.torrent.handle_messages(flooded.now, flooded.peer, run);
    let outputs: Vec<Output> = std::iter::from_fn(|| flooded.torrent.poll_output()).collect();
    let count = |wanted: fn(&Output) -> bool| outputs.iter().filter(|output| wanted(output)).count();
    assert_eq!(count(|output| matches!(output, Output::Send { message: Message::Reject(_), .. })), 1000);
    assert_eq!(count(|output| matches!(output, Output::Read { .. })), 64, "a mebibyte of blocks");
    flooded.torrent.check_invariants();
}

#[test]
fn who_reads_nothing_for_half_a_minute_loses_its_slot_and_gets_it_back_by_reading() {
    let mut flooded = Flooded::seed();
    flooded.send(1, false, |_| Message::Interested);
    flooded.send(100, false, |number| Message::Request(block(number)));
    let mut choked_after = None;
    for second in 0..40 {
        flooded.torrent.handle_timeout(flooded.now + Duration::from_secs(second));
        while let Some(output) = flooded.torrent.poll_output() {
            if matches!(output, Output::Send { message: Message::Choke, .. }) {
                choked_after = choked_after.or(Some(second));
            }
        }
    }
    assert_eq!(choked_after, Some(30));
    flooded.now += Duration::from_secs(40);
    flooded.torrent.handle_sent(flooded.now, flooded.peer, BLOCK_LEN);
    flooded.torrent.handle_timeout(flooded.now);
    let is_unchoked = std::iter::from_fn(|| flooded.torrent.poll_output())
        .any(|output| matches!(output, Output::Send { message: Message::Unchoke, .. }));
    assert!(is_unchoked);
}

#[test]
fn what_is_told_before_the_metadata_are_known_is_bounded() {
    let now = Instant::now();
    let mut torrent = Swarm::new(SwarmConfig::new(InfoHash::new([1; 20]), PeerId::new([99; 20])), [3; 32], now);
    let peer = torrent.handle_incoming(now, ([9, 9, 9, 1], 6881).into()).unwrap();
    torrent.handle_connected(
        now,
        peer,
        PeerHello { peer_id: PeerId::new([1; 20]), features: Features { fast: true, extension: true, dht: false } },
    );
    let run = (0..FLOOD).map(|number| Message::Have(PieceIndex::new(number))).collect();
    torrent.handle_messages(now, peer, run);
    let is_closed = std::iter::from_fn(|| torrent.poll_output())
        .any(|output| matches!(output, Output::Close { reason: CloseReason::Flood, .. }));
    assert!(is_closed, "10,000 are kept, and 4,000 more are borne");
}

#[test]
fn so_many_dials_are_under_way_and_the_other_addresses_wait() {
    let now = Instant::now();
    let mut torrent = Swarm::new(SwarmConfig::new(InfoHash::new([1; 20]), PeerId::new([99; 20])), [3; 32], now);
    let addrs: Vec<SocketAddr> = (0..=255).map(|last| ([9, 9, 9, last], 6881).into()).collect();
    torrent.handle_candidates(now, PeerSource::Dht, &addrs);
    let mut dials: Vec<PeerKey> = Vec::new();
    while let Some(output) = torrent.poll_output() {
        if let Output::Dial { peer, .. } = output {
            dials.push(peer);
        }
    }
    assert_eq!(dials.len(), 30);
    torrent.handle_closed(now, dials[0], CloseCause::DialFailed(std::io::ErrorKind::TimedOut));
    assert!(matches!(torrent.poll_output(), Some(Output::Dial { .. })), "one ends, one begins");
    assert!(torrent.poll_output().is_none());
}
