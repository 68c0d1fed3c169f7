use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::disk::Disk;
use super::payload::Payload;
use super::uplink::{Item, Uplink};
use super::vice::{Past, Vice};
use crate::model::{Bitfield, Block, PeerId};
use crate::swarm::event::{Event, PeerKey};
use crate::swarm::{Swarm, SwarmConfig};
use crate::wire::{ExtendedHandshake, Features, Message, MetadataMessage, PeerHello};

/// One host by its place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostId(pub(super) usize);

/// What a host is made with.
#[derive(Debug, Clone)]
pub(super) struct Traits {
    /// The pieces it begins with; `None`: it has not even the metadata.
    pub(super) have: Option<Bitfield>,
    /// What it sends at most, in bytes per second.
    pub(super) up_bps: u64,
    /// What it receives at most, in bytes per second.
    pub(super) down_bps: u64,
    /// One way from it to the middle of the network.
    pub(super) latency: Duration,
    /// From a write or read to its answer.
    pub(super) disk_latency: Duration,
    pub(super) vice: Vice,
    /// Whether it has the Fast extension.
    pub(super) fast: bool,
    /// The requests it keeps queued, as it says.
    pub(super) reqq: Option<u32>,
    /// Whether it says that it will not download.
    pub(super) upload_only: bool,
    /// Its machine's limits.
    pub(super) limit: fn(&mut SwarmConfig),
}

impl Traits {
    /// Fast in all, without vices.
    pub(super) fn new(have: Option<Bitfield>) -> Self {
        Self {
            have,
            up_bps: 200 << 20,
            down_bps: 200 << 20,
            latency: Duration::from_millis(10),
            disk_latency: Duration::from_millis(1),
            vice: Vice::Honest,
            fast: true,
            reqq: Some(2000),
            upload_only: false,
            limit: |_| {},
        }
    }
}

/// What a host was seen to do.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) events: Vec<(Instant, Event)>,
    pub(super) completed_at: Option<Instant>,
    /// Blocks it sent, in bytes.
    pub(super) payload_sent: u64,
    /// Blocks that reached it, in bytes.
    pub(super) payload_received: u64,
    pub(super) blocks_sent: u64,
    /// Blocks that it took back before they left.
    pub(super) taken_back: usize,
    /// Requests it made.
    pub(super) requests: u64,
    /// Requests for metadata that reached it.
    pub(super) metadata_requests: u64,
    /// Cancels it sent.
    pub(super) cancels: u64,
    /// Requests of one peer that waited for an answer at most.
    pub(super) requests_waiting_max: usize,
    /// When it choked and unchoked which peer.
    pub(super) chokes: Vec<(Instant, HostId, bool)>,
    /// Whom it dialled.
    pub(super) dials: Vec<(Instant, SocketAddr)>,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) key: PeerKey,
}

/// One machine with its disk and its line.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) traits: Traits,
    pub(super) addr: SocketAddr,
    pub(super) peer_id: PeerId,
    pub(super) torrent: Swarm,
    pub(super) disk: Disk,
    pub(super) uplink: Uplink,
    /// When the last byte on its way in will have arrived.
    pub(super) inbound_until: Instant,
    pub(super) ends: BTreeMap<PeerKey, End>,
    /// Requests of each peer that wait for an answer.
    pub(super) waiting: BTreeMap<PeerKey, Vec<Block>>,
    pub(super) past: Past,
    pub(super) timer: Option<Instant>,
    /// Whether it is off the network, and silent.
    pub(super) vanished: bool,
    pub(super) seen: Seen,
}

impl Host {
    pub(super) fn new(id: HostId, traits: Traits, payload: &Payload, seed: u64, now: Instant) -> Self {
        let mut peer_id = [0; 20];
        let number = id.0 as u8;
        peer_id[..8].copy_from_slice(b"-MG0100-");
        // Drawn, so that their order is not that of the hosts.
        ChaCha8Rng::seed_from_u64(seed << 8 | u64::from(number)).fill_bytes(&mut peer_id[8..]);
        let mut config = SwarmConfig::new(payload.info_hash, PeerId::new(peer_id));
        config.info_raw = traits.have.as_ref().map(|_| payload.info_raw.clone());
        (traits.limit)(&mut config);
        let mut chance = [number; 32];
        chance[..8].copy_from_slice(&seed.to_be_bytes());
        let mut torrent = Swarm::new(config, chance, now);
        if let Some(have) = traits.have.clone() {
            torrent.handle_opened(now, payload.geometry, have, None);
        }
        Self {
            addr: ([10, 0, 0, number + 1], 6881).into(),
            peer_id: PeerId::new(peer_id),
            torrent,
            disk: Disk::new(payload.clone()),
            uplink: Uplink::new(traits.up_bps),
            inbound_until: now,
            ends: BTreeMap::new(),
            waiting: BTreeMap::new(),
            past: Past::default(),
            timer: None,
            vanished: false,
            seen: Seen::default(),
            traits,
        }
    }

    /// Its handshake with another host.
    pub(super) fn hello_to(&self, other: &Host) -> PeerHello {
        let fast = self.traits.fast && other.traits.fast;
        PeerHello { peer_id: self.peer_id, features: Features { fast, extension: true, dht: false } }
    }

    /// Its extension handshake.
    pub(super) fn extended(&self, payload: &Payload) -> Message {
        Message::ExtendedHandshake(ExtendedHandshake {
            ut_metadata: true,
            metadata_size: self
                .torrent
                .has_metadata()
                .then_some(payload.info_raw.len() as u32)
                .and_then(|len| self.traits.vice.metadata_len(len)),
            reqq: self.traits.reqq,
            port: Some(self.addr.port()),
            client: None,
            your_ip: None,
            upload_only: self.traits.upload_only,
        })
    }

    /// Queues what the machine sends, after what its vice makes of it.
    pub(super) fn post(&mut self, key: PeerKey, message: Message) {
        let answered = match &message {
            Message::Piece { piece, begin, data } => {
                self.seen.blocks_sent += 1;
                self.seen.payload_sent += data.len() as u64;
                Some(Block { piece: *piece, begin: *begin, len: data.len() as u32 })
            }
            Message::Reject(block) => Some(*block),
            _ => None,
        };
        if let (Some(block), Some(waiting)) = (answered, self.waiting.get_mut(&key)) {
            waiting.retain(|other| *other != block);
        }
        if matches!(&message, Message::Reject(block) if self.past.forgotten.remove(block)) {
            return;
        }
        let message = self.traits.vice.on_send(message, self.seen.blocks_sent);
        self.uplink.push(key, Item::Message(message));
    }

    /// A message reached the host: what of it reaches the machine. What goes back in its stead is on its way.
    pub(super) fn receive(&mut self, key: PeerKey, message: Message) -> Vec<Message> {
        let request = match &message {
            Message::Request(block) => Some(*block),
            Message::Piece { data, .. } => {
                self.seen.payload_received += data.len() as u64;
                None
            }
            Message::Metadata(MetadataMessage::Request { .. }) => {
                self.seen.metadata_requests += 1;
                None
            }
            _ => None,
        };
        let waiting = self.waiting.entry(key).or_default();
        waiting.extend(request);
        self.seen.requests_waiting_max = self.seen.requests_waiting_max.max(waiting.len());
        let count = waiting.len();
        let (passed, answers) = self.traits.vice.on_receive(&mut self.past, message, count);
        if let (true, Some(block), Some(waiting)) = (passed.is_empty(), request, self.waiting.get_mut(&key)) {
            waiting.retain(|other| *other != block);
        }
        answers.into_iter().for_each(|answer| self.post(key, answer));
        passed
    }
}
