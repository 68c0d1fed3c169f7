//! Which addresses are likely to have one owner.

use std::net::IpAddr;

/// The network of an address, of which budgets, votes and places are counted: the /24 of an IPv4 address; of an IPv6
/// address its subnet, a /64, or its site, a /48 with often many subnets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The leading bits; of a site inverted, so that sixteen ones are in front. No subnet that a node lives in begins with
    /// those (multicast does), nor with the forty zeros of an IPv4 network.
    number: u64,
}

impl Network {
    /// The /24 of an IPv4 address, the /64 of an IPv6 one.
    pub fn subnet(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self { number: u64::from(ip.to_bits() >> 8) },
            IpAddr::V6(ip) => Self { number: (ip.to_bits() >> 64) as u64 },
        }
    }

    /// The /24 of an IPv4 address, the /48 of an IPv6 one.
    pub fn site(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::subnet(ip),
            IpAddr::V6(ip) => Self { number: !((ip.to_bits() >> 80) as u64) },
        }
    }

    /// A number that no other network has.
    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

/// Whether an address belongs to a local network: those BEP 42 exempts from its rule on ids.
pub fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_share_a_subnet_and_a_site_as_far_as_their_prefix_says() {
        let cases = [
            // One /24; the next one.
            ("192.0.2.1", "192.0.2.254", true, true),
            ("192.0.2.1", "192.0.3.1", false, false),
            // One /64; another /64 of the same /48; another /48.
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::1", true, true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false, true),
            ("2001:db8:1:2::1", "2001:db8:2:2::1", false, false),
        ];
        for (one, other, same_subnet, same_site) in cases {
            let [one, other]: [IpAddr; 2] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(Network::subnet(one) == Network::subnet(other), same_subnet, "{one} and {other}");
            assert_eq!(Network::site(one) == Network::site(other), same_site, "{one} and {other}");
            assert_eq!(Network::site(one) == Network::subnet(one), one.is_ipv4(), "a site is no subnet: {one}");
        }
    }
}
