//! The metadata: fetched from peers, and given to peers (BEP 9).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Swarm;
use crate::swarm::event::{BanReason, Output, PeerKey};
use crate::swarm::flood;
use crate::swarm::metadata::Outcome;
use crate::wire::{ExtendedHandshake, METADATA_PIECE_LEN, Message, MetadataMessage};

/// Wrong dictionaries after which their sender is banned.
const LIES_MAX: u32 = 2;

/// Pause before a peer that does not say whether it has the metadata is asked again; twice as long each further time.
const PROBE_MIN: Duration = Duration::from_secs(5);
const PROBE_MAX: Duration = Duration::from_secs(60);

impl Swarm {
    pub(super) fn handle_extended(&mut self, now: Instant, key: PeerKey, handshake: &ExtendedHandshake) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.takes_metadata = handshake.ut_metadata;
        peer.upload_only = handshake.upload_only;
        // A later handshake changes only what it names.
        if handshake.client.is_some() {
            peer.client.clone_from(&handshake.client);
        }
        if let Some(requests) = handshake.reqq {
            peer.asks.set_queue_max(requests);
        }
        if let (None, Some(port)) = (peer.listen, handshake.port.filter(|port| *port != 0)) {
            let listen = SocketAddr::new(peer.addr.ip(), port);
            peer.listen = self.candidates.adopt(listen).then_some(listen);
        }
        if self.has_metadata() {
            self.close_if_useless(now, key);
        } else if let (true, Some(len)) = (handshake.ut_metadata, handshake.metadata_size) {
            self.metadata.handle_claim(key, len);
            self.ask_metadata(now);
        }
    }

    pub(super) fn handle_metadata(&mut self, now: Instant, key: PeerKey, message: MetadataMessage) {
        match message {
            MetadataMessage::Request { piece } => self.serve_metadata(now, key, piece),
            MetadataMessage::Reject { piece } => {
                self.metadata.handle_reject(now, key, piece);
                self.ask_metadata(now);
            }
            MetadataMessage::Data { piece, total_size, data } => {
                if !self.has_metadata() && self.peers.get(&key).is_some_and(|peer| peer.probed.is_some()) {
                    self.metadata.handle_claim(key, total_size);
                }
                self.handle_metadata_piece(now, key, piece, data);
            }
        }
    }

    fn handle_metadata_piece(&mut self, now: Instant, key: PeerKey, piece: u32, data: bytes::Bytes) {
        if self.has_metadata() {
            return self.charge(now, key, flood::METADATA_UNWANTED);
        }
        // What was not asked for is no progress, whatever its rate.
        if self.metadata.has_asked(key, piece) {
            self.down.add(now, data.len() as u64);
        }
        match self.metadata.handle_data(now, key, piece, data) {
            Outcome::Incomplete => {}
            Outcome::Complete(info_raw) => {
                self.info_raw = Some(info_raw.clone());
                self.outputs.push_back(Output::Metadata(info_raw));
                return;
            }
            Outcome::Wrong(senders) => {
                // Once may be an accident; it is asked last from here on.
                if let [liar] = senders[..]
                    && self.metadata.lies(liar) >= LIES_MAX
                    && let Some(addr) = self.senders.get(&liar).copied()
                {
                    self.ban(now, addr, BanReason::CorruptMetadata);
                }
            }
        }
        self.ask_metadata(now);
    }

    /// Asks those who do not say whether they have the metadata, while nobody says so: some got them after their handshake.
    pub(super) fn probe_for_metadata(&mut self, now: Instant) {
        if self.has_metadata() || self.metadata.peer_count() > 0 {
            return;
        }
        let mut due = Vec::new();
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.takes_metadata) {
            let (at, times) = peer.probed.unwrap_or((now, 0));
            if now >= at {
                let pause = (PROBE_MIN * 2u32.pow(times.min(8))).min(PROBE_MAX);
                peer.probed = Some((now + pause, times + 1));
                due.push(*key);
            }
        }
        for key in due {
            self.send(key, Message::Metadata(MetadataMessage::Request { piece: 0 }));
        }
    }

    /// Asks for what is missing.
    pub(super) fn ask_metadata(&mut self, now: Instant) {
        if self.has_metadata() || self.paused {
            return;
        }
        for (peer, piece) in self.metadata.requests(now) {
            self.send(peer, Message::Metadata(MetadataMessage::Request { piece }));
        }
    }

    fn serve_metadata(&mut self, now: Instant, key: PeerKey, piece: u32) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !peer.takes_metadata {
            return;
        }
        let start = u64::from(piece) * u64::from(METADATA_PIECE_LEN);
        let raw = self.info_raw.as_ref().filter(|raw| start < raw.len() as u64);
        let is_within = raw.is_some() && peer.metadata_budget > 0;
        let answer = match raw {
            Some(raw) if is_within && self.metadata_budget.charge(now, 1) => {
                peer.metadata_budget -= 1;
                let start = start as usize;
                let end = raw.len().min(start + METADATA_PIECE_LEN as usize);
                MetadataMessage::Data { piece, total_size: raw.len() as u32, data: raw.slice(start..end) }
            }
            _ => MetadataMessage::Reject { piece },
        };
        self.send(key, Message::Metadata(answer));
        if !is_within {
            self.charge(now, key, flood::METADATA_UNWANTED);
        }
    }
}
