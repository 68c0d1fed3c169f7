use std::net::IpAddr;
use std::str::FromStr;

/// A network: an address and how many of its leading bits count. Written `192.0.2.0/24`, or an address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    ip: IpAddr,
    bits: u8,
}

/// Why a text is not a [`Prefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePrefixError {
    /// What stands before the `/` is no IP address.
    #[error("not an IP address; write a network as 192.0.2.0/24 or 2001:db8::/32")]
    Address,
    /// What stands after the `/` is no length of a prefix.
    #[error("the length after the slash has to be a number up to {bits_max}")]
    Length {
        /// Bits of an address of this family.
        bits_max: u8,
    },
}

impl Prefix {
    /// The network of `ip` with `bits` leading bits; more bits than the address has are as many as it has.
    pub fn new(ip: IpAddr, bits: u8) -> Self {
        Self { ip, bits: bits.min(bits_of(ip)) }
    }

    /// Whether `ip` lies in this network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let differing = own.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differing = own.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.parse().map_err(|_| ParsePrefixError::Address)?;
        let bits_max = bits_of(ip);
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| ParsePrefixError::Length { bits_max })?,
            None => bits_max,
        };
        if bits > bits_max {
            return Err(ParsePrefixError::Length { bits_max });
        }
        Ok(Self { ip, bits })
    }
}

fn bits_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_and_contains_its_own() {
        let cases = [
            ("10.77.0.0/16", "10.77.255.1", "10.78.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::1/128", "::1", "::2"),
        ];
        for (text, inside, outside) in cases {
            let prefix: Prefix = text.parse().unwrap();
            assert!(prefix.contains(inside.parse().unwrap()), "{text}");
            assert!(!prefix.contains(outside.parse().unwrap()), "{text}");
        }
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains([8, 8, 8, 8].into()) && !all.contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_says_why() {
        let v4 = ParsePrefixError::Length { bits_max: 32 };
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/256", "10.0.0.0/8/8"] {
            assert_eq!(text.parse::<Prefix>(), Err(v4), "{text}");
        }
        assert_eq!("::/129".parse::<Prefix>(), Err(ParsePrefixError::Length { bits_max: 128 }));
        for text in ["", "/8", "10.0.0/8", "host/8"] {
            assert_eq!(text.parse::<Prefix>(), Err(ParsePrefixError::Address), "{text}");
        }
    }
}
