use super::*;
use crate::{Family, InfoHash, NodeId, Target};
use proptest::prelude::*;
use std::net::SocketAddr;

const QUERY_ID: NodeId = NodeId::new(*b"abcdefghij0123456789");
const REPLY_ID: NodeId = NodeId::new(*b"mnopqrstuvwxyz123456");
const INFO_HASH: InfoHash = InfoHash::new(*b"mnopqrstuvwxyz123456");

fn message<'a>(body: Body<'a>) -> Message<'a> {
    Message { transaction: b"aa", version: None, ip: None, body }
}

fn query<'a>(method: Method<'a>) -> Message<'a> {
    message(Body::Query(Query { id: QUERY_ID, read_only: false, want: Want::default(), method }))
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// The message is written as exactly these bytes, and they read as the message.
#[track_caller]
fn assert_both_ways(message: &Message<'_>, bytes: &[u8]) {
    let written = encoded(message);
    assert_eq!(written, bytes, "{} != {}", written.escape_ascii(), bytes.escape_ascii());
    assert_eq!(Message::decode(bytes).as_ref(), Ok(message));
}

#[test]
fn bep_5_ping_and_error() {
    assert_both_ways(&query(Method::Ping), b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe");
    let response = message(Body::Response(Response::new(REPLY_ID)));
    assert_both_ways(&response, b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re");
    let error = message(Body::Error { code: ErrorCode::Generic.number(), text: b"A Generic Error Ocurred" });
    assert_both_ways(&error, b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee");
}

#[test]
fn bep_5_find_node() {
    let target = Target::new(*b"mnopqrstuvwxyz123456");
    assert_both_ways(
        &query(Method::FindNode { target }),
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
    );
    // The example's "def456..." stands for compact nodes; nine bytes are less than one of them.
    let response = Response { nodes: Some(b"def456..."), ..Response::new(NodeId::new(*b"0123456789abcdefghij")) };
    assert_both_ways(
        &message(Body::Response(response)),
        b"d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re",
    );
    assert_eq!(response.nodes_of(Family::V4).count(), 0);
}

#[test]
fn bep_5_get_peers() {
    assert_both_ways(
        &query(Method::GetPeers { info_hash: INFO_HASH, noseed: false, scrape: false }),
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
    );
    let peers =
        [SocketAddr::from(([b'a', b'x', b'j', b'e'], 0x2e75)), SocketAddr::from(([b'i', b'd', b'h', b't'], 0x6e6d))];
    let response = Response { token: Some(b"aoeusnth"), values: Values::of(&peers), ..Response::new(QUERY_ID) };
    assert_both_ways(
        &message(Body::Response(response)),
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    );
    let response = Response { token: Some(b"aoeusnth"), nodes: Some(b"def456..."), ..Response::new(QUERY_ID) };
    assert_both_ways(
        &message(Body::Response(response)),
        b"d1:rd2:id20:abcdefghij01234567895:nodes9:def456...5:token8:aoeusnthe1:t2:aa1:y1:re",
    );
}

#[test]
fn bep_5_announce_peer() {
    let method = Method::AnnouncePeer {
        info_hash: INFO_HASH,
        port: Some(6881),
        implied_port: true,
        seed: false,
        token: b"aoeusnth",
    };
    assert_both_ways(
        &query(method),
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    );
}

#[test]
fn bep_33_scrape() {
    assert_both_ways(
        &query(Method::GetPeers { info_hash: INFO_HASH, noseed: true, scrape: true }),
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1ee1:q9:get_peers1:t2:aa1:y1:qe",
    );
    let (seeds, peers) = ([1; 256], [2; 256]);
    let response = Response { seeds_filter: Some(&seeds), peers_filter: Some(&peers), ..Response::new(REPLY_ID) };
    let mut bytes = b"d1:rd4:BFpe256:".to_vec();
    bytes.extend([2; 256]);
    bytes.extend(b"4:BFsd256:");
    bytes.extend([1; 256]);
    bytes.extend(b"2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re");
    assert_both_ways(&message(Body::Response(response)), &bytes);
}

#[test]
fn a_put_with_a_condition_that_cannot_be_read_is_not_unconditional() {
    for odd in ["i99999999999999999999e", "1:3", "le"] {
        let mut bytes = format!("d1:ad3:cas{odd}2:id20:abcdefghij01234567891:k32:").into_bytes();
        bytes.extend([7; 32]);
        bytes.extend(b"3:seqi4e3:sig64:");
        bytes.extend([8; 64]);
        bytes.extend(b"5:token1:t1:v1:xe1:q3:put1:t2:aa1:y1:qe");
        let Ok(Message { body: Body::Query(query), .. }) = Message::decode(&bytes) else { panic!("{odd}") };
        let Method::Put { mutable: Some(put), .. } = query.method else { panic!("{:?}", query.method) };
        assert!(put.cas.is_some_and(|cas| cas < 0), "{odd}: {:?}", put.cas);
    }
}

#[test]
fn bep_44_get_and_put() {
    let target = Target::new(*b"mnopqrstuvwxyz123456");
    assert_both_ways(
        &query(Method::Get { target, seq: Some(3) }),
        b"d1:ad2:id20:abcdefghij01234567893:seqi3e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
    );
    assert_both_ways(
        &query(Method::Put { token: b"aoeusnth", value: b"12:Hello World!", mutable: None, target: None }),
        b"d1:ad2:id20:abcdefghij01234567895:token8:aoeusnth1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe",
    );
    let (key, signature) = ([b'k'; 32], [b's'; 64]);
    let mutable = MutablePut { key: &key, signature: &signature, seq: 4, cas: Some(3), salt: b"foobar" };
    let mut bytes = b"d1:ad3:casi3e2:id20:abcdefghij01234567891:k32:".to_vec();
    bytes.extend(key);
    bytes.extend(b"4:salt6:foobar3:seqi4e3:sig64:");
    bytes.extend(signature);
    bytes.extend(b"5:token8:aoeusnth1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe");
    assert_both_ways(
        &query(Method::Put { token: b"aoeusnth", value: b"12:Hello World!", mutable: Some(mutable), target: None }),
        &bytes,
    );
    let response = Response {
        key: Some(&key),
        nodes: Some(b""),
        seq: Some(4),
        signature: Some(&signature),
        token: Some(b"aoeusnth"),
        value: Some(b"12:Hello World!"),
        ..Response::new(REPLY_ID)
    };
    let mut bytes = b"d1:rd2:id20:mnopqrstuvwxyz1234561:k32:".to_vec();
    bytes.extend(key);
    bytes.extend(b"5:nodes0:3:seqi4e3:sig64:");
    bytes.extend(signature);
    bytes.extend(b"5:token8:aoeusnth1:v12:Hello World!e1:t2:aa1:y1:re");
    assert_both_ways(&message(Body::Response(response)), &bytes);
}

#[test]
fn bep_33_a_seed_announces_itself() {
    let method = Method::AnnouncePeer {
        info_hash: INFO_HASH,
        port: Some(6881),
        implied_port: false,
        seed: true,
        token: b"aoeusnth",
    };
    assert_both_ways(
        &query(method),
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti0e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e4:seedi1e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    );
}

#[test]
fn bep_44_immutable_get() {
    let target = Target::new(*b"mnopqrstuvwxyz123456");
    assert_both_ways(
        &query(Method::Get { target, seq: None }),
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
    );
    let response = Response {
        nodes: Some(b"def456..."),
        nodes6: Some(b"def456...6"),
        token: Some(b"aoeusnth"),
        value: Some(b"d1:ali1ei-2ee1:b3:xyze"),
        ..Response::new(REPLY_ID)
    };
    assert_both_ways(
        &message(Body::Response(response)),
        b"d1:rd2:id20:mnopqrstuvwxyz1234565:nodes9:def456...6:nodes610:def456...65:token8:aoeusnth1:vd1:ali1ei-2ee1:b3:xyzee1:t2:aa1:y1:re",
    );
}

#[test]
fn bep_44_the_vectors_as_packets() {
    for item in crate::item::tests::vectors() {
        let mutable =
            MutablePut { key: &item.key, signature: &item.signature, seq: item.seq, cas: None, salt: &item.salt };
        let mut bytes = b"d1:ad2:id20:abcdefghij01234567891:k32:".to_vec();
        bytes.extend(item.key);
        if !item.salt.is_empty() {
            bytes.extend(b"4:salt6:foobar");
        }
        bytes.extend(b"3:seqi1e3:sig64:");
        bytes.extend(item.signature);
        bytes.extend(b"5:token8:aoeusnth1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe");
        assert_both_ways(
            &query(Method::Put { token: b"aoeusnth", value: &item.value, mutable: Some(mutable), target: None }),
            &bytes,
        );
    }
    // As the mainline crate wants it.
    let put =
        Method::Put { token: b"aoeusnth", value: b"12:Hello World!", mutable: None, target: Some(INFO_HASH.into()) };
    assert_both_ways(
        &query(put),
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234565:token8:aoeusnth1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe",
    );
    // What is stored is not newer than the sequence number that was asked with: key, value and signature are left out.
    let response = Response { seq: Some(i64::MAX), token: Some(b"aoeusnth"), ..Response::new(REPLY_ID) };
    assert_both_ways(
        &message(Body::Response(response)),
        b"d1:rd2:id20:mnopqrstuvwxyz1234563:seqi9223372036854775807e5:token8:aoeusnthe1:t2:aa1:y1:re",
    );
}

#[test]
fn bep_5_and_44_errors() {
    for (code, number, text) in [
        (ErrorCode::Generic, "201", "A Generic Error Ocurred"),
        (ErrorCode::Server, "202", "Server Error"),
        (ErrorCode::Protocol, "203", "Protocol Error"),
        (ErrorCode::MethodUnknown, "204", "Method Unknown"),
        (ErrorCode::ValueTooBig, "205", "message (v field) too big"),
        (ErrorCode::BadSignature, "206", "invalid signature"),
        (ErrorCode::SaltTooBig, "207", "salt (salt field) too big"),
        (ErrorCode::CasMismatch, "301", "the CAS hash mismatched, re-read value and try again"),
        (ErrorCode::SequenceTooLow, "302", "sequence number less than current"),
    ] {
        let bytes = format!("d1:eli{number}e{}:{text}e1:t2:aa1:y1:ee", text.len());
        let error = message(Body::Error { code: code.number(), text: text.as_bytes() });
        assert_both_ways(&error, bytes.as_bytes());
    }
}

#[test]
fn bep_51_sample_infohashes() {
    let target = Target::new(*b"mnopqrstuvwxyz123456");
    assert_both_ways(
        &query(Method::SampleInfohashes { target }),
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q17:sample_infohashes1:t2:aa1:y1:qe",
    );
    let response = Response {
        samples: Some(b"mnopqrstuvwxyz123456"),
        interval_s: Some(21600),
        num: Some(1),
        nodes: Some(b""),
        ..Response::new(REPLY_ID)
    };
    assert_both_ways(
        &message(Body::Response(response)),
        b"d1:rd2:id20:mnopqrstuvwxyz1234568:intervali21600e5:nodes0:3:numi1e7:samples20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
    );
}

#[test]
fn outer_fields_and_want() {
    let body =
        Body::Query(Query { id: QUERY_ID, read_only: true, want: Want { v4: true, v6: true }, method: Method::Ping });
    let with_all = Message { version: Some(b"UT"), ip: Some("1.2.3.4:5".parse().unwrap()), ..message(body) };
    assert_both_ways(
        &with_all,
        b"d1:ad2:id20:abcdefghij01234567894:wantl2:n42:n6ee2:ip6:\x01\x02\x03\x04\x00\x051:q4:ping2:roi1e1:t2:aa1:v2:UT1:y1:qe",
    );
    let unknown_wants = b"d1:ad2:id20:abcdefghij01234567894:wantl2:n8i4eee1:q4:ping1:t2:aa1:y1:qe";
    assert_eq!(Message::decode(unknown_wants), Ok(query(Method::Ping)));
}

#[test]
fn transaction_ids_of_any_length_up_to_32_bytes() {
    for len in 0..=40 {
        let datagram =
            [format!("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t{len}:").as_bytes(), &vec![b'x'; len], b"1:y1:qe"]
                .concat();
        match Message::decode(&datagram) {
            Ok(message) => assert_eq!((message.transaction.len(), len <= 32), (len, true)),
            Err(error) => {
                assert!(len > 32);
                assert_eq!(error, DecodeError { fault: KrpcFault::LongTransactionId, answer_to: None });
            }
        }
    }
}

#[test]
fn oddities_of_real_messages_do_no_harm() {
    let ping = query(Method::Ping);
    for datagram in [
        &b"d1:y1:q1:t2:aa1:q4:ping1:ad2:id20:abcdefghij0123456789ee"[..],
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qetrailing",
        b"d1:ad2:id20:abcdefghij01234567891:zli1ei2eee2:ip3:abc1:q4:ping1:t2:aa1:xde1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:ro1:11:t2:aa1:vi7e1:y1:qe",
        b"d1:ad2:id20:abcdefghij01234567894:porti99999999999999999999e4:seedi18446744073709551616e1:zi-18446744073709551616ee1:q4:ping2:roi18446744073709551616e1:t2:aa1:y1:qe",
    ] {
        assert_eq!(Message::decode(datagram), Ok(ping), "{}", datagram.escape_ascii());
    }
}

#[test]
fn values_of_both_families_in_a_list_or_one_string() {
    let mut datagram = b"d1:rd2:id20:mnopqrstuvwxyz1234566:valuesl6:axje.ui1e3:abc18:".to_vec();
    datagram.extend([1; 18]);
    datagram.extend(b"ee1:t2:aa1:y1:re");
    let Body::Response(response) = Message::decode(&datagram).unwrap().body else { panic!() };
    let peers: Vec<_> = response.values.iter().map(|peer| peer.is_ipv4()).collect();
    assert_eq!(peers, [true, false]);

    let datagram = b"d1:rd2:id20:mnopqrstuvwxyz1234566:values14:axje.uidhtnmxxe1:t2:aa1:y1:re";
    let Body::Response(response) = Message::decode(datagram).unwrap().body else { panic!() };
    assert_eq!(response.values.iter().count(), 2);
}

#[test]
fn broken_queries_are_named_and_answered_and_the_rest_is_silence() {
    for (datagram, fault, answered) in [
        (&b""[..], KrpcFault::NotBencode, false),
        (b"i1e", KrpcFault::NotBencode, false),
        (b"d1:t2:aa1:y1:q", KrpcFault::NotBencode, false),
        (b"d2:roi1x2e1:t2:aa1:y1:qe", KrpcFault::NotBencode, false),
        (b"d1:y1:qe", KrpcFault::NoTransactionId, false),
        (b"d1:t2:aae", KrpcFault::NoType, false),
        (b"d1:t2:aa1:y1:ze", KrpcFault::NoType, false),
        (b"d1:t2:aa1:y1:re", KrpcFault::NoBody, false),
        (b"d1:rd2:id2:xxe1:t2:aa1:y1:re", KrpcFault::BadId, false),
        (b"d1:e3:abc1:t2:aa1:y1:ee", KrpcFault::BadError, false),
        (b"d1:t2:aa1:y1:qe", KrpcFault::NoMethod, true),
        (b"d1:q4:ping1:t2:aa1:y1:qe", KrpcFault::NoBody, true),
        (b"d1:ade1:q4:ping1:t2:aa1:y1:qe", KrpcFault::BadId, true),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe", KrpcFault::BadTarget, true),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q9:get_peers1:t2:aa1:y1:qe", KrpcFault::BadTarget, true),
        (b"d1:ad2:id20:abcdefghij0123456789e1:q3:put1:t2:aa1:y1:qe", KrpcFault::BadPut, true),
        (b"d1:ad2:id20:abcdefghij01234567891:v1:xe1:q3:put1:t2:aa1:y1:qe", KrpcFault::BadToken, true),
        (b"d1:ad2:id20:abcdefghij01234567893:seqi1e5:token1:x1:v1:xe1:q3:put1:t2:aa1:y1:qe", KrpcFault::BadPut, true),
    ] {
        let answer_to = answered.then_some(&b"aa"[..]);
        assert_eq!(Message::decode(datagram), Err(DecodeError { fault, answer_to }), "{}", datagram.escape_ascii());
    }
}

#[test]
fn an_announce_needs_a_port_unless_it_is_implied() {
    let announce = |arguments: &str| {
        format!(
            "d1:ad2:id20:abcdefghij0123456789{arguments}9:info_hash20:mnopqrstuvwxyz1234565:token1:xe\
             1:q13:announce_peer1:t2:aa1:y1:qe"
        )
    };
    for (arguments, good) in [
        ("", false),
        ("4:porti0e", false),
        ("4:porti65536e", false),
        ("4:porti-1e", false),
        ("4:port2:80", false),
        ("4:porti65535e", true),
        ("12:implied_porti1e", true),
        ("12:implied_porti1e4:porti0e", true),
    ] {
        let result = Message::decode(announce(arguments).as_bytes()).map(|_| ()).map_err(|error| error.fault);
        assert_eq!(result, if good { Ok(()) } else { Err(KrpcFault::BadPort) }, "{arguments}");
    }
}

#[test]
fn unknown_methods_show_the_target_they_have() {
    for (argument, target) in
        [("", false), ("6:target20:mnopqrstuvwxyz123456", true), ("9:info_hash20:mnopqrstuvwxyz123456", true)]
    {
        let datagram = format!("d1:ad2:id20:abcdefghij0123456789{argument}e1:q4:vote1:t2:aa1:y1:qe");
        let target = target.then_some(Target::from(INFO_HASH));
        assert_eq!(Message::decode(datagram.as_bytes()), Ok(query(Method::Unknown { name: b"vote", target })));
    }
}

#[test]
fn a_large_response_loses_nodes_before_peers_and_fits() {
    let nodes = vec![1; 8 * 26];
    let nodes6 = vec![2; 8 * 38];
    let peers: Vec<SocketAddr> = (0..80u8).map(|n| SocketAddr::from(([1, 2, 3, n], 99))).collect();
    let response = Response {
        nodes: Some(&nodes),
        nodes6: Some(&nodes6),
        token: Some(&[b't'; 100]),
        values: Values::of(&peers),
        ..Response::new(REPLY_ID)
    };
    let datagram = encoded(&message(Body::Response(response)));
    assert!(datagram.len() <= PAYLOAD_LEN_MAX && datagram.len() > PAYLOAD_LEN_MAX - 38);
    let Body::Response(read) = Message::decode(&datagram).unwrap().body else { panic!() };
    assert_eq!((read.values.iter().count(), read.nodes_of(Family::V4).count()), (VALUES_MAX, 8));
    assert!(read.nodes_of(Family::V6).count() < 8);

    let peers: Vec<SocketAddr> = (0..60u16).map(|n| SocketAddr::from(([n; 8], 99))).collect();
    let response = Response { values: Values::of(&peers), ..response };
    let datagram = encoded(&message(Body::Response(response)));
    assert!(datagram.len() <= PAYLOAD_LEN_MAX);
    let Body::Response(read) = Message::decode(&datagram).unwrap().body else { panic!() };
    assert_eq!(read.nodes_of(Family::V4).count(), 0);
    assert!(read.values.iter().count() >= 38);
}

#[test]
fn a_value_stays_whole_and_the_nodes_give_way() {
    let value = [b"1000:".to_vec(), vec![b'x'; 1000]].concat();
    let nodes = vec![1; 8 * 26];
    let nodes6 = vec![1; 8 * 38];
    let response = Response {
        value: Some(&value),
        nodes: Some(&nodes),
        nodes6: Some(&nodes6),
        key: Some(&[1; 32]),
        signature: Some(&[2; 64]),
        seq: Some(i64::MAX),
        token: Some(b"aoeusnth"),
        ..Response::new(REPLY_ID)
    };
    let datagram = encoded(&message(Body::Response(response)));
    assert!(datagram.len() <= VALUE_PAYLOAD_LEN_MAX);
    let Body::Response(read) = Message::decode(&datagram).unwrap().body else { panic!() };
    assert_eq!(read.value, Some(&value[..]));
    assert!(read.nodes_of(Family::V4).count() < 8);
}

proptest! {
    #[test]
    fn arbitrary_and_bent_datagrams_never_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..80),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let _ = Message::decode(&noise);
        let peers = [SocketAddr::from(([1, 2, 3, 4], 5))];
        let response = Response { values: Values::of(&peers), nodes: Some(&[1; 26]), ..Response::new(REPLY_ID) };
        let mut datagram = encoded(&message(Body::Response(response)));
        for (at, byte) in flips {
            let at = at % datagram.len();
            datagram[at] = byte;
        }
        if let Ok(read) = Message::decode(&datagram) {
            let again = encoded(&read);
            prop_assert!(Message::decode(&again).is_ok());
            if let Body::Response(response) = read.body {
                let _ = response.values.iter().count() + response.nodes_of(Family::V4).count();
            }
        }
    }
}
