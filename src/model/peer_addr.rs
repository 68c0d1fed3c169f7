use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Longest host name in bytes (RFC 1035).
const NAME_LEN_MAX: usize = 253;

/// Where a peer or a node is said to be: `IPv4:port`, `[IPv6]:port` or `name:port`. A name is kept as text; to resolve
/// it is I/O.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerAddr {
    /// A literal address.
    Socket(SocketAddr),
    /// A host name.
    Name {
        /// The name, which is ASCII without brackets, colons or white space.
        host: String,
        /// The port, not 0.
        port: u16,
    },
}

impl PeerAddr {
    /// From a host, which may be a literal address without brackets, and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, ParsePeerAddrError> {
        if port == 0 {
            return Err(ParsePeerAddrError::Port);
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Socket(SocketAddr::new(ip, port)));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > NAME_LEN_MAX || !host.bytes().all(legal) {
            return Err(ParsePeerAddrError::Host);
        }
        Ok(Self::Name { host: host.to_owned(), port })
    }
}

/// Whether the address is one of this machine or of a local network, where many hosts may share few addresses.
pub fn is_local(ip: IpAddr) -> bool {
    magnes_dht::is_local(ip.to_canonical())
}

impl FromStr for PeerAddr {
    type Err = ParsePeerAddrError;

    fn from_str(text: &str) -> Result<Self, ParsePeerAddrError> {
        let (host, port) = text.rsplit_once(':').ok_or(ParsePeerAddrError::PortMissing)?;
        let port = port.parse().map_err(|_| ParsePeerAddrError::Port)?;
        match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(host)) if host.contains(':') => Self::new(host, port),
            Some(_) => Err(ParsePeerAddrError::Host),
            None if host.contains(':') => Err(ParsePeerAddrError::Brackets),
            None => Self::new(host, port),
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Socket(addr)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(addr) => addr.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why a text is not a host and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerAddrError {
    /// No `:port` at the end.
    #[error("the port is missing: write HOST:PORT")]
    PortMissing,
    /// The port is not in 1..=65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// An IPv6 address without its brackets, where the port cannot be told from the address.
    #[error("an IPv6 address needs brackets: write [ADDRESS]:PORT")]
    Brackets,
    /// Neither an address nor a host name.
    #[error("the host is neither an address nor a name")]
    Host,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_round_trip() {
        for text in ["1.2.3.4:6881", "[2001:db8::1]:1", "router.example.org:65535", "my_host:80"] {
            assert_eq!(text.parse::<PeerAddr>().unwrap().to_string(), text);
        }
        assert!(matches!("1.2.3.4:1".parse(), Ok(PeerAddr::Socket(_))));
        assert!(matches!("node.example:1".parse(), Ok(PeerAddr::Name { port: 1, .. })));
    }

    #[test]
    fn what_is_no_host_and_port_says_why() {
        for (text, error) in [
            ("1.2.3.4", ParsePeerAddrError::PortMissing),
            ("1.2.3.4:0", ParsePeerAddrError::Port),
            ("1.2.3.4:65536", ParsePeerAddrError::Port),
            ("1.2.3.4:x", ParsePeerAddrError::Port),
            ("::1:6881", ParsePeerAddrError::Brackets),
            (":6881", ParsePeerAddrError::Host),
            ("[1.2.3.4]:6881", ParsePeerAddrError::Host),
            ("a b:6881", ParsePeerAddrError::Host),
            ("[::1:6881", ParsePeerAddrError::Host),
        ] {
            assert_eq!(text.parse::<PeerAddr>(), Err(error), "{text}");
        }
    }
}
