//! What a query is answered with.

use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;

use crate::krpc::{Body, ErrorCode, Message, Method, Query, Response, VALUES_MAX, Values};
use crate::store::{ItemStore, PeerStore, Samples, Token, Tokens};
use crate::table::Table;
use crate::{Family, InfoHash, Target};

/// Client name and version in our messages.
pub(crate) const VERSION: &[u8] = b"MG\x00\x01";

/// What a reply is made of. Its buffers are used again and again, so that answering does not allocate.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) nodes: Vec<u8>,
    pub(crate) nodes6: Vec<u8>,
    peers: Vec<SocketAddr>,
}

/// What one socket answers from.
pub(crate) struct Server<'n> {
    pub(crate) now: Instant,
    pub(crate) table: &'n Table,
    /// The table of a socket of the other family (BEP 32).
    pub(crate) other_table: Option<&'n Table>,
    pub(crate) family: Family,
    pub(crate) tokens: &'n Tokens,
    pub(crate) peers: &'n mut PeerStore,
    pub(crate) items: &'n mut ItemStore,
    pub(crate) chance: &'n mut ChaCha8Rng,
}

impl Server<'_> {
    /// Appends the reply to a query to `out`. Returns whether it is a response; otherwise it is an error.
    pub(crate) fn answer(
        &mut self,
        from: SocketAddr,
        transaction: &[u8],
        query: &Query<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> bool {
        scratch.nodes.clear();
        scratch.nodes6.clear();
        scratch.peers.clear();
        let mut reply = Reply { from, transaction, out, is_response: true };
        self.compose(&mut reply, query, scratch);
        reply.is_response
    }

    fn compose(&mut self, reply: &mut Reply<'_>, query: &Query<'_>, scratch: &mut Scratch) {
        let from = reply.from;
        let response = Response::new(self.table.own_id());
        match query.method {
            Method::Ping => reply.respond(response),
            Method::FindNode { target } => {
                self.collect_nodes(query, &target, scratch);
                reply.respond(with_nodes(response, scratch));
            }
            Method::GetPeers { info_hash, noseed, scrape } => {
                self.get_peers(reply, query, info_hash, noseed, scrape, scratch);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
                let port = if implied_port { Some(from.port()) } else { port };
                if !self.tokens.verify(self.now, from.ip(), &info_hash.into(), token) {
                    return reply.refuse(ErrorCode::Protocol, b"bad token");
                }
                let Some(port) = port.filter(|port| *port != 0) else {
                    return reply.refuse(ErrorCode::Protocol, b"no port");
                };
                self.peers.announce(self.now, info_hash, SocketAddr::new(from.ip(), port), seed);
                reply.respond(response);
            }
            Method::Get { target, seq } => self.get(reply, query, &target, seq, scratch),
            Method::Put { token, value, mutable, .. } => {
                let target = match &mutable {
                    Some(put) => crate::item::mutable_target(put.key, put.salt),
                    None => crate::item::immutable_target(value),
                };
                if !self.tokens.verify(self.now, from.ip(), &target, token) {
                    return reply.refuse(ErrorCode::Protocol, b"bad token");
                }
                match self.items.put(self.now, from.ip(), value, mutable.as_ref()) {
                    Ok(_) => reply.respond(response),
                    Err(error) => reply.refuse(error.code(), error.to_string().as_bytes()),
                }
            }
            Method::SampleInfohashes { target } => {
                self.collect_nodes(query, &target, scratch);
                let Samples { info_hashes, interval_s, total } = self.peers.sample_info_hashes(self.now, self.chance);
                reply.respond(Response {
                    samples: Some(info_hashes),
                    interval_s: Some(interval_s.into()),
                    num: i64::try_from(total).ok(),
                    ..with_nodes(response, scratch)
                });
            }
            Method::Unknown { target: Some(target), .. } => {
                self.collect_nodes(query, &target, scratch);
                reply.respond(with_nodes(response, scratch));
            }
            Method::Unknown { target: None, .. } => reply.refuse(ErrorCode::MethodUnknown, b"unknown method"),
        }
    }

    fn get_peers(
        &mut self,
        reply: &mut Reply<'_>,
        query: &Query<'_>,
        info_hash: InfoHash,
        noseed: bool,
        scrape: bool,
        scratch: &mut Scratch,
    ) {
        let target = Target::from(info_hash);
        self.collect_nodes(query, &target, scratch);
        let token: Token = self.tokens.issue(self.now, reply.from.ip(), &target);
        let token = self.peers.has_room(&info_hash).then_some(token.as_ref());
        self.peers.sample(self.now, &info_hash, VALUES_MAX, noseed, self.chance, &mut scratch.peers);
        let mut response = Response { token, ..with_nodes(Response::new(self.table.own_id()), scratch) };
        if scrape {
            if let Some(scrape) = self.peers.scrape(self.now, &info_hash) {
                response.seeds_filter = Some(scrape.seeds.as_bytes());
                response.peers_filter = Some(scrape.peers.as_bytes());
            }
            return reply.respond(response);
        }
        if !scratch.peers.is_empty() {
            response.values = Values::of(&scratch.peers);
        }
        reply.respond(response);
    }

    fn get(
        &mut self,
        reply: &mut Reply<'_>,
        query: &Query<'_>,
        target: &Target,
        seq: Option<i64>,
        scratch: &mut Scratch,
    ) {
        self.collect_nodes(query, target, scratch);
        let token = self.tokens.issue(self.now, reply.from.ip(), target);
        let mut response =
            Response { token: Some(token.as_ref()), ..with_nodes(Response::new(self.table.own_id()), scratch) };
        if let Some(item) = self.items.find(self.now, target) {
            match &item.mutable {
                None => response.value = Some(&item.value),
                Some(mutable) => {
                    response.seq = Some(mutable.seq);
                    if seq.is_none_or(|seq| mutable.seq > seq) {
                        response.value = Some(&item.value);
                        response.key = Some(&mutable.key);
                        response.signature = Some(&mutable.signature);
                    }
                }
            }
        }
        reply.respond(response);
    }

    /// The nodes near the target, of the families that are wanted (BEP 32).
    fn collect_nodes(&self, query: &Query<'_>, target: &Target, scratch: &mut Scratch) {
        let any = query.want.v4 || query.want.v6;
        let wanted = |family| match family {
            Family::V4 if any => query.want.v4,
            Family::V6 if any => query.want.v6,
            family => family == self.family,
        };
        for (family, out) in [(Family::V4, &mut scratch.nodes), (Family::V6, &mut scratch.nodes6)] {
            let table = if family == self.family { Some(self.table) } else { self.other_table };
            if let Some(table) = table.filter(|_| wanted(family)) {
                table.hand_out(self.now, target, out);
            }
        }
    }
}

fn with_nodes<'s>(response: Response<'s>, scratch: &'s Scratch) -> Response<'s> {
    let present = |bytes: &'s Vec<u8>| (!bytes.is_empty()).then_some(&bytes[..]);
    Response { nodes: present(&scratch.nodes), nodes6: present(&scratch.nodes6), ..response }
}

struct Reply<'r> {
    from: SocketAddr,
    transaction: &'r [u8],
    out: &'r mut Vec<u8>,
    is_response: bool,
}

impl Reply<'_> {
    fn respond(&mut self, response: Response<'_>) {
        self.send(Body::Response(response));
    }

    fn refuse(&mut self, code: ErrorCode, text: &[u8]) {
        self.is_response = false;
        self.send(Body::Error { code: code.number(), text });
    }

    fn send(&mut self, body: Body<'_>) {
        let message = Message { transaction: self.transaction, version: Some(VERSION), ip: Some(self.from), body };
        message.encode(self.out);
    }
}
