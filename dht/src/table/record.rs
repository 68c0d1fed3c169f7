use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::{Contact, Network, NodeId, is_local};

/// How long an answer or, from one that ever answered, a query keeps a contact good, in seconds (BEP 5).
pub(super) const GOOD_S: u32 = 15 * 60;
/// A contact that left this many queries in a row unanswered is bad (BEP 5: retry once before discarding).
pub(super) const FAILS_MAX: u8 = 2;

/// A contact of the table. It answered a query of ours, else it would not be here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(super) id: NodeId,
    /// IPv4 addresses are mapped: a `SocketAddr` would be twice as large.
    ip: [u8; 16],
    port: u16,
    /// Queries in a row that were not answered.
    pub(super) fails: u8,
    /// Whether the id belongs to the address (BEP 42).
    pub(super) is_compliant: bool,
    /// When it answered last, in seconds of the table's clock.
    pub(super) answered_s: u32,
    /// When it queried us last, 0 for never.
    pub(super) queried_s: u32,
    /// When we queried it last for the sake of the table.
    pub(super) checked_s: u32,
}

impl Record {
    pub(super) fn new(contact: Contact, now_s: u32) -> Self {
        let ip = match contact.addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Self {
            id: contact.id,
            ip,
            port: contact.addr.port(),
            fails: 0,
            is_compliant: contact.id.is_valid_for(contact.addr.ip()),
            answered_s: now_s,
            queried_s: 0,
            checked_s: now_s,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }

    pub(crate) fn contact(&self) -> Contact {
        Contact { id: self.id, addr: self.addr() }
    }

    /// Good, questionable otherwise (BEP 5, "Routing Table").
    pub(super) fn is_good(&self, now_s: u32) -> bool {
        let heard_s = self.answered_s.max(self.queried_s);
        self.fails == 0 && now_s.saturating_sub(heard_s) < GOOD_S
    }

    /// The subnet, of which a bucket has only one contact. Local networks are not limited: there many nodes share one
    /// address.
    pub(super) fn subnet(&self) -> Option<Network> {
        let ip = self.addr().ip();
        (!is_local(ip)).then(|| Network::subnet(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_fits_64_bytes() {
        assert_eq!(size_of::<Record>(), 52);
    }

    #[test]
    fn addresses_of_both_families_come_back() {
        for addr in ["1.2.3.4:5", "[2001:db8::1]:6"] {
            let contact = Contact { id: NodeId::new([1; 20]), addr: addr.parse().unwrap() };
            assert_eq!(Record::new(contact, 0).contact(), contact);
        }
    }
}
