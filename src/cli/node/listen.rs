//! Where to listen when nothing is said, and what is unwise about what was said.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use magnes_dht::Network;

/// The port that DHT nodes have by custom.
const PORT: u16 = 6881;

/// Addresses of IPv6 that are listened on by themselves; whoever has more names them.
const V6_MAX: usize = 4;

/// Flags of `/proc/self/net/if_inet6`: an address that changes by itself, is on its way out, in doubt, or not yet usable.
const UNSTEADY: u8 = 0x01 | 0x20 | 0x08 | 0x40;

/// IPv4 by the wildcard address, and each public IPv6 address that lasts: a node id of IPv6 belongs to one address
/// (BEP 45), and one a /64 is as much as others keep.
pub(super) fn listen_default() -> Vec<SocketAddr> {
    let known = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    let mut listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))];
    listen.extend(lasting_v6(&known).into_iter().map(|ip| SocketAddr::from((ip, PORT))));
    listen
}

/// The public addresses of the list that Linux keeps: address, interface, length, scope, flags (all hexadecimal), name.
fn lasting_v6(list: &str) -> Vec<Ipv6Addr> {
    let mut found: Vec<Ipv6Addr> = Vec::new();
    for line in list.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[ip, _, _, scope, flags, _] = &fields[..] else { continue };
        let (Ok(ip), Ok(flags)) = (u128::from_str_radix(ip, 16), u8::from_str_radix(flags, 16)) else { continue };
        let ip = Ipv6Addr::from_bits(ip);
        // Global unicast is 2000::/3; the scope alone would admit private networks (fc00::/7) too.
        let is_public = scope == "00" && ip.segments()[0] & 0xe000 == 0x2000;
        let is_new = !found.iter().any(|other| same_network(*other, ip));
        if is_public && flags & UNSTEADY == 0 && is_new && found.len() < V6_MAX {
            found.push(ip);
        }
    }
    found
}

fn same_network(one: Ipv6Addr, other: Ipv6Addr) -> bool {
    Network::subnet(one.into()) == Network::subnet(other.into())
}

/// What others make little of, as sentences.
pub(super) fn warnings(listen: &[SocketAddr]) -> Vec<String> {
    let mut warnings = Vec::new();
    let v6: Vec<Ipv6Addr> = listen
        .iter()
        .filter_map(|addr| if let SocketAddr::V6(addr) = addr { Some(*addr.ip()) } else { None })
        .collect();
    if v6.iter().any(Ipv6Addr::is_unspecified) {
        warnings.push(
            "[::] stands for every IPv6 address of this machine, so replies may leave from another one than was asked, \
             and others drop them (BEP 45); name the address: --listen '[2001:db8::1]:6881'"
                .to_owned(),
        );
    }
    for (index, ip) in v6.iter().enumerate().filter(|(_, ip)| !ip.is_loopback() && !ip.is_unspecified()) {
        if let Some(other) = v6[..index].iter().find(|other| same_network(**other, *ip)) {
            warnings.push(format!("{other} and {ip} are in one /64, of which others keep one node (BEP 45)"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_that_last_are_taken_one_a_network() {
        let list = "\
fd000000000000000000000000000002 04 40 00 82     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
2a010000000000010000000000000001 02 40 00 01     eth0
2a010000000000010000000000000002 02 40 00 80     eth0
2a010000000000010000000000000003 02 40 00 00     eth0
2a010000000000020000000000000001 02 40 00 00     eth1
2a010000000000030000000000000001 02 40 00 40     eth1
2a01 broken
zz010000000000030000000000000001 02 40 00 00     eth1
";
        let wanted: [Ipv6Addr; 2] = ["2a01:0:0:1::2", "2a01:0:0:2::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(lasting_v6(list), wanted);
        let many: String = (0..20).map(|n| format!("2a0100000000{n:04x}0000000000000001 02 40 00 00 eth0\n")).collect();
        assert_eq!(lasting_v6(&many).len(), V6_MAX);
    }

    #[test]
    fn what_is_unwise_is_said_and_nothing_else() {
        let warn = |list: &[&str]| warnings(&list.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>());
        assert!(warn(&["0.0.0.0:6881", "[2a01::1]:6881", "[2a01:0:0:1::1]:6881", "[::1]:1", "[::1]:2"]).is_empty());
        assert!(warn(&["[::]:6881"])[0].contains("BEP 45"));
        let same = warn(&["[2a01::1]:6881", "[2a01::2]:6881"]);
        assert!(same.len() == 1 && same[0].starts_with("2a01::1 and 2a01::2"), "{same:?}");
    }
}
