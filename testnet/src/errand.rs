use std::net::SocketAddr;

use magnes_dht::item::{self, SigningKey};
use magnes_dht::krpc::{Response, Values};
use magnes_dht::{AnnouncePort, InfoHash, MutableItem, PeerRole, Request, Target};
use rand_core::Rng;

/// What the lookups of a study are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Peers of a torrent; an announce stores (BEP 5).
    Peers,
    /// An item that its hash names; a put stores (BEP 44).
    Immutable,
    /// An item that is signed; a put stores (BEP 44).
    Mutable,
}

/// Something that is looked for, and that the nodes nearest to its target have.
#[derive(Debug, Clone)]
pub enum Sought {
    /// The peers of a torrent.
    Peers(InfoHash, Vec<SocketAddr>),
    /// An item's value.
    Immutable(Vec<u8>),
    /// A signed item.
    Mutable(Box<MutableItem>),
}

impl Errand {
    /// Something of this kind that nobody else has.
    pub(crate) fn draw(self, rng: &mut impl Rng) -> Sought {
        match self {
            Self::Peers => {
                let mut info_hash = [0; 20];
                rng.fill_bytes(&mut info_hash);
                Sought::Peers(InfoHash::new(info_hash), vec![SocketAddr::from(([8, 8, 4, 4], 7000))])
            }
            Self::Immutable => Sought::Immutable(draw_value(rng)),
            Self::Mutable => {
                let mut key = [0; 32];
                rng.fill_bytes(&mut key);
                let item = MutableItem::sign(&SigningKey::from_bytes(&key), b"", 1, draw_value(rng));
                Sought::Mutable(Box::new(item.expect("a number is a value, and short")))
            }
        }
    }
}

fn draw_value(rng: &mut impl Rng) -> Vec<u8> {
    format!("i{}e", rng.next_u64() >> 1).into_bytes()
}

impl Sought {
    /// Where it belongs.
    pub fn target(&self) -> Target {
        match self {
            Self::Peers(info_hash, _) => (*info_hash).into(),
            Self::Immutable(value) => item::immutable_target(value),
            Self::Mutable(item) => item.target(),
        }
    }

    /// What a node is asked for to find it.
    pub(crate) fn search(&self) -> Request {
        match self {
            Self::Peers(info_hash, _) => Request::GetPeers(*info_hash),
            Self::Immutable(_) => Request::GetImmutable(self.target()),
            Self::Mutable(item) => Request::GetMutable { key: item.key, salt: item.salt.clone(), above: None },
        }
    }

    /// What a node is asked for to have it stored where it belongs.
    pub(crate) fn store(&self) -> Request {
        match self {
            Self::Peers(info_hash, _) => {
                Request::Announce { info_hash: *info_hash, port: AnnouncePort::Implied, role: PeerRole::Downloader }
            }
            Self::Immutable(value) => Request::PutImmutable(value.clone()),
            Self::Mutable(item) => Request::PutMutable { item: (**item).clone(), cas: None },
        }
    }

    /// Adds what a node that has it gives to those who ask for its target.
    pub(crate) fn add_to<'a>(&'a self, response: &mut Response<'a>) {
        match self {
            Self::Peers(_, peers) => response.values = Values::of(peers),
            Self::Immutable(value) => response.value = Some(value),
            Self::Mutable(item) => {
                response.value = Some(&item.value);
                response.seq = Some(item.seq);
                response.key = Some(&item.key);
                response.signature = Some(&item.signature);
            }
        }
    }
}
