//! Two processes with one state folder.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]

mod program;

use std::ffi::OsStr;
use std::path::Path;

use program::{Ended, Program, run};

/// A DHT that nobody answers in.
const LONELY: [&str; 4] = ["--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:1"];

/// A download of what nobody has, into a folder.
fn get(home: &Path, hash: &str, folder: &str, timeout_s: &str) -> Program {
    let args = ["get", hash, "-o", folder, "--json", "--timeout", timeout_s, "--state-dir", "state"];
    Program::start_with(args.iter().chain(&LONELY), home, &[("MAGNES_LOG", OsStr::new("info"))])
}

#[test]
fn two_nodes_do_not_share_a_table() {
    let home = tempfile::tempdir().unwrap();
    let args = ["node", "--json", "--state-dir", "state"];
    let first = Program::start(args.iter().chain(&LONELY), home.path());
    first.line_with("\"listening\"");
    let second = run(args.iter().chain(&LONELY), home.path());
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("in state") && second.stderr.contains("--state-dir"), "{second:?}");
    // Killed: the lock file stays, and holds nobody.
    drop(first);
    Program::start(args.iter().chain(&LONELY), home.path()).line_with("\"listening\"");
}

#[test]
#[cfg(unix)]
fn two_downloads_with_states_of_their_own_do_not_write_the_same_files() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let seed = "0123456789".repeat(20_000);
    #[allow(clippy::disallowed_methods, reason = "the test makes a file")]
    std::fs::write(home.join("data"), seed).unwrap();
    assert_eq!(run(["create", "data", "-o", "data.torrent"], home).code, Some(0));
    let get = |state: &str, timeout_s: &str| {
        let args = ["get", "data.torrent", "-o", "out", "--json", "--no-dht", "--listen", "127.0.0.1:0"];
        Program::start(args.iter().chain(&["--state-dir", state, "--timeout", timeout_s]), home)
    };
    let first = get("one", "60");
    first.line_with("\"listening\"");
    let second = get("two", "60").end();
    assert_eq!(second.code, Some(4), "{second:?}");
    assert!(second.stderr.contains("out/data is being written by another download"), "{second:?}");
    drop(first);
    assert_eq!(get("two", "1").end().code, Some(3), "whoever was killed holds nothing");
}

#[test]
fn two_downloads_share_a_folder_and_a_torrent_is_had_once() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (hash, other) = ("ab".repeat(20), "cd".repeat(20));
    let first = get(home, &hash, "out", "60");
    first.line_with("\"listening\"");
    let beside = |hash: &str, folder: &str| -> Ended { get(home, hash, folder, "1").end() };

    let another = beside(&other, "out");
    assert_eq!(another.code, Some(3), "it runs until its time is over: {another:?}");
    assert!(another.stderr.contains("another process saves the DHT's table"), "{another:?}");

    let same = beside(&hash, "out");
    assert_eq!(same.code, Some(4), "{same:?}");
    assert!(same.stderr.contains(&hash) && same.stderr.contains("/out: end it first"), "{same:?}");

    let elsewhere = beside(&hash, "elsewhere");
    assert_eq!(elsewhere.code, Some(3), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("no resume file is kept"), "{elsewhere:?}");

    drop(first);
    assert_eq!(beside(&hash, "out").code, Some(3), "whoever was killed holds nothing");
}
