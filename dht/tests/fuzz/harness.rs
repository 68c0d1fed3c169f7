// What has to hold for any bytes. Shared by the seeded runner in `dht/tests/fuzz/main.rs` and the libFuzzer targets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, MutablePut};
use magnes_dht::{AddressFilter, Guard, GuardConfig, ItemStore, PeerStore, Verdict, item};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// Decodes, and what was decoded is written and read again unchanged.
pub(crate) fn krpc(datagram: &[u8]) {
    let Ok(message) = Message::decode(datagram) else {
        return;
    };
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    let again = Message::decode(&encoded).expect("what is written can be read");
    assert_eq!(message.transaction, again.transaction);
    match (&message.body, &again.body) {
        // A response may lose nodes and peers that it has no room for.
        (Body::Response(response), Body::Response(again)) => assert_eq!(response.id, again.id),
        (body, again) => assert_eq!(body, again),
    }
}

/// Puts, finds and announces whatever the bytes say, and the stores stay sound and within their budgets.
pub(crate) fn stores(now: Instant, bytes: &[u8]) {
    let mut rng = ChaCha8Rng::from_seed([1; 32]);
    let mut peers = PeerStore::new(0, now, &mut rng);
    let mut items = ItemStore::new(0, now, &mut rng);
    let mut guard = Guard::new(GuardConfig::default(), AddressFilter::new(([0; 4], 6881).into()), now, &mut rng);
    let mut sample = Vec::new();
    for (index, step) in bytes.chunks(60).enumerate() {
        let now = now + Duration::from_secs(97 * index as u64);
        let field = |at: usize| step.get(at).copied().unwrap_or_default();
        let addr = SocketAddr::from(([field(0), 1, 2, field(1)], u16::from_be_bytes([field(2), field(3)])));
        let info_hash = magnes_dht::InfoHash::new([field(4); 20]);
        if guard.admit_query(now, addr) == Verdict::Admit {
            guard.charge_reply(now, addr, usize::from(field(5)));
        }
        peers.announce(now, info_hash, addr, field(6) & 1 == 1);
        peers.sample(now, &info_hash, 50, field(6) & 2 == 2, &mut rng, &mut sample);
        peers.scrape(now, &info_hash);
        peers.sample_info_hashes(now, &mut rng);
        let (key, signature) = ([field(7); 32], [field(8); 64]);
        let put = MutablePut { key: &key, signature: &signature, seq: i64::from(field(9)), cas: None, salt: &[] };
        let value = step.get(10..).unwrap_or_default();
        if let Ok(target) = items.put(now, addr.ip(), value, (field(9) & 1 == 1).then_some(&put)) {
            assert!(items.find(now, &target).is_some(), "what was put is found");
        }
        item::parse_torrent_pointer(value);
        peers.check_invariants();
        items.check_invariants();
    }
    assert!(sample.iter().all(|addr| addr.port() >= 1024));
}
