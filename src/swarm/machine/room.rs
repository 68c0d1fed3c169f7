//! Who gives way when there is no room for another connection.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Swarm;
use crate::model::is_local;
use crate::swarm::event::{CloseReason, PeerKey};
use crate::swarm::peer::Peer;

/// Connections of one address at most: people behind one router share it.
const PER_ADDRESS_MAX: usize = 8;
/// Who neither has nor wants anything gives way after this long: newcomers have that time to say what they have.
const USELESS_AFTER: Duration = Duration::from_secs(10);
/// Who could ask, or be asked, and has exchanged nothing for this long gives way too.
const IDLE_AFTER: Duration = Duration::from_secs(60);

impl Swarm {
    /// Makes room for a connection to or from `ip`, where there is none. Returns whether there is room.
    pub(super) fn make_room(&mut self, now: Instant, ip: IpAddr) -> bool {
        let surplus = if self.has_share(ip) {
            // An address that has its share can only replace its own.
            self.least_useful(now, |peer| peer.addr.ip() == ip)
        } else if self.is_full() {
            self.least_useful(now, |_| true)
        } else {
            return true;
        };
        let Some(key) = surplus else { return false };
        self.close(now, key, CloseReason::NoRoom);
        true
    }

    /// Whether an address has as many connections as one may have.
    pub(super) fn has_share(&self, ip: IpAddr) -> bool {
        self.peers.values().filter(|peer| peer.addr.ip() == ip).count() >= self.per_address_max(ip)
    }

    /// On a machine or in a home, the many hosts of a test network share one address, or few.
    fn per_address_max(&self, ip: IpAddr) -> usize {
        if is_local(ip) { (self.config.peers_max * 3 / 4).max(PER_ADDRESS_MAX) } else { PER_ADDRESS_MAX }
    }

    /// Closes a connection when there are more than there may be: one of which nothing comes, or else the slowest that the
    /// user did not name.
    pub(super) fn close_surplus_connection(&mut self, now: Instant) {
        if self.peers.len() as u64 <= self.granted.connections {
            return;
        }
        let slowest = || {
            let others = self.peers.iter().filter(|(_, peer)| !peer.is_named && peer.is_connected());
            others.min_by_key(|(key, peer)| (peer.down.bps() + peer.up.bps(), **key)).map(|(key, _)| *key)
        };
        if let Some(key) = self.least_useful(now, |_| true).or_else(slowest) {
            self.close(now, key, CloseReason::NoRoom);
        }
    }

    /// The connection that is missed least, if there is one of which nothing comes.
    fn least_useful(&self, now: Instant, is_meant: impl Fn(&Peer) -> bool) -> Option<PeerKey> {
        let meant = self.peers.iter().filter(|(_, peer)| is_meant(peer));
        let gives_way = meant.filter_map(|(key, peer)| Some((rank(now, peer)?, peer.active_at, *key)));
        gives_way.min().map(|(.., key)| key)
    }
}

/// How soon a peer gives way, the lowest first; `None`: it stays.
fn rank(now: Instant, peer: &Peer) -> Option<u8> {
    let idle_for = now.saturating_duration_since(peer.active_at);
    let is_served = !peer.serves.is_idle() && !peer.is_stuck(now);
    if peer.is_named || !peer.is_connected() || peer.asks.len() > 0 || is_served {
        return None;
    }
    let is_of_use = peer.useful > 0 || peer.they_interested;
    match is_of_use {
        false if idle_for >= USELESS_AFTER => Some(0),
        // It wants something, may ask for it, and does not; or it has something and keeps it.
        true if idle_for >= IDLE_AFTER && !(peer.they_interested && peer.we_choke) => Some(1),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests begin at some instant")]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::model::{BLOCK_LEN, Bitfield};
    use crate::swarm::event::{Output, PeerSource};
    use crate::swarm::machine::opened::{self, opened};
    use crate::wire::Message;

    const SECOND: Duration = Duration::from_secs(1);

    /// A torrent without any of its pieces.
    fn torrent(now: Instant) -> Swarm {
        opened(now, u64::from(4 * BLOCK_LEN), BLOCK_LEN.into(), Bitfield::empty(4))
    }

    fn connect(torrent: &mut Swarm, now: Instant, addr: SocketAddr) -> Option<PeerKey> {
        opened::connect(torrent, now, addr, true)
    }

    fn addr(number: u16) -> SocketAddr {
        let [high, low] = number.to_be_bytes();
        ([9, 9, high, low], 6881).into()
    }

    #[test]
    fn peers_that_have_nothing_make_room_for_a_newcomer_and_for_whom_the_user_names() {
        let start = Instant::now();
        let mut torrent = torrent(start);
        for number in 0..200 {
            connect(&mut torrent, start, addr(number)).expect("there is room");
        }
        assert_eq!(connect(&mut torrent, start + SECOND, addr(200)), None, "they have just come");
        let later = start + USELESS_AFTER;
        connect(&mut torrent, later, addr(201)).expect("a useless one gives way");
        torrent.check_invariants();
        while torrent.poll_output().is_some() {}
        torrent.handle_candidates(later, PeerSource::User, &[addr(300)]);
        let outputs: Vec<Output> = std::iter::from_fn(|| torrent.poll_output()).collect();
        assert!(outputs.iter().any(|output| matches!(output, Output::Dial { addr: to, .. } if *to == addr(300))));
        assert_eq!(torrent.peers.len(), 200);
    }

    #[test]
    fn who_has_or_wants_something_stays() {
        let start = Instant::now();
        let mut torrent = torrent(start);
        for number in 0..200 {
            let peer = connect(&mut torrent, start, addr(number)).unwrap();
            let message = if number % 2 == 0 { Message::HaveAll } else { Message::Interested };
            torrent.handle_messages(start, peer, vec![message]);
        }
        assert_eq!(connect(&mut torrent, start + 2 * USELESS_AFTER, addr(200)), None);
        torrent.check_invariants();
    }

    #[test]
    fn an_address_has_a_share_that_its_own_idle_ones_give_way_in() {
        let start = Instant::now();
        let mut torrent = torrent(start);
        let public = |port: u16| SocketAddr::from(([9, 9, 9, 9], port));
        let count = |torrent: &Swarm, ip: IpAddr| torrent.peers.values().filter(|peer| peer.addr.ip() == ip).count();
        for port in 1..100 {
            connect(&mut torrent, start, public(port));
        }
        assert_eq!(count(&torrent, public(1).ip()), PER_ADDRESS_MAX);
        connect(&mut torrent, start + USELESS_AFTER, public(200)).expect("one of its own gave way");
        assert_eq!(count(&torrent, public(1).ip()), PER_ADDRESS_MAX);
        let home = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        for port in 1..300 {
            connect(&mut torrent, start, home(port));
        }
        assert_eq!(count(&torrent, home(1).ip()), 150);
        connect(&mut torrent, start + SECOND, addr(1)).expect("others have room still");
    }

    #[test]
    fn an_address_is_dialled_at_as_many_ports_as_its_share_and_at_every_one_that_the_user_names() {
        let start = Instant::now();
        let mut torrent = torrent(start);
        let addrs =
            |ports: std::ops::Range<u16>| ports.map(|port| SocketAddr::from(([9, 9, 9, 9], port))).collect::<Vec<_>>();
        let dials = |torrent: &mut Swarm| {
            let outputs = std::iter::from_fn(|| torrent.poll_output());
            outputs.filter(|output| matches!(output, Output::Dial { .. })).count()
        };
        torrent.handle_candidates(start, PeerSource::Dht, &addrs(1..100));
        assert_eq!(dials(&mut torrent), PER_ADDRESS_MAX);
        torrent.handle_candidates(start, PeerSource::Dht, &[addr(1)]);
        assert_eq!(dials(&mut torrent), 1, "others do not wait behind them");
        torrent.handle_candidates(start, PeerSource::User, &addrs(100..105));
        assert_eq!(dials(&mut torrent), 5);
        torrent.check_invariants();
    }

    #[test]
    fn who_may_ask_and_never_does_gives_way_after_a_minute() {
        let start = Instant::now();
        let mut torrent = torrent(start);
        let peer = connect(&mut torrent, start, addr(1)).unwrap();
        torrent.handle_messages(start, peer, vec![Message::Interested]);
        let rank = |torrent: &Swarm, now| rank(now, &torrent.peers[&peer]);
        assert!(!torrent.peers[&peer].we_choke);
        assert_eq!(rank(&torrent, start + IDLE_AFTER - SECOND), None);
        assert_eq!(rank(&torrent, start + IDLE_AFTER), Some(1));
    }
}
