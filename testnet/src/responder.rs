use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use magnes_dht::internals::K;
use magnes_dht::krpc::{Body, Message, Method, Response};
use magnes_dht::{Contact, NodeId, Target, compact};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::census::{Census, Conduct, draw_dead_addr};
use crate::errand::Sought;
use crate::host::{Datagram, Host};

/// A token that every responder gives and takes.
const TOKEN: &[u8] = b"modeltok";

/// Bits that the made-up nodes of a polluting responder share with what it is asked for: nearer than any real one.
const POLLUTION_BITS: u32 = 40;

/// A node that answers queries out of a table that never changes, and asks nothing.
#[derive(Debug)]
pub struct Responder {
    census: Rc<Census>,
    index: usize,
    id: NodeId,
    conduct: Conduct,
    /// Drawn when it is first looked at.
    table: OnceCell<Vec<Contact>>,
    has: Vec<Sought>,
    stored: usize,
    chance: ChaCha8Rng,
}

impl Responder {
    pub(crate) fn new(census: &Rc<Census>, index: usize, own: Contact, conduct: Conduct) -> Self {
        let chance = ChaCha8Rng::seed_from_u64(index as u64);
        let (census, table) = (Rc::clone(census), OnceCell::new());
        Self { census, index, id: own.id, conduct, table, has: Vec::new(), stored: 0, chance }
    }

    pub(crate) fn add(&mut self, sought: Sought) {
        self.has.push(sought);
    }

    /// How many announces and puts it took.
    pub fn stored(&self) -> usize {
        self.stored
    }

    /// The table.
    pub fn table(&self) -> &[Contact] {
        self.table.get_or_init(|| self.census.table_of(self.index))
    }

    fn closest(&mut self, target: &Target) -> Vec<u8> {
        let mut encoded = Vec::new();
        if self.conduct == Conduct::Polluting {
            let target = NodeId::new(*target.as_bytes());
            for _ in 0..K {
                let id = target.random_sharing(POLLUTION_BITS, &mut self.chance);
                compact::push_node(&mut encoded, &Contact { id, addr: draw_dead_addr(&mut self.chance) });
            }
            return encoded;
        }
        let mut nodes: Vec<&Contact> = self.table().iter().collect();
        if nodes.len() > K {
            nodes.select_nth_unstable_by_key(K, |node| target.distance(&node.id));
            nodes.truncate(K);
        }
        nodes.sort_unstable_by_key(|node| target.distance(&node.id));
        nodes.iter().for_each(|node| compact::push_node(&mut encoded, node));
        encoded
    }
}

impl Host for Responder {
    fn handle_datagram(&mut self, _now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<Datagram>) {
        let Ok(Message { transaction, body: Body::Query(query), .. }) = Message::decode(datagram) else {
            return;
        };
        let mut response = Response::new(self.id);
        let (nodes, asked_for) = match query.method {
            Method::Ping | Method::Unknown { target: None, .. } => (None, None),
            Method::FindNode { target }
            | Method::SampleInfohashes { target }
            | Method::Unknown { target: Some(target), .. } => (Some(self.closest(&target)), None),
            Method::Get { target, .. } => (Some(self.closest(&target)), Some(target)),
            Method::GetPeers { info_hash, .. } => {
                let target = Target::from(info_hash);
                (Some(self.closest(&target)), Some(target))
            }
            Method::AnnouncePeer { token, .. } | Method::Put { token, .. } => {
                if token != TOKEN {
                    return;
                }
                self.stored += 1;
                (None, None)
            }
        };
        response.nodes = nodes.as_deref();
        response.token = asked_for.map(|_| TOKEN);
        if let Some(sought) = self.has.iter().find(|sought| Some(sought.target()) == asked_for) {
            sought.add_to(&mut response);
        }
        let mut payload = Vec::new();
        let body = Body::Response(response);
        Message { transaction, version: None, ip: Some(from), body }.encode(&mut payload);
        out.push(Datagram { to: from, payload });
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<Datagram>) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}
