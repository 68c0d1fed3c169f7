//! What a node on the public network answers, to whom, and how much, told datagram by datagram in virtual time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test begins at some instant")]

mod rig;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use magnes_dht::krpc::{Body, Message, Method, Response};
use magnes_dht::{Contact, Family, InfoHash, NodeConfig, NodeId, Output, Target, item};
use rig::{LOCAL, Rig, addr, exempt, lifted, query};

const INFO_HASH: InfoHash = InfoHash::new([0x5a; 20]);
const STRANGER: NodeId = NodeId::new([0x77; 20]);

/// What a node answers.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Silence,
    Error(i64),
    Response,
}

/// The node's answer to a datagram, which has to carry the transaction id `transaction`.
fn answer(rig: &mut Rig, from: SocketAddr, datagram: &[u8], transaction: &[u8]) -> Answer {
    rig.node.handle_datagram(rig.now, rig.socket, from, datagram);
    let mut answer = Answer::Silence;
    while let Some(output) = rig.node.poll_output() {
        let Output::Transmit { to, payload, .. } = output else { continue };
        let message = Message::decode(payload).unwrap();
        let found = match message.body {
            Body::Query(_) => continue,
            Body::Response(_) => Answer::Response,
            Body::Error { code, .. } => Answer::Error(code),
        };
        assert_eq!((answer, to, message.transaction), (Answer::Silence, from, transaction), "one answer, to the asker");
        assert_eq!(message.ip, Some(from), "it says how it sees the asker");
        answer = found;
    }
    answer
}

const METHODS: [&str; 8] =
    ["ping", "find_node", "get_peers", "announce_peer", "get", "put", "sample_infohashes", "vote"];

/// A complete query of each method, with a token that the node gave, and whether it is accepted.
fn complete(rig: &mut Rig, from: SocketAddr) -> BTreeMap<&'static str, String> {
    let token = |rig: &mut Rig, target| rig.token(from, target).unwrap();
    let as_text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let announce = as_text(&token(rig, INFO_HASH.into()));
    let put = as_text(&token(rig, item::immutable_target(b"5:hello")));
    let target = "6:target20:mnopqrstuvwxyz123456".to_owned();
    let info_hash = as_text(&[b"9:info_hash20:".as_slice(), INFO_HASH.as_bytes()].concat());
    BTreeMap::from([
        ("ping", String::new()),
        ("find_node", target.clone()),
        ("get_peers", info_hash.clone()),
        ("announce_peer", format!("{info_hash}4:porti6881e5:token8:{announce}")),
        ("get", target.clone()),
        ("put", format!("5:token8:{put}1:v5:hello")),
        ("sample_infohashes", target.clone()),
        ("vote", target),
    ])
}

/// Bytes again: each character of these texts is one byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| character as u8).collect()
}

fn whole(method: &str, arguments: &str, transaction: &str, rest: &str) -> Vec<u8> {
    let (method_len, transaction_len) = (method.len(), transaction.chars().count());
    bytes(&format!(
        "d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{method_len}:{method}1:t{transaction_len}:{transaction}1:y1:qe{rest}"
    ))
}

#[test]
fn transaction_ids_of_up_to_32_bytes_come_back_with_every_method() {
    let mut rig = Rig::new(lifted(), Instant::now());
    let arguments = complete(&mut rig, addr(1));
    for method in METHODS {
        for len in 0..=40 {
            let transaction = "\u{e1}".repeat(len);
            let datagram = whole(method, &arguments[method], &transaction, "");
            let expected = if len <= 32 { Answer::Response } else { Answer::Silence };
            assert_eq!(answer(&mut rig, addr(1), &datagram, &bytes(&transaction)), expected, "{method}, {len} bytes");
        }
    }
}

#[test]
fn trailing_bytes_and_odd_extra_fields_do_no_harm_to_any_method() {
    let mut rig = Rig::new(lifted(), Instant::now());
    let arguments = complete(&mut rig, addr(1));
    for method in METHODS {
        for rest in ["", "e", "\0\0\0", "d1:y1:re", "garbage"] {
            let datagram = whole(method, &arguments[method], "aa", rest);
            assert_eq!(answer(&mut rig, addr(1), &datagram, b"aa"), Answer::Response, "{method} and {rest:?}");
        }
        for extra in ["1:z0:", "1:zli1ed1:xleee", "2:zzd0:i0ee", "4:wanti4e", "4:wantl2:n42:n6i4ee", "4:wantle"] {
            let datagram = whole(method, &format!("{}{extra}", arguments[method]), "aa", "");
            assert_eq!(answer(&mut rig, addr(1), &datagram, b"aa"), Answer::Response, "{method} with {extra}");
        }
    }
}

#[test]
fn a_field_that_is_missing_or_odd_is_answered_as_stated() {
    let mut rig = Rig::new(lifted(), Instant::now());
    let arguments = complete(&mut rig, addr(1));
    let target = "6:target20:mnopqrstuvwxyz123456";
    let info_hash = "9:info_hash20:mnopqrstuvwxyz123456";
    let token = arguments["announce_peer"].split_once("5:token").unwrap().1;
    let own_hash = arguments["get_peers"].as_str();
    let odd_targets = ["", "6:target19:mnopqrstuvwxyz12345", "6:target0:", "6:targeti7e", "6:targetle", "6:targetde"];
    let odd_tokens = ["", "5:token0:", "5:token7:aoeusnt", "5:token8:aoeusnth", "5:tokeni1e", "5:tokenle"];
    let odd_ports = ["", "4:porti0e", "4:porti-1e", "4:porti65536e", "4:port2:80", "4:portle"];
    let mut cases: Vec<(&str, String, Answer)> = Vec::new();
    for method in ["find_node", "get", "sample_infohashes"] {
        cases.extend(odd_targets.map(|odd| (method, odd.to_owned(), Answer::Error(203))));
    }
    for odd in odd_targets {
        cases.push(("get_peers", odd.replace("6:target", "9:info_hash"), Answer::Error(203)));
        cases.push(("vote", odd.to_owned(), Answer::Error(204)));
        let announce = format!("{}4:porti6881e5:token{token}", odd.replace("6:target", "9:info_hash"));
        cases.push(("announce_peer", announce, Answer::Error(203)));
    }
    cases.push(("vote", info_hash.to_owned(), Answer::Response));
    cases.push(("get", format!("3:seq2:xx{target}"), Answer::Response));
    cases.push(("get_peers", format!("{info_hash}6:noseed1:x6:scrapele"), Answer::Response));
    for odd in odd_tokens {
        cases.push(("announce_peer", format!("{own_hash}4:porti6881e{odd}"), Answer::Error(203)));
        cases.push(("put", format!("{odd}1:v5:hello"), Answer::Error(203)));
    }
    for odd in odd_ports {
        cases.push(("announce_peer", format!("{own_hash}{odd}5:token{token}"), Answer::Error(203)));
        let implied = format!("12:implied_porti1e{own_hash}{odd}5:token{token}");
        cases.push(("announce_peer", implied, Answer::Response));
    }
    let put = arguments["put"].strip_suffix("1:v5:hello").unwrap();
    let (key, signature) = (format!("1:k32:{}", "k".repeat(32)), format!("3:sig64:{}", "s".repeat(64)));
    for (odd, code) in [
        (String::new(), 203),
        ("1:vi007e".to_owned(), 203),
        (format!("{key}1:v5:hello"), 203),
        (format!("{key}3:seqi1e1:v5:hello"), 203),
        (format!("{key}{signature}1:v5:hello"), 203),
        (format!("3:seqi1e{signature}1:v5:hello"), 203),
        (format!("1:k31:{}3:seqi1e{signature}1:v5:hello", "k".repeat(31)), 203),
        (format!("{key}3:seqi1e3:sig2:ss1:v5:hello"), 203),
        (format!("{key}3:seq1:1{signature}1:v5:hello"), 203),
        (format!("{key}3:seqi1e{signature}1:v5:hello"), 203),
    ] {
        cases.push(("put", format!("{put}{odd}"), Answer::Error(code)));
    }
    for (method, odd, expected) in cases {
        let datagram = whole(method, &odd, "aa", "");
        assert_eq!(answer(&mut rig, addr(1), &datagram, b"aa"), expected, "{method} with {odd}");
    }
}

#[test]
fn an_odd_id_or_outer_field_is_answered_as_stated_for_every_method() {
    let mut rig = Rig::new(lifted(), Instant::now());
    let arguments = complete(&mut rig, addr(1));
    for method in METHODS {
        let (len, arguments) = (method.len(), &arguments[method]);
        for (datagram, expected) in [
            (format!("d1:ad{arguments}e1:q{len}:{method}1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:ad2:id19:abcdefghij012345678{arguments}e1:q{len}:{method}1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:ad2:idi7e{arguments}e1:q{len}:{method}1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:ale1:q{len}:{method}1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:q{len}:{method}1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:qi7e1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:t2:aa1:y1:qe"), Answer::Error(203)),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{len}:{method}1:ti7e1:y1:qe"), Answer::Silence),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{len}:{method}1:y1:qe"), Answer::Silence),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{len}:{method}1:t2:aa1:yi7ee"), Answer::Silence),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{len}:{method}1:t2:aa1:y2:qqe"), Answer::Silence),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{len}:{method}1:t2:aae"), Answer::Silence),
            (format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{len}:{method}1:t2:aa1:y1:q"), Answer::Silence),
            (format!("d1:y1:q1:t2:aa1:q{len}:{method}1:ad{arguments}2:id20:abcdefghij0123456789ee"), Answer::Response),
            (
                format!(
                    "d1:ad2:id20:abcdefghij0123456789{arguments}e2:ip3:abc1:q{len}:{method}2:ro1:x1:rde1:t2:aa1:vle1:y1:qe"
                ),
                Answer::Response,
            ),
        ] {
            assert_eq!(answer(&mut rig, addr(1), &bytes(&datagram), b"aa"), expected, "{datagram}");
        }
    }
}

#[test]
fn every_truncation_and_byte_flip_of_every_method_is_answered_or_met_with_silence() {
    let mut rig = Rig::new(lifted(), Instant::now());
    let arguments = complete(&mut rig, addr(1));
    for method in METHODS {
        let datagram = whole(method, &arguments[method], "aa", "");
        for end in 0..datagram.len() {
            assert_eq!(answer(&mut rig, addr(1), &datagram[..end], b""), Answer::Silence, "{method}, {end} bytes");
        }
        for at in 0..datagram.len() {
            for flip in [0x01, 0x08, 0x80] {
                let mut bent = datagram.clone();
                bent[at] ^= flip;
                rig.tell(addr(1), &bent);
            }
        }
    }
    rig.node.check_invariants();
}

#[test]
fn garbage_and_responses_that_nobody_asked_for_get_no_answer_and_leave_no_trace() {
    // A million in an optimised build: cargo test --release -p magnes-dht --test server
    let count = if cfg!(debug_assertions) { 50_000 } else { 1_000_000u32 };
    let mut rig = Rig::new(exempt(), Instant::now());
    rig.fill(50);
    let before = rig.node.stats(rig.now);
    let mut datagram = Vec::new();
    for number in 0..count {
        let mut id = [0x33; 20];
        id[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let mut response = Response::new(NodeId::new(id));
        let node = [&id[..], &[99, 1, 2, 3, 0x1a, 0xe1]].concat();
        response.nodes = Some(&node);
        let transaction = number.to_be_bytes();
        let body = match number % 3 {
            0 => Body::Error { code: 201, text: b"x" },
            _ => Body::Response(response),
        };
        datagram.clear();
        Message { transaction: &transaction[number as usize % 3..], version: None, ip: None, body }
            .encode(&mut datagram);
        if number % 7 == 0 {
            datagram.truncate(number as usize % datagram.len());
        }
        assert_eq!(rig.tell(addr(number % 100_000), &datagram), 0);
    }
    let after = rig.node.stats(rig.now);
    assert_eq!((after.contacts, after.traffic.responses_in), (before.contacts, before.traffic.responses_in));
    assert_eq!(after.traffic.drops.total() - before.traffic.drops.total(), u64::from(count));
    rig.node.check_invariants();
}

#[test]
fn a_flooded_network_is_sent_4_kb_a_second_and_everybody_else_is_answered() {
    // 50,000 queries a second in the name of one /24, whoever sends them, and 200 a second from others.
    let seconds = if cfg!(debug_assertions) { 3 } else { 20u32 };
    let mut rig = Rig::new(NodeConfig::default(), Instant::now());
    rig.fill(200);
    let flood = query(STRANGER, false, Method::GetPeers { info_hash: INFO_HASH, noseed: false, scrape: false });
    let start = rig.now;
    let (mut to_victim, mut asked, mut answered) = (0, 0, 0);
    for tick in 0..seconds * 50_000 {
        rig.now = start + Duration::from_micros(u64::from(tick) * 20);
        let victim = SocketAddr::from(([66, 6, 6, tick as u8], 6881));
        rig.node.handle_datagram(rig.now, rig.socket, victim, &flood);
        while let Some(output) = rig.node.poll_output() {
            if let Output::Transmit { to, payload, .. } = output
                && to.ip() == victim.ip()
            {
                to_victim += payload.len();
            }
        }
        if tick % 250 == 0 {
            asked += 1;
            let honest = query(STRANGER, true, Method::FindNode { target: INFO_HASH.into() });
            answered += u32::from(rig.tell(addr(10_000 + tick / 250), &honest) > 0);
        }
    }
    // The share that was saved up when it began is two seconds' worth.
    assert!(to_victim <= 4000 * (seconds as usize + 2), "{to_victim} bytes in {seconds} s");
    assert!(answered * 100 >= asked * 99, "{answered} of {asked} honest queries answered");
}

#[test]
fn no_reply_is_longer_than_1024_bytes_and_none_with_a_value_than_1400() {
    let mut rig = Rig::new(exempt(), Instant::now());
    rig.fill(400);
    let asker = addr(1);
    for number in 0..300 {
        let token = rig.token(addr(number), INFO_HASH.into()).unwrap();
        let method = Method::AnnouncePeer {
            info_hash: INFO_HASH,
            port: None,
            implied_port: true,
            seed: number % 2 == 0,
            token: &token,
        };
        rig.tell(addr(number), &query(STRANGER, true, method));
    }
    let value = [b"996:".to_vec(), vec![b'x'; 996]].concat();
    let target = item::immutable_target(&value);
    let token = rig.token(asker, target).unwrap();
    assert!(
        rig.tell(
            asker,
            &query(STRANGER, true, Method::Put { target: None, token: &token, value: &value, mutable: None })
        ) > 0
    );
    for (method, len_max) in [
        (Method::GetPeers { info_hash: INFO_HASH, noseed: false, scrape: false }, 1024),
        (Method::GetPeers { info_hash: INFO_HASH, noseed: false, scrape: true }, 1024),
        (Method::SampleInfohashes { target }, 1024),
        (Method::FindNode { target }, 1024),
        (Method::Get { target, seq: None }, 1400),
    ] {
        for transaction in ["aa", &"t".repeat(32)] {
            let mut datagram = Vec::new();
            let asked = query(STRANGER, true, method);
            let message = Message { transaction: transaction.as_bytes(), ..Message::decode(&asked).unwrap() };
            message.encode(&mut datagram);
            let len = rig.tell(asker, &datagram);
            assert!((200..=len_max).contains(&len), "{len} bytes to {method:?}");
        }
    }
}

#[test]
fn only_addresses_that_a_node_can_have_are_handed_out() {
    let mut rig = Rig::new(exempt(), Instant::now());
    let good: Vec<SocketAddr> = (0..60).map(addr).collect();
    let never = [
        "127.0.0.1:6881",
        "10.0.0.1:6881",
        "192.168.3.4:6881",
        "172.16.9.9:6881",
        "169.254.1.1:6881",
        "100.64.0.9:6881",
        "0.1.2.3:6881",
        "224.0.0.251:5353",
        "255.255.255.255:6881",
        "240.1.1.1:6881",
        "192.0.2.7:6881",
        "81.2.3.4:0",
        "82.2.3.4:53",
        "83.2.3.4:1023",
        "80.1.2.3:6881",
    ];
    assert!(never.contains(&SocketAddr::from(LOCAL).to_string().as_str()), "its own address too");
    // Whoever queries it, is named to it or answers it: all try to get into its table.
    for (number, from) in good.iter().copied().chain(never.map(|text| text.parse().unwrap())).enumerate() {
        let mut id = [number as u8; 20];
        id[0] = (number as u8).wrapping_mul(67);
        let id = NodeId::new(id);
        rig.node.add_node(rig.now, from);
        rig.node.handle_datagram(rig.now, rig.socket, from, &query(id, false, Method::Ping));
        let mut queries = Vec::new();
        while let Some(output) = rig.node.poll_output() {
            let Output::Transmit { to, payload, .. } = output else { continue };
            if let Ok(Message { transaction, body: Body::Query(_), .. }) = Message::decode(payload) {
                queries.push((to, transaction.to_vec()));
            }
        }
        for (to, transaction) in queries {
            let mut datagram = Vec::new();
            let body = Body::Response(Response::new(id));
            Message { transaction: &transaction, version: None, ip: None, body }.encode(&mut datagram);
            rig.node.handle_datagram(rig.now, rig.socket, to, &datagram);
        }
        rig.now += Duration::from_millis(50);
        let token = rig.token(good[0], INFO_HASH.into()).unwrap();
        let port = Some(from.port()).filter(|port| *port != 0);
        let method =
            Method::AnnouncePeer { info_hash: INFO_HASH, port, implied_port: false, seed: false, token: &token };
        rig.tell(from, &query(id, true, method));
    }
    let mut handed_out = std::collections::BTreeSet::new();
    for target in 0..=255u8 {
        for method in [
            Method::FindNode { target: Target::new([target; 20]) },
            Method::GetPeers { info_hash: InfoHash::new([target; 20]), noseed: false, scrape: false },
            Method::GetPeers { info_hash: INFO_HASH, noseed: false, scrape: false },
        ] {
            rig.node.handle_datagram(rig.now, rig.socket, good[0], &query(STRANGER, true, method));
            while let Some(output) = rig.node.poll_output() {
                let Output::Transmit { payload, .. } = output else { continue };
                let Body::Response(response) = Message::decode(payload).unwrap().body else { panic!("refused") };
                handed_out.extend(response.nodes_of(Family::V4).map(|Contact { addr, .. }| addr));
                handed_out.extend(response.values.iter());
            }
        }
    }
    assert!(handed_out.len() > 40, "{handed_out:?}");
    for text in never {
        assert!(!handed_out.contains(&text.parse().unwrap()), "{text} is handed out");
    }
}
