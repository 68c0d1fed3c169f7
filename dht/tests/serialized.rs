//! What programs write out of the API with feature `serde`: names and forms that stay.
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]

use magnes_dht::item::{Item, MutableItem, SigningKey};
use magnes_dht::{AnnouncePort, Contact, NodeId, NodeMode, PingAnswer, Stats};
use serde_json::{from_value, json, to_value};
use std::time::Duration;

#[test]
fn what_programs_keep_is_read_back() {
    let contact = Contact { id: NodeId::new([0xab; 20]), addr: "[2001:db8::1]:6881".parse().unwrap() };
    let written = to_value(contact).unwrap();
    assert_eq!(written, json!({ "id": "ab".repeat(20), "addr": "[2001:db8::1]:6881" }));
    assert_eq!(from_value::<Contact>(written).unwrap(), contact);
    assert!(from_value::<NodeId>(json!("ab")).is_err(), "an id has 40 digits");
    for (mode, name) in [(NodeMode::Server, "server"), (NodeMode::Client, "client"), (NodeMode::Adaptive, "adaptive")] {
        assert_eq!(to_value(mode).unwrap(), name);
        assert_eq!(from_value::<NodeMode>(json!(name)).unwrap(), mode);
    }
    assert_eq!(to_value(AnnouncePort::Explicit(7)).unwrap(), json!({ "explicit": 7 }));
}

#[test]
fn bytes_are_hexadecimal_and_counts_have_names() {
    let item = MutableItem::sign(&SigningKey::from_bytes(&[7; 32]), b"\x01\xff", 3, b"1:a".to_vec()).unwrap();
    let written = to_value(Item::Mutable(item)).unwrap();
    let fields = &written["mutable"];
    assert_eq!((&fields["salt"], &fields["value"], &fields["seq"]), (&json!("01ff"), &json!("313a61"), &json!(3)));
    assert_eq!(fields["signature"].as_str().unwrap().len(), 128);
    assert_eq!(to_value(Item::Immutable(b"0:".to_vec())).unwrap(), json!({ "immutable": "303a" }));

    let stats = to_value(Stats::default()).unwrap();
    assert_eq!(stats["contacts"], 0);
    assert_eq!(stats["traffic"]["queries_in"]["get_peers"], 0);
    assert_eq!(stats["traffic"]["drops"]["prefix_bytes"], 0);
    let refused = PingAnswer::Refused { code: 201, rtt: Duration::from_millis(5) };
    assert_eq!(to_value(refused).unwrap()["refused"]["code"], 201);
}
