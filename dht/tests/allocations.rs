//! The steps of a get_peers reply allocate nothing.
#![allow(clippy::disallowed_methods, reason = "the stores begin at some instant")]

use std::net::SocketAddr;
use std::time::Instant;

use magnes_dht::krpc::{Body, Message, Method, Query, Response, Values, Want};
use magnes_dht::{AddressFilter, Guard, GuardConfig, InfoHash, NodeId, PeerStore, Target, Tokens, Verdict};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

#[test]
fn the_steps_of_a_reply_allocate_nothing() {
    let now = Instant::now();
    let mut rng = ChaCha8Rng::from_seed([1; 32]);
    let info_hash = InfoHash::new([7; 20]);
    let tokens = Tokens::new(now, &mut rng);
    let filter = AddressFilter::new(([127, 0, 0, 1], 6881).into());
    let mut guard = Guard::new(GuardConfig::default(), filter, now, &mut rng);
    let mut store = PeerStore::new(1 << 20, now, &mut rng);
    for last in 0..200 {
        store.announce(now, info_hash, SocketAddr::from(([5, 6, 7, last], 6881)), false);
    }
    let id = NodeId::new([3; 20]);
    let body = Body::Query(Query {
        id,
        read_only: false,
        want: Want::default(),
        method: Method::GetPeers { info_hash, noseed: false, scrape: false },
    });
    let mut query = Vec::new();
    Message { transaction: b"abcd", version: None, ip: None, body }.encode(&mut query);
    let from = SocketAddr::from(([127, 0, 0, 1], 7000));
    let (mut sample, mut reply) = (Vec::with_capacity(64), Vec::with_capacity(1500));

    let mut replies = 0;
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert_eq!(guard.admit_query(now, from), Verdict::Admit);
            let Ok(Message { transaction, body: Body::Query(asked), .. }) = Message::decode(&query) else { continue };
            let Method::GetPeers { info_hash, .. } = asked.method else { continue };
            sample.clear();
            store.sample(now, &info_hash, 50, false, &mut rng, &mut sample);
            let token = tokens.issue(now, from.ip(), &Target::from(info_hash));
            let mut response = Response::new(id);
            response.token = Some(&token);
            response.values = Values::of(&sample);
            reply.clear();
            Message { transaction, version: None, ip: Some(from), body: Body::Response(response) }.encode(&mut reply);
            guard.charge_reply(now, from, reply.len());
            replies += usize::from(sample.len() == 50 && reply.len() > 400);
        }
    });
    assert_eq!(replies, 100);
    assert_eq!(info.count_total, 0, "{info:?}");
}
