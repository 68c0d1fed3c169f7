use std::fmt;
use std::net::IpAddr;

use sha1::{Digest, Sha1};

/// Length of a filter in bytes.
const FILTER_LEN: usize = 256;

/// Bits of a filter: `m` of BEP 33.
const BITS: u32 = 2048;

/// Bits set for one address: `k` of BEP 33.
const BITS_PER_ADDRESS: f64 = 2.0;

/// More addresses than this in one filter and its estimate says nothing: BEP 33 stops handing out tokens there.
pub const SCRAPE_PEERS_MAX: usize = 6000;

/// A set of IP addresses in 256 bytes that can be united with others and counted, but not listed (BEP 33).
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter([u8; FILTER_LEN]);

impl BloomFilter {
    /// The empty set.
    pub const fn new() -> Self {
        Self([0; FILTER_LEN])
    }

    /// From the bytes of a reply; `None` unless there are 256 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes of a reply.
    pub const fn as_bytes(&self) -> &[u8; FILTER_LEN] {
        &self.0
    }

    /// Adds an address.
    pub fn insert(&mut self, ip: IpAddr) {
        for (byte, bit) in places(ip) {
            self.0[byte] |= bit;
        }
    }

    /// Whether the address may have been added: never `false` for one that was.
    pub fn contains(&self, ip: IpAddr) -> bool {
        places(ip).iter().all(|&(byte, bit)| self.0[byte] & bit != 0)
    }

    /// Adds everything that `other` holds.
    pub fn unite(&mut self, other: &Self) {
        for (byte, other) in self.0.iter_mut().zip(&other.0) {
            *byte |= other;
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// [`BloomFilter::estimate`] as a whole number; 0 only for the empty set.
    pub fn count(&self) -> u64 {
        if self.is_empty() { 0 } else { (self.estimate().round() as u64).max(1) }
    }

    /// About how many different addresses were added (BEP 33, "Calculating the estimate").
    pub fn estimate(&self) -> f64 {
        let ones: u32 = self.0.iter().map(|byte| byte.count_ones()).sum();
        let zeros = (BITS - ones).clamp(1, BITS - 1);
        let bits = f64::from(BITS);
        (f64::from(zeros) / bits).ln() / (BITS_PER_ADDRESS * (1.0 - 1.0 / bits).ln())
    }
}

impl Default for BloomFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl From<[u8; FILTER_LEN]> for BloomFilter {
    fn from(bytes: [u8; FILTER_LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BloomFilter(~{:.0})", self.estimate())
    }
}

/// The two places of an address: index of the byte, and the bit in it.
fn places(ip: IpAddr) -> [(usize, u8); 2] {
    let hash = match ip {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()),
    };
    [[hash[0], hash[1]], [hash[2], hash[3]]].map(|pair| {
        let index = usize::from(u16::from_le_bytes(pair)) % BITS as usize;
        (index / 8, 1 << (index % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// The filter of the vector of BEP 33: 192.0.2.0 to .255, and 2001:DB8:: to 2001:DB8::3E7.
    fn vector() -> BloomFilter {
        let mut filter = BloomFilter::new();
        for last in 0..=255 {
            filter.insert(Ipv4Addr::new(192, 0, 2, last).into());
        }
        for last in 0..=0x3e7 {
            filter.insert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into());
        }
        filter
    }

    #[test]
    fn the_vector_of_bep_33() {
        let filter = vector();
        let digest: String = Sha1::digest(filter.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "e4dabf3c822dcd0030ee21df8369bfef2594b52b");
        assert_eq!(filter.as_bytes()[..8], [0xf6, 0xc3, 0xf5, 0xea, 0xa0, 0x7f, 0xfd, 0x91]);
        assert!((filter.estimate() - 1224.9308).abs() < 1e-4, "{}", filter.estimate());
    }

    #[test]
    fn empty_and_full_filters_have_finite_estimates() {
        assert!(BloomFilter::new().estimate() < 1.0);
        assert_eq!((BloomFilter::new().count(), vector().count()), (0, 1225));
        let mut one = BloomFilter::new();
        one.insert(Ipv4Addr::new(1, 2, 3, 4).into());
        assert_eq!(one.count(), 1);
        let full = BloomFilter::from_slice(&[0xff; 256]).unwrap();
        assert!(full.estimate().is_finite() && full.estimate() > 6000.0);
        assert!(BloomFilter::from_slice(&[0; 255]).is_none());
    }

    #[test]
    fn a_union_counts_what_two_nodes_know_once() {
        let (mut left, mut right, mut both) = (BloomFilter::new(), BloomFilter::new(), BloomFilter::new());
        for last in 0..200u8 {
            let ip = IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
            both.insert(ip);
            if last < 150 {
                left.insert(ip);
            }
            if last >= 50 {
                right.insert(ip);
            }
        }
        left.unite(&right);
        assert_eq!(left, both);
        assert!(left.contains(Ipv4Addr::new(10, 0, 0, 199).into()));
        assert!(!BloomFilter::new().contains(Ipv4Addr::new(10, 0, 0, 199).into()));
        assert!((both.estimate() - 200.0).abs() < 10.0);
    }
}
