//! How the real program finds peers, and where it must not look: all of it on this machine's loopback addresses.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test makes files and asks for IPv6")]

mod program;

use std::path::Path;

use program::{Ended, Program, run};

/// An address where nobody answers, so that no test speaks to the public network.
const NOBODY: &str = "127.0.0.1:1";

/// A file of its own in `home/share`, and the `.torrent` file made of it.
fn make_torrent(home: &Path, extra: &[&str]) {
    let folder = home.join("share");
    std::fs::create_dir_all(&folder).unwrap();
    let bytes: Vec<u8> = (0..600_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(folder.join("data"), bytes).unwrap();
    let create = ["create", "share/data", "-o", "data.torrent"];
    let made = run(create.iter().chain(extra), home);
    assert_eq!(made.code, Some(0), "{made:?}");
}

/// One field of an event, as text.
fn field(line: &str, name: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    event[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
}

fn start_node(home: &Path, listen: &str) -> (Program, String) {
    let node = ["node", "--listen", listen, "--bootstrap", NOBODY, "--state-dir", "state-node", "--json"];
    let node = Program::start(node, home);
    let addr = field(&node.line_with("\"listening\""), "udp");
    (node, addr)
}

/// A seeder; its address, and its magnet link.
fn start_seeder(home: &Path, listen: &str, network: &[&str]) -> (Program, String) {
    let seed = ["seed", "data.torrent", "--data", "share", "--listen", listen, "--state-dir", "state-seed", "--json"];
    let seeder = Program::start(seed.iter().chain(network), home);
    let addr = field(&seeder.line_with("\"listening\""), "tcp");
    (seeder, addr)
}

fn get(home: &Path, source: &str, listen: &str, network: &[&str]) -> Ended {
    let get = ["get", source, "-o", "out", "--listen", listen, "--state-dir", "state-get", "--json"];
    run(get.iter().chain(network), home)
}

fn assert_fetched(got: &Ended, home: &Path) {
    assert_eq!(got.code, Some(0), "{got:?}");
    assert!(std::fs::read(home.join("out/data")).unwrap() == std::fs::read(home.join("share/data")).unwrap());
}

fn magnet(home: &Path) -> String {
    let shown = run(["show", "data.torrent", "--json"], home);
    field(shown.stdout.trim(), "magnet")
}

#[test]
fn over_ipv6_a_magnet_link_is_enough() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: nothing was tried");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    let (_node, bootstrap) = start_node(home, "[::1]:0");
    let (_seeder, _) = start_seeder(home, "[::1]:0", &["--bootstrap", &bootstrap]);
    let got = get(home, &magnet(home), "[::1]:0", &["--bootstrap", &bootstrap, "--timeout", "50"]);
    assert_fetched(&got, home);
}

#[test]
fn a_host_name_in_a_magnet_link_is_resolved() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    let (_seeder, addr) = start_seeder(home, "127.0.0.1:0", &["--no-dht"]);
    let port = addr.rsplit_once(':').unwrap().1;
    let source = format!("{}&x.pe=localhost:{port}", magnet(home));
    assert_fetched(&get(home, &source, "127.0.0.1:0", &["--no-dht", "--timeout", "50"]), home);
}

#[test]
fn the_nodes_of_a_torrent_file_lead_into_the_dht() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (_node, bootstrap) = start_node(home, "127.0.0.1:0");
    make_torrent(home, &["--node", &bootstrap]);
    let (_seeder, _) = start_seeder(home, "127.0.0.1:0", &["--bootstrap", &bootstrap]);
    let got = get(home, "data.torrent", "127.0.0.1:0", &["--bootstrap", NOBODY, "--timeout", "50"]);
    assert_fetched(&got, home);
}

#[test]
fn a_private_torrent_stays_out_of_the_dht() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &["--private"]);
    let (_node, bootstrap) = start_node(home, "127.0.0.1:0");
    let (_seeder, addr) = start_seeder(home, "127.0.0.1:0", &["--bootstrap", &bootstrap]);
    let through_dht = get(home, "data.torrent", "127.0.0.1:0", &["--bootstrap", &bootstrap, "--timeout", "4"]);
    assert_eq!(through_dht.code, Some(3), "{through_dht:?}");
    let hash = field(run(["show", "data.torrent", "--json"], home).stdout.trim(), "info_hash");
    let asked = run(["dht", "get-peers", &hash, "--bootstrap", &bootstrap, "--json"], home);
    assert!(!asked.stdout.contains(&addr), "the seeder was announced: {asked:?}");
    assert_fetched(&get(home, "data.torrent", "127.0.0.1:0", &["--no-dht", "--peer", &addr, "--timeout", "50"]), home);
}

#[test]
fn the_dht_is_told_whether_queries_are_answered() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(home, &[]);
    // Nobody stands between on the loopback network: to answer is what is adapted to.
    for (mode, is_read_only) in [("client", true), ("server", false), ("adaptive", false)] {
        let router = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        router.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let bootstrap = router.local_addr().unwrap().to_string();
        let _seeder = start_seeder(home, "127.0.0.1:0", &["--bootstrap", &bootstrap, "--dht-mode", mode]);
        let mut query = [0; 1500];
        let len = router.recv(&mut query).unwrap();
        let says_so = query[..len].windows(7).any(|field| field == b"2:roi1e");
        assert_eq!(says_so, is_read_only, "{mode}: {:?}", String::from_utf8_lossy(&query[..len]));
    }
}
