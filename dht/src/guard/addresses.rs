use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why an address is not one that a DHT message could come from, or that could be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bogon {
    /// Port 0.
    #[error("port 0")]
    PortZero,
    /// Multicast, broadcast, unspecified, documentation, benchmarking or otherwise reserved.
    #[error("an address that no host has")]
    Reserved,
    /// A loopback address, and this node has nothing to do with loopback.
    #[error("a loopback address on a node of the public network")]
    Loopback,
    /// A private, shared or link-local address, and this node has nothing to do with such networks.
    #[error("a private address on a node of the public network")]
    Private,
    /// One of this node's own addresses.
    #[error("this node's own address")]
    Own,
}

/// Own addresses kept: the bound one, and what others say the external one is.
const OWN_ADDRESSES_MAX: usize = 8;

/// Decides which addresses can belong to someone else's node.
///
/// Loopback and private addresses are ordinary citizens of a testnet or a laboratory and poison on the public network.
/// One rule tells the two apart: a class is admitted exactly when the node is bound to an address of that class or was
/// told to bootstrap from one.
#[derive(Debug, Clone)]
pub struct AddressFilter {
    loopback_admitted: bool,
    private_admitted: bool,
    own: Vec<SocketAddr>,
}

impl AddressFilter {
    /// The filter of a socket bound to `local`, which may be unspecified.
    pub fn new(local: SocketAddr) -> Self {
        let mut filter = Self { loopback_admitted: false, private_admitted: false, own: Vec::new() };
        filter.admit_class_of(local);
        if !local.ip().is_unspecified() {
            filter.add_own(local);
        }
        filter
    }

    /// Admits the class of an address that the user told this node to bootstrap from.
    pub fn admit_class_of(&mut self, addr: SocketAddr) {
        match classify(addr.ip()) {
            Class::Loopback => self.loopback_admitted = true,
            Class::Private => self.private_admitted = true,
            Class::Public | Class::Reserved => {}
        }
    }

    /// Whether this is an admitted address of a loopback or private network: nothing translates addresses on the way.
    pub(crate) fn is_local(&self, addr: SocketAddr) -> bool {
        matches!(classify(addr.ip()), Class::Loopback | Class::Private) && self.check(addr).is_ok()
    }

    /// Refuses `own` from now on, as an address that leads back to this node.
    pub fn add_own(&mut self, own: SocketAddr) {
        if !self.own.contains(&own) {
            if self.own.len() == OWN_ADDRESSES_MAX {
                // The bound address stays in front; of the external ones the oldest goes.
                self.own.remove(1);
            }
            self.own.push(own);
        }
    }

    /// `Err` says why nobody else's node can have this address.
    pub fn check(&self, addr: SocketAddr) -> Result<(), Bogon> {
        if addr.port() == 0 {
            return Err(Bogon::PortZero);
        }
        match classify(addr.ip()) {
            Class::Reserved => return Err(Bogon::Reserved),
            Class::Loopback if !self.loopback_admitted => return Err(Bogon::Loopback),
            Class::Private if !self.private_admitted => return Err(Bogon::Private),
            Class::Loopback | Class::Private | Class::Public => {}
        }
        if self.own.contains(&addr) { Err(Bogon::Own) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Public,
    Private,
    Loopback,
    Reserved,
}

fn classify(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Class {
    match ip.octets() {
        [127, ..] => Class::Loopback,
        [10, ..] | [192, 168, ..] | [169, 254, ..] => Class::Private,
        [172, second, ..] if second & 0xf0 == 16 => Class::Private,
        // Shared by providers behind their own NAT (RFC 6598).
        [100, second, ..] if second & 0xc0 == 64 => Class::Private,
        [0, ..] | [192, 0, 0, _] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Reserved,
        [198, 18 | 19, ..] => Class::Reserved,
        [224..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> Class {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        // Unspecified, v4-compatible and v4-mapped: a v6 socket of a DHT node carries v6 only.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] => Class::Reserved,
        [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] => Class::Reserved,
        [first, ..] if first & 0xff00 == 0xff00 => Class::Reserved,
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 => Class::Private,
        _ => Class::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const LOOPBACK: [&str; 2] = ["127.0.0.1:6881", "[::1]:6881"];
    const PRIVATE: [&str; 8] = [
        "10.1.2.3:6881",
        "172.16.0.1:6881",
        "172.31.255.1:6881",
        "192.168.0.1:6881",
        "169.254.1.1:6881",
        "100.64.0.1:6881",
        "[fd00::1]:6881",
        "[fe80::1]:6881",
    ];
    const PUBLIC: [&str; 5] =
        ["8.8.8.8:53", "172.32.0.1:6881", "100.128.0.1:6881", "[2606:4700::1]:6881", "[2a00::1]:1"];
    const NEVER: [&str; 14] = [
        "8.8.8.8:0",
        "0.0.0.0:6881",
        "0.1.2.3:6881",
        "192.0.2.1:6881",
        "198.18.0.1:6881",
        "198.51.100.1:6881",
        "203.0.113.9:6881",
        "224.0.0.1:6881",
        "240.0.0.1:6881",
        "255.255.255.255:6881",
        "[::]:6881",
        "[::ffff:8.8.8.8]:6881",
        "[ff02::1]:6881",
        "[2001:db8::1]:6881",
    ];

    #[test]
    fn the_public_network_refuses_loopback_and_private() {
        let filter = AddressFilter::new(addr("0.0.0.0:6881"));
        for text in LOOPBACK {
            assert_eq!(filter.check(addr(text)), Err(Bogon::Loopback), "{text}");
        }
        for text in PRIVATE {
            assert_eq!(filter.check(addr(text)), Err(Bogon::Private), "{text}");
        }
        for text in PUBLIC {
            assert_eq!(filter.check(addr(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn bound_to_a_class_or_bootstrapped_from_it_admits_it() {
        let bound = AddressFilter::new(addr("127.0.0.1:6881"));
        let mut bootstrapped = AddressFilter::new(addr("0.0.0.0:6881"));
        bootstrapped.admit_class_of(addr("127.0.0.1:7000"));
        for filter in [bound, bootstrapped] {
            assert_eq!(filter.check(addr("127.0.0.1:9999")), Ok(()));
            assert_eq!(filter.check(addr("10.1.2.3:6881")), Err(Bogon::Private), "loopback is not a private network");
        }

        let bound = AddressFilter::new(addr("10.0.0.1:6881"));
        let mut bootstrapped = AddressFilter::new(addr("[::]:6881"));
        bootstrapped.admit_class_of(addr("[fd00::9]:6881"));
        for filter in [bound, bootstrapped] {
            for text in PRIVATE {
                assert_eq!(filter.check(addr(text)), Ok(()), "{text}");
            }
            assert_eq!(filter.check(addr("127.0.0.1:9999")), Err(Bogon::Loopback));
        }
    }

    #[test]
    fn what_no_host_has_is_refused_everywhere() {
        for local in ["0.0.0.0:6881", "127.0.0.1:6881", "10.0.0.1:6881"] {
            let filter = AddressFilter::new(addr(local));
            for text in NEVER {
                assert!(filter.check(addr(text)).is_err(), "{text} on {local}");
            }
        }
    }

    #[test]
    fn own_addresses_are_refused_and_the_bound_one_is_never_forgotten() {
        let mut filter = AddressFilter::new(addr("5.6.7.8:6881"));
        for port in 1..100 {
            filter.add_own(SocketAddr::new(addr("9.9.9.9:1").ip(), port));
        }
        assert_eq!(filter.check(addr("5.6.7.8:6881")), Err(Bogon::Own));
        assert_eq!(filter.check(addr("9.9.9.9:99")), Err(Bogon::Own));
        assert_eq!(filter.check(addr("9.9.9.9:1")), Ok(()), "forgotten for newer ones");
        assert_eq!(filter.check(addr("5.6.7.8:6882")), Ok(()), "another port is another node");
    }
}
