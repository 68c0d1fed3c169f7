//! Wrong input given to the real program: every kind has its exit code and a sentence.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test makes files and takes a port")]

mod program;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use program::{Ended, run};

fn get(source: &str, more: &[&str], home: &Path) -> Ended {
    let common = ["get", source, "--no-dht", "--timeout", "1", "--state-dir", "state"];
    run(common.iter().chain(more), home)
}

const LOOPBACK: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A whole `.torrent` file around the bencoded text of an info dictionary.
fn around(info: &str) -> Vec<u8> {
    format!("d4:info{info}e").into_bytes()
}

fn broken_torrents() -> Vec<(&'static str, Vec<u8>)> {
    let hash = "x".repeat(20);
    vec![
        ("empty", Vec::new()),
        ("web page", b"<!DOCTYPE html><html></html>".to_vec()),
        ("zeroes", vec![0; 100]),
        ("a number", b"i1e".to_vec()),
        ("a list", b"le".to_vec()),
        ("no info", b"de".to_vec()),
        ("cut off", b"d4:infod6:lengthi1e".to_vec()),
        ("string longer than the file", b"d4:info99999999999:xe".to_vec()),
        ("too deep", [b"d4:info".to_vec(), vec![b'l'; 100_000]].concat()),
        ("info is a list", around("le")),
        ("info is empty", around("de")),
        ("no name", around(&format!("d6:lengthi1e12:piece lengthi16384e6:pieces20:{hash}e"))),
        ("no length", around(&format!("d4:name1:a12:piece lengthi16384e6:pieces20:{hash}e"))),
        ("no pieces", around("d6:lengthi1e4:name1:a12:piece lengthi16384ee")),
        ("no piece length", around(&format!("d6:lengthi1e4:name1:a6:pieces20:{hash}e"))),
        ("piece length 0", around(&format!("d6:lengthi1e4:name1:a12:piece lengthi0e6:pieces20:{hash}e"))),
        ("piece length below 0", around(&format!("d6:lengthi1e4:name1:a12:piece lengthi-1e6:pieces20:{hash}e"))),
        ("length below 0", around(&format!("d6:lengthi-1e4:name1:a12:piece lengthi16384e6:pieces20:{hash}e"))),
        ("length over 64 bits", around("d6:lengthi99999999999999999999e4:name1:ae")),
        ("too few pieces", around(&format!("d6:lengthi16385e4:name1:a12:piece lengthi16384e6:pieces20:{hash}e"))),
        ("half a piece hash", around("d6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces10:xxxxxxxxxxe")),
        ("name is a number", around(&format!("d6:lengthi1e4:namei1e12:piece lengthi16384e6:pieces20:{hash}e"))),
        ("files is empty", around(&format!("d5:filesle4:name1:a12:piece lengthi16384e6:pieces20:{hash}e"))),
        ("files is a number", around(&format!("d5:filesi1e4:name1:a12:piece lengthi16384e6:pieces20:{hash}e"))),
    ]
}

#[test]
fn a_broken_torrent_file_is_5() {
    let home = tempfile::tempdir().unwrap();
    for (what, bytes) in broken_torrents() {
        std::fs::write(home.path().join("bad.torrent"), bytes).unwrap();
        let ended = get("bad.torrent", &LOOPBACK, home.path());
        assert_eq!(ended.code, Some(5), "{what}: {ended:?}");
        assert!(ended.stderr.contains("bad.torrent"), "{what}: {ended:?}");
    }
}

#[test]
fn a_broken_magnet_link_is_5() {
    let home = tempfile::tempdir().unwrap();
    let links = ["", "magnet:", "magnet:?", "magnet:?dn=x", "magnet:?xt=urn:btih:12", "magnet:?xt=urn:sha1:abc"];
    let others = ["missing.torrent", "https://example.org/a.torrent", "abcdef"];
    for link in links.into_iter().chain(others) {
        let ended = get(link, &LOOPBACK, home.path());
        assert_eq!(ended.code, Some(5), "{link:?}: {ended:?}");
        assert!(!ended.stderr.trim().is_empty(), "{link:?}");
    }
}

#[test]
fn a_hash_that_nobody_has_is_3_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let ended = get(&"ab".repeat(20), &LOOPBACK, home.path());
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("no peers found yet"), "{ended:?}");
}

#[test]
fn a_port_in_use_is_6_and_named() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ended = get(&"ab".repeat(20), &["--listen", &addr], home.path());
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.stderr.contains(&addr), "{ended:?}");
}

#[test]
fn wrong_usage_is_2() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["get"][..], &["nothing"], &["get", "x", "--wrong"], &["get", "x", "--listen", "here"], &["verify"]] {
        let ended = run(args, home.path());
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains("--help"), "{args:?}: {ended:?}");
    }
}

#[test]
fn names_that_other_systems_refuse_are_shared_with_a_warning() {
    let home = tempfile::tempdir().unwrap();
    for name in ["aux.c", "a\\b", "makefile"] {
        let shared = home.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("Makefile"), "all:").unwrap();
        std::fs::write(shared.join(name), "x").unwrap();
        let ended = run(["create", "shared", "--force"], home.path());
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
        assert!(ended.stderr.contains("warning: ") && ended.stderr.contains(name), "{name}: {ended:?}");
        let ended = run(["verify", "shared.torrent", "."], home.path());
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
        std::fs::remove_dir_all(shared).unwrap();
    }
}

#[test]
fn an_existing_file_is_overwritten_only_by_force() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("data"), [1; 1000]).unwrap();
    std::fs::write(at("thesis"), "years of work").unwrap();
    let create = |more: &[&str]| run(["create", "data"].iter().chain(more), home.path());
    for (more, path) in [(&["-o", "thesis"][..], "thesis"), (&[], "data.torrent")] {
        let before = std::fs::read(at(path)).unwrap_or_else(|_| {
            assert_eq!(create(more).code, Some(0));
            std::fs::read(at(path)).unwrap()
        });
        let ended = create(more);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(path) && ended.stderr.contains("--force"), "{ended:?}");
        assert_eq!(std::fs::read(at(path)).unwrap(), before);
        assert_eq!(create(&[more, &["--force"]].concat()).code, Some(0));
        assert!(std::fs::read(at(path)).unwrap().starts_with(b"d10:created by"));
    }
    let mut left: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["data", "data.torrent", "thesis"], "nothing is left beside them");
    assert_eq!(create(&["-o", "."]).code, Some(2), "a folder");
    assert_eq!(create(&["-o", "no/where"]).code, Some(4));
}

#[test]
fn an_output_folder_that_is_a_file_is_4() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("data"), [1; 1000]).unwrap();
    assert_eq!(run(["create", "data", "-o", "data.torrent"], home.path()).code, Some(0));
    std::fs::write(home.path().join("file"), "in the way").unwrap();
    let ended = get("data.torrent", &["-o", "file", "--listen", "127.0.0.1:0"], home.path());
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("file"), "{ended:?}");
}

#[test]
fn a_reader_that_is_gone_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("data"), [1; 1000]).unwrap();
    for args in [&["create", "data"][..], &["show", "data.torrent"], &["verify", "data.torrent", "."]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut program = Command::new(env!("CARGO_BIN_EXE_magnes"));
        let ended = program.args(args).current_dir(home.path()).stdout(writer).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
