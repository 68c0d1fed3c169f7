//! Dialling, admitting and losing peers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Swarm;
use crate::model::{Bitfield, Geometry};
use crate::swarm::candidates::End;
use crate::swarm::event::{BanReason, CloseCause, CloseReason, Event, Output, PeerKey, PeerSource};
use crate::swarm::peer::{Peer, PeerPieces};
use crate::swarm::pieces::Pieces;
use crate::wire::{ALLOWED_FAST_COUNT, METADATA_PIECE_LEN, Message, PeerHello, allowed_fast_set};

/// A peer may ask for the metadata this many times over.
const METADATA_TIMES_MAX: u32 = 3;
/// Metadata requests of one peer, at least.
const METADATA_REQUESTS_MIN: u32 = 32;
/// A choked peer gets each piece that it is allowed this many times over: once, and once more should the first copy be
/// lost.
const ALLOWED_FAST_TIMES: u64 = 2;
/// A connection that lasted so long was of use to someone, if only to hear of pieces.
const LONG: Duration = Duration::from_secs(60);
/// Connections whose address is remembered, for blame.
const SENDERS_MAX: usize = 4096;

impl Swarm {
    /// Addresses of peers became known.
    pub fn handle_candidates(&mut self, now: Instant, source: PeerSource, addrs: &[SocketAddr]) {
        for addr in addrs {
            let connected = self.peers.values().any(|peer| peer.listen == Some(*addr));
            if !connected {
                self.candidates.add(now, *addr, source);
            }
        }
        self.dial(now);
    }

    /// A peer connected to us. `None`: there is no room, or the address is banned; the connection is to be closed.
    pub fn handle_incoming(&mut self, now: Instant, addr: SocketAddr) -> Option<PeerKey> {
        if self.paused || self.candidates.is_banned(&addr) {
            return None;
        }
        self.shortage.connections |= self.is_full();
        if !self.make_room(now, addr.ip()) {
            return None;
        }
        Some(self.insert(now, addr, false))
    }

    /// Both handshakes of a connection are done.
    pub fn handle_connected(&mut self, now: Instant, key: PeerKey, hello: PeerHello) {
        if !self.peers.contains_key(&key) {
            return;
        }
        if hello.peer_id == self.config.peer_id {
            return self.close(now, key, CloseReason::OwnPeerId);
        }
        if let Some(other) = self.duplicate_of(key, &hello) {
            let surplus = self.surplus_of(key, other, &hello);
            self.close_surplus(now, surplus, if surplus == key { other } else { key });
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.hello = Some(hello);
        (peer.connected_at, peer.active_at) = (now, now);
        self.introduce(key);
        self.tell_upload_only(key);
        if let Some(port) = self.config.dht_port.filter(|_| hello.features.dht) {
            self.send(key, Message::Port(port));
        }
    }

    /// A connection is gone. One that the torrent does not know is none of its business.
    pub fn handle_closed(&mut self, now: Instant, key: PeerKey, cause: CloseCause) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (addr, listen, worked) = (peer.addr, peer.listen, peer.is_connected());
        let was_of_use = peer.down.total() + peer.up.total() > 0 || now >= peer.connected_at + LONG;
        tracing::debug!(%addr, ?cause, "a connection is gone");
        self.remove(now, key);
        if let Some(addr) = listen.filter(|addr| !self.is_connected_to(addr)) {
            match cause {
                // It may have fallen silent because it is off the network.
                CloseCause::Fault(_) => self.candidates.handle_failed(now, addr, End::new(&cause, worked)),
                _ if worked && was_of_use => self.candidates.handle_ended(now, addr),
                _ if worked => self.candidates.handle_ended_early(now, addr),
                cause => self.candidates.handle_failed(now, addr, End::new(&cause, worked)),
            }
        }
        self.dial(now);
    }

    /// The storage is open and these pieces are in it. From now on the torrent downloads and serves. `wanted` limits
    /// what is fetched; what we have beyond it is served all the same.
    pub fn handle_opened(&mut self, now: Instant, geometry: Geometry, have: Bitfield, wanted: Option<Bitfield>) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        let wanted = wanted.unwrap_or_else(|| Bitfield::full(geometry.piece_count()));
        self.pieces = Some(Pieces::new(geometry, have, wanted, &mut self.chance));
        for key in keys {
            self.resolve_early(now, key);
        }
        self.dial(now);
    }

    /// Dials due candidates while there is room.
    pub(super) fn dial(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        self.candidates.expire_bans(now);
        let mut half_open = self.half_open();
        while let Some(due) = self.candidates.peek(now) {
            if half_open >= self.granted.dials {
                self.shortage.dials = true;
                return;
            }
            let ip = due.addr.ip();
            let is_full = self.is_full();
            self.shortage.connections |= is_full;
            let has_share = !due.is_named && self.has_share(ip);
            // Whoever had its chance and was of no use does not push out others, and no address takes more than its share.
            if (is_full && due.was_useless) || (has_share && !self.make_room(now, ip)) {
                self.candidates.next(now);
                self.candidates.postpone(now, due.addr);
                continue;
            }
            if is_full && !has_share && !self.make_room(now, ip) {
                return;
            }
            let Some(addr) = self.candidates.next(now) else { return };
            let peer = self.insert(now, addr, true);
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.is_named = due.is_named;
            }
            self.outputs.push_back(Output::Dial { peer, addr });
            half_open += 1;
        }
    }

    /// Connections that we are setting up.
    pub(super) fn half_open(&self) -> u64 {
        self.peers.values().filter(|peer| peer.outgoing && !peer.is_connected()).count() as u64
    }

    /// Whether there are as many connections as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.peers.len() as u64 >= self.granted.connections
    }

    /// Closes a connection for a reason of ours.
    pub(super) fn close(&mut self, now: Instant, key: PeerKey, reason: CloseReason) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (addr, listen) = (peer.addr, peer.listen);
        tracing::debug!(%addr, ?reason, "closing a connection");
        self.remove(now, key);
        self.outputs.push_back(Output::Close { peer: key, reason });
        if let Some(addr) = listen.filter(|addr| !self.is_connected_to(addr)) {
            match reason {
                CloseReason::BadBitfield | CloseReason::BadRange | CloseReason::Flood => {
                    self.candidates.handle_failed(now, addr, End::Left);
                }
                CloseReason::BothComplete => self.candidates.handle_both_complete(now, addr),
                CloseReason::OwnPeerId => self.candidates.handle_own(now, addr),
                // It is dialled when the ban is over.
                CloseReason::Banned => {}
                CloseReason::NoRoom => self.candidates.handle_useless(now, addr),
                _ => self.candidates.handle_ended(now, addr),
            }
        }
    }

    /// Bans an address for a while and closes its connections.
    pub(super) fn ban(&mut self, now: Instant, addr: SocketAddr, reason: BanReason) {
        let had_something = |peer: &Peer| self.pieces.is_none() || peer.useful > 0;
        let was_source = self.peers.values().any(|peer| peer.addr == addr && had_something(peer));
        if !self.candidates.is_banned(&addr) {
            self.tell(Event::PeerBanned { addr, reason });
        }
        self.candidates.ban(now, addr, reason, was_source);
        let banned = |peer: &&Peer| self.candidates.is_banned(&peer.addr);
        let listens: Vec<SocketAddr> = self.peers.values().filter(banned).filter_map(|peer| peer.listen).collect();
        listens.into_iter().for_each(|listen| self.candidates.ban(now, listen, reason, was_source));
        let banned = |peer: &Peer| {
            self.candidates.is_banned(&peer.addr) || peer.listen.is_some_and(|addr| self.candidates.is_banned(&addr))
        };
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| banned(peer)).map(|(key, _)| *key).collect();
        for key in keys {
            self.close(now, key, CloseReason::Banned);
        }
        self.dial(now);
    }

    fn is_connected_to(&self, listen: &SocketAddr) -> bool {
        self.peers.values().any(|peer| peer.listen.as_ref() == Some(listen))
    }

    fn insert(&mut self, now: Instant, addr: SocketAddr, outgoing: bool) -> PeerKey {
        self.keys += 1;
        let key = PeerKey::new(self.keys);
        let metadata_pieces = self.info_raw.as_ref().map_or(0, |raw| (raw.len() as u32).div_ceil(METADATA_PIECE_LEN));
        let metadata_budget = METADATA_REQUESTS_MIN + METADATA_TIMES_MAX * metadata_pieces;
        let mut peer = Peer::new(now, addr, outgoing, metadata_budget);
        // By the extension handshake that the connection is opened with.
        peer.told_upload_only = self.is_complete();
        self.peers.insert(key, peer);
        self.senders.insert(key, addr);
        if self.senders.len() > SENDERS_MAX {
            self.senders.pop_first();
        }
        key
    }

    /// Another connection with the same peer id and IP address: peer ids alone can be copied.
    fn duplicate_of(&self, key: PeerKey, hello: &PeerHello) -> Option<PeerKey> {
        let ip = self.peers[&key].addr.ip();
        let same =
            |other: &Peer| other.addr.ip() == ip && other.hello.is_some_and(|other| other.peer_id == hello.peer_id);
        self.peers.iter().find(|(other_key, other)| **other_key != key && same(other)).map(|(key, _)| *key)
    }

    /// Which of two connections to one peer is closed. Where each side dialled one, both keep the one that the larger peer id
    /// dialled: if each kept its own choice, both might be lost.
    fn surplus_of(&self, fresh: PeerKey, old: PeerKey, hello: &PeerHello) -> PeerKey {
        let (fresh_outgoing, old_outgoing) = (self.peers[&fresh].outgoing, self.peers[&old].outgoing);
        let keeps_ours = self.config.peer_id > hello.peer_id;
        if fresh_outgoing != old_outgoing && fresh_outgoing == keeps_ours { old } else { fresh }
    }

    /// Closes one of two connections to a peer. The other answers for the address.
    fn close_surplus(&mut self, now: Instant, surplus: PeerKey, kept: PeerKey) {
        let listen = self.peers[&surplus].listen;
        if let Some(kept) = self.peers.get_mut(&kept) {
            kept.listen = kept.listen.or(listen);
        }
        self.close(now, surplus, CloseReason::Duplicate);
    }

    /// The first messages: what we have. A peer without any of our pieces to fear from us learns them as we get them.
    fn introduce(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (fast, addr) = (peer.has_fast(), peer.addr);
        let Some(pieces) = &self.pieces else {
            if fast {
                self.send(key, Message::HaveNone);
            }
            return;
        };
        let have = pieces.have();
        let piece_count = have.piece_count();
        let allowed_bytes = ALLOWED_FAST_TIMES * u64::from(pieces.geometry().piece_len_nominal());
        let message = match (fast, have.is_full(), have.is_empty()) {
            (true, true, _) => Some(Message::HaveAll),
            (true, _, true) => Some(Message::HaveNone),
            (false, _, true) => None,
            _ => Some(Message::Bitfield(have.as_bytes().to_vec().into())),
        };
        if let Some(message) = message {
            self.send(key, message);
        }
        if let (true, SocketAddr::V4(addr)) = (fast, addr) {
            let allowed = allowed_fast_set(*addr.ip(), &self.config.info_hash, piece_count, ALLOWED_FAST_COUNT);
            for piece in &allowed {
                self.send(key, Message::AllowedFast(*piece));
            }
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.allowed_by_us = allowed.into_iter().map(|piece| (piece, allowed_bytes)).collect();
            }
        }
        if let Some(peer) = self.peers.get_mut(&key)
            && matches!(peer.pieces, PeerPieces::Early(_))
        {
            peer.pieces = PeerPieces::Some(Bitfield::empty(piece_count));
        }
    }

    /// Understands what a peer told before the metadata were known, and tells it what we have.
    fn resolve_early(&mut self, now: Instant, key: PeerKey) {
        let Some(pieces) = &self.pieces else { return };
        let have = pieces.have().clone();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let PeerPieces::Early(early) = &mut peer.pieces else { return };
        let Some(resolved) = std::mem::take(early).resolve(have.piece_count()) else {
            return self.close(now, key, CloseReason::BadBitfield);
        };
        peer.pieces = resolved;
        let connected = peer.is_connected();
        self.count_in(key);
        if connected {
            // We said that we have nothing, or nothing at all: a bitfield may come first only.
            for piece in have.iter() {
                self.send(key, Message::Have(piece));
            }
            self.update_interest(key);
            self.ask(now, key);
            self.tell_upload_only(key);
            self.close_if_useless(now, key);
        }
    }

    /// Takes a peer out with everything that counts it. What it was asked for goes to others.
    fn remove(&mut self, now: Instant, key: PeerKey) {
        self.release_asks(key);
        self.metadata.forget(key);
        let Some(peer) = self.peers.remove(&key) else { return };
        let was_full = self.reading >= self.granted.read_bytes;
        self.reading -= u64::from(peer.serves.reading_cost());
        if was_full {
            self.pump_all();
        }
        if let Some(pieces) = &mut self.pieces {
            pieces.disown(key);
            if let PeerPieces::Some(field) = &peer.pieces {
                for piece in field.iter() {
                    pieces.lose(piece, &mut self.chance);
                }
            }
        }
        if !peer.we_choke {
            self.fill_slots(now);
        }
        self.ask_all(now);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use super::*;
    use crate::model::InfoHash;
    use crate::model::PeerId;
    use crate::swarm::machine::SwarmConfig;
    use crate::wire::Features;

    const ADDR: ([u8; 4], u16) = ([10, 0, 0, 1], 6881);

    /// What a torrent says to a peer that has a DHT node, and what it makes of that peer's PORT.
    fn ports(dht_port: Option<u16>, private: bool) -> (Vec<u16>, Vec<SocketAddr>) {
        let now = Instant::now();
        let config = SwarmConfig { dht_port, ..SwarmConfig::new(InfoHash::new([1; 20]), PeerId::new([2; 20])) };
        let mut torrent = Swarm::new(config, [3; 32], now);
        torrent.handle_info(bytes::Bytes::new(), private);
        let peer = torrent.handle_incoming(now, ADDR.into()).unwrap();
        torrent.handle_connected(
            now,
            peer,
            PeerHello { peer_id: PeerId::new([4; 20]), features: Features { fast: true, extension: true, dht: true } },
        );
        torrent.handle_messages(now, peer, vec![Message::Port(7)]);
        let (mut told, mut nodes) = (Vec::new(), Vec::new());
        while let Some(output) = torrent.poll_output() {
            match output {
                Output::Send { message: Message::Port(port), .. } => told.push(port),
                Output::DhtNode(addr) => nodes.push(addr),
                _ => {}
            }
        }
        (told, nodes)
    }

    #[test]
    fn peers_with_a_dht_node_are_told_of_ours_and_tell_of_theirs() {
        assert_eq!(ports(Some(5), false), (vec![5], vec![(ADDR.0, 7).into()]));
    }

    #[test]
    fn without_a_dht_and_in_a_private_torrent_no_node_is_told_or_taken() {
        assert_eq!(ports(None, false), (vec![], vec![]));
        assert_eq!(ports(Some(5), true), (vec![], vec![]));
    }
}
