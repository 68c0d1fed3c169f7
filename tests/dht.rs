//! `magnes dht` as a process, against a node of this machine's loopback network.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test makes and looks at files")]

mod program;

use std::path::Path;
use std::time::{Duration, Instant};

use program::{Ended, Program, run};
use serde_json::Value;

/// An address where nobody answers, so that no test speaks to the public network.
const NOBODY: &str = "127.0.0.1:1";

fn start_node(home: &Path) -> (Program, String) {
    let node = ["node", "--listen", "127.0.0.1:0", "--bootstrap", NOBODY, "--state-dir", "state-node", "--json"];
    let node = Program::start(node, home);
    let listening: Value = serde_json::from_str(&node.line_with("\"listening\"")).unwrap();
    let addr = listening["udp"].as_str().unwrap().to_owned();
    (node, addr)
}

/// Asks with the node to begin with; the answers under JSON.
fn ask(home: &Path, bootstrap: &str, question: &[&str]) -> (Ended, Vec<Value>) {
    let options = ["--bootstrap", bootstrap, "--listen", "127.0.0.1:0", "--timeout", "20", "--json"];
    answers(run(["dht"].iter().chain(question).chain(&options), home))
}

fn answers(ended: Ended) -> (Ended, Vec<Value>) {
    let answers = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (ended, answers)
}

#[track_caller]
fn done((ended, mut answers): (Ended, Vec<Value>)) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    answers.pop().unwrap_or_else(|| panic!("no answer: {ended:?}"))
}

/// Makes a key in the file `me.key`.
#[track_caller]
fn keygen(home: &Path) -> Value {
    let made = run(["dht", "keygen", "me.key", "--json"], home);
    assert_eq!(made.code, Some(0), "{made:?}");
    serde_json::from_str(&made.stdout).unwrap()
}

#[track_caller]
fn fails(ended: &Ended, code: i32, why: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stderr.contains(why), "{why}: {ended:?}");
}

#[test]
fn an_immutable_item_is_put_and_found() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (_node, bootstrap) = start_node(home);
    let put = done(ask(home, &bootstrap, &["put", "Hello World!"]));
    assert_eq!(put["target"], "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    assert_eq!(put["acknowledged"], 1);
    let got = done(ask(home, &bootstrap, &["get", put["target"].as_str().unwrap()]));
    assert_eq!((&got["value"], &got["bytes"]), (&"Hello World!".into(), &15.into()));

    let get = ["dht", "get", put["target"].as_str().unwrap(), "--bootstrap", &bootstrap, "--listen", "127.0.0.1:0"];
    let plain = run(get, home);
    assert_eq!((plain.code, plain.stdout.as_str()), (Some(0), "Hello World!\n"));
    let raw = run(get.iter().chain(&["--raw"]), home);
    assert_eq!((raw.code, raw.stdout.as_str()), (Some(0), "12:Hello World!\n"), "the reader of lines ends it");

    std::fs::write(home.join("list"), "l5:helloi7ee").unwrap();
    let put = done(ask(home, &bootstrap, &["put", "--file", "list", "--bencoded"]));
    let got = done(ask(home, &bootstrap, &["get", put["target"].as_str().unwrap()]));
    assert_eq!((&got["value"], &got["bytes"]), (&Value::Null, &12.into()));
    let (missing, _) = ask(home, &bootstrap, &["get", &"ab".repeat(20)]);
    fails(&missing, 1, "no such item");
}

#[test]
fn a_mutable_item_gets_its_sequence_numbers_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (_node, bootstrap) = start_node(home);
    let made = keygen(home);
    let key = made["key"].as_str().unwrap().to_owned();
    let secret = std::fs::read_to_string(home.join("me.key")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(home.join("me.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = run(["dht", "keygen", "me.key"], home);
    fails(&again, 2, "me.key exists");
    assert_eq!(std::fs::read_to_string(home.join("me.key")).unwrap(), secret);
    assert!(!again.stderr.contains(secret.trim()) && !made.to_string().contains(secret.trim()));

    for (seq, value) in [(1, "one"), (2, "two"), (3, "three")] {
        let put = done(ask(home, &bootstrap, &["put", "--key", "me.key", "--salt", "s", value]));
        assert_eq!((&put["seq"], &put["key"]), (&seq.into(), &Value::from(key.as_str())));
    }
    let got = done(ask(home, &bootstrap, &["get", "--key", &key, "--salt", "s"]));
    assert_eq!((&got["value"], &got["seq"]), (&"three".into(), &3.into()));
    let got = done(ask(home, &bootstrap, &["get", "--key", &key, "--salt-hex", "73"]));
    assert_eq!(got["seq"], 3);

    let with = |more: &[&str]| {
        let put = ["put", "--key", "me.key", "--salt", "s", "other"];
        ask(home, &bootstrap, &put.iter().chain(more).copied().collect::<Vec<_>>())
    };
    fails(&with(&["--seq", "2"]).0, 1, "sequence number 3 is stored, higher than 2");
    fails(&with(&["--seq", "3"]).0, 1, "another value has sequence number 3 already");
    fails(&with(&["--cas", "1"]).0, 1, "sequence number 3 is stored and 1 was expected");
    fails(&with(&["--cas", "7"]).0, 1, "sequence number 3 is stored and 7 was expected");
    assert_eq!(done(with(&["--cas", "3"]))["seq"], 4);
    assert_eq!(done(with(&["--seq", &i64::MAX.to_string()]))["seq"], i64::MAX);
    fails(&with(&[]).0, 2, "9223372036854775807 is the last");
}

#[test]
fn what_cannot_be_put_is_told_with_its_size() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let long = "x".repeat(997);
    fails(&ask(home, NOBODY, &["put", &long]).0, 2, "a value of 1001 bytes, bencoded; an item has room for 1000");
    std::fs::write(home.join("large"), vec![b'x'; 70_000]).unwrap();
    fails(&ask(home, NOBODY, &["put", "--file", "large"]).0, 2, "large has 70000 bytes; an item has room for 1000");
    fails(&ask(home, NOBODY, &["put", "--bencoded", "hello"]).0, 2, "not canonical bencode");
    fails(&ask(home, NOBODY, &["put", "--file", "none"]).0, 4, "cannot read none");
    keygen(home);
    let salt = "s".repeat(65);
    let salted = ask(home, NOBODY, &["put", "--key", "me.key", "--salt", &salt, "hello"]).0;
    fails(&salted, 2, "a salt of 65 bytes; the limit is 64");
    fails(&ask(home, NOBODY, &["put", "--key", "large", "hello"]).0, 2, "is no key file");
    fails(&ask(home, NOBODY, &["put"]).0, 2, "required");
    fails(&ask(home, NOBODY, &["get", "abc"]).0, 2, "no hash of an item");
    fails(&ask(home, NOBODY, &["get", "magnet:?xs=urn:btpk:abc"]).0, 5, "not a public key");
}

#[test]
fn a_publishers_magnet_link_leads_to_the_torrent() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (_node, bootstrap) = start_node(home);
    std::fs::write(home.join("data"), vec![7; 100_000]).unwrap();
    let seed = ["seed", "data", "--listen", "127.0.0.1:0", "--state-dir", "state-seed", "--json", "--bootstrap"];
    let seeder = Program::start(seed.iter().chain(&[bootstrap.as_str()]), home);
    let magnet: Value = serde_json::from_str(&seeder.line_with("\"magnet\"")).unwrap();
    let info_hash = magnet["info_hash"].as_str().unwrap();
    seeder.line_with("\"listening\"");

    // A seed announces itself as one.
    let deadline = Instant::now() + Duration::from_secs(60);
    // The announce may be under way: until it is there, nobody knows the torrent.
    while ask(home, &bootstrap, &["scrape", info_hash]).1[0]["seeds"] != 1 {
        assert!(Instant::now() < deadline, "no seed is counted");
    }

    keygen(home);
    let put = ["put", "--key", "me.key", "--salt", "n", "--torrent", info_hash];
    let link = done(ask(home, &bootstrap, &put))["magnet"].as_str().unwrap().to_owned();
    assert!(link.starts_with("magnet:?xs=urn:btpk:") && link.ends_with("&s=6e"), "{link}");
    let got = done(ask(home, &bootstrap, &["get", &link]));
    assert_eq!(got["info_hash"], info_hash);

    for folder in ["first", "second"] {
        let get = ["get", &link, "-o", folder, "--listen", "127.0.0.1:0", "--bootstrap", &bootstrap, "--timeout", "50"];
        let fetched = run(get.iter().chain(&["--state-dir", "state-get"]), home);
        assert_eq!(fetched.code, Some(0), "{fetched:?}");
        assert_eq!(std::fs::read(home.join(folder).join("data")).unwrap(), vec![7; 100_000]);
    }
    let shown = run(["show", &link], home);
    assert_eq!(shown.code, Some(0), "{shown:?}");
}

#[test]
fn a_torrent_is_counted_and_sampled() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (_node, bootstrap) = start_node(home);
    let info_hash = "dd8255ecdc7ca55fb0bbf81323d87062db1f6d1c";
    let (unknown, _) = ask(home, &bootstrap, &["scrape", info_hash]);
    fails(&unknown, 1, "nobody knows the torrent");
    done(ask(home, &bootstrap, &["announce", info_hash, "--port", "7000"]));
    let count = done(ask(home, &bootstrap, &["scrape", info_hash]));
    assert_eq!((&count["seeds"], &count["downloaders"]), (&0.into(), &1.into()));
    let of_one = run(["dht", "sample", "--node", &bootstrap, "--json"], home);
    assert_eq!(of_one.code, Some(0), "{of_one:?}");
    for samples in [done(ask(home, &bootstrap, &["sample"])), serde_json::from_str(&of_one.stdout).unwrap()] {
        assert_eq!(samples["samples"], serde_json::json!([info_hash]));
        assert_eq!(samples["num"], 1);
    }
}

#[test]
fn a_host_that_does_not_answer_is_named() {
    let home = tempfile::tempdir().unwrap();
    let question = ["dht", "get", &"ab".repeat(20), "--bootstrap", NOBODY, "--listen", "127.0.0.1:0", "--timeout", "1"];
    let ended = run(question, home.path());
    fails(&ended, 3, "127.0.0.1:1: no answer");
}

#[test]
fn a_node_of_the_public_network_is_pinged_on_its_own_machine_by_name_and_by_number() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let node = ["node", "--listen", "0.0.0.0:0", "--no-bootstrap", "--state-dir", "state-node", "--json"];
    let node = Program::start(node, home);
    let listening: Value = serde_json::from_str(&node.line_with("\"listening\"")).unwrap();
    let (_, port) = listening["udp"].as_str().unwrap().rsplit_once(':').unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let answer = done(answers(run(["dht", "ping", &format!("{host}:{port}"), "--json"], home)));
        assert_eq!(answer["node_id"], listening["node_id"]);
    }
    fails(&run(["dht", "ping", NOBODY], home), 1, "127.0.0.1:1 does not answer");
    fails(&run(["dht", "ping", "localhost"], home), 2, "the port is missing: write HOST:PORT");
}

#[test]
fn a_lookup_is_shown_step_by_step() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (_node, bootstrap) = start_node(home);
    let (ended, steps) = ask(home, &bootstrap, &["trace", &"ab".repeat(20)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let step =
        |name: &str| steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{name}: {ended:?}"));
    assert_eq!((&step("asked")["addr"], &step("asked")["named_by"]), (&bootstrap.as_str().into(), &Value::Null));
    let answered = step("answered");
    assert_eq!(
        (&answered["addr"], &answered["token"], &answered["bep42"]),
        (&step("asked")["addr"], &true.into(), &true.into())
    );
    assert!(answered["rtt_ms"].as_f64().unwrap() > 0.0);
    let end = steps.last().unwrap();
    assert_eq!((&end["event"], &end["asked"], &end["answered"]), (&"traced".into(), &1.into(), &1.into()));

    let trace = ["dht", "trace", &"ab".repeat(20), "--bootstrap", &bootstrap, "--listen", "127.0.0.1:0"];
    let plain = run(trace, home);
    assert!(plain.stdout.contains("ask      127.0.0.1:") && plain.stdout.contains("answer   127.0.0.1:"), "{plain:?}");
    assert!(plain.stdout.contains("1 of 1 nodes answered"), "{plain:?}");
}
