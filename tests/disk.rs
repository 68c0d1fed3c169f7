//! A disk that is full, and files that vanish: the data that are there stay, and are used.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test makes files")]

mod program;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Output};

use program::{Program, run};
use serde_json::Value;

const FILE_LEN: usize = 4 << 20;
const COMMON: [&str; 5] = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--state-dir"];

/// Makes `share/big` and `big.torrent`.
fn make(home: &Path) {
    std::fs::create_dir(home.join("share")).unwrap();
    let bytes: Vec<u8> = (0..FILE_LEN).map(|at| (at * 7 / 5 % 251) as u8).collect();
    std::fs::write(home.join("share/big"), bytes).unwrap();
    assert_eq!(run(["create", "share/big", "-o", "big.torrent"], home).code, Some(0));
}

/// A seeder of it, and its address.
fn seed(home: &Path) -> (Program, String) {
    let args = ["seed", "big.torrent", "--data", "share"];
    let seeder = Program::start(args.into_iter().chain(COMMON).chain(["state-seed"]), home);
    let listening: Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
    (seeder, listening["tcp"].as_str().unwrap().to_owned())
}

/// The most verified bytes that any progress of a download tells.
fn bytes_told(stdout: &str) -> u64 {
    let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["phase"] == "downloading").filter_map(|line| line["bytes"].as_u64()).max().unwrap_or(0)
}

/// Runs a shell script with the program as `$MAGNES` and the address of a seeder as `$PEER`.
fn script(home: &Path, namespace: bool, peer: &str, text: &str) -> Output {
    let shell = ["sh", "-ec", text];
    let command = if namespace { [&["unshare", "-Urm"], &shell[..]].concat() } else { shell.to_vec() };
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).current_dir(home).env_remove("MAGNES_LOG");
    process.env("MAGNES", env!("CARGO_BIN_EXE_magnes")).env("PEER", peer);
    process.output().unwrap()
}

fn text_of(home: &Path, name: &str) -> String {
    std::fs::read_to_string(home.join(name)).unwrap()
}

#[test]
fn a_full_disk_is_4_and_what_was_verified_is_used_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::create_dir(home.join("out")).unwrap();
    let mount = "mount -t tmpfs -o size=2m none out";
    let able = Command::new("unshare").args(["-Urm", "sh", "-c", mount]).current_dir(home).output();
    if !able.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: this system makes no small file system for us: {able:?}");
        return;
    }
    make(home);
    let (_seeder, peer) = seed(home);
    let ran = script(
        home,
        true,
        &peer,
        &format!(
            r#"{mount}
            get() {{ name=$1; shift
                "$MAGNES" get big.torrent -o out --listen 127.0.0.1:0 --no-dht --json --state-dir state "$@" \
                    >$name.out 2>$name.err && echo 0 >$name.code || echo $? >$name.code; }}
            get full --peer "$PEER" --timeout 50
            get alone --timeout 1
            mount -o remount,size=16m out
            get again --peer "$PEER" --timeout 50
            cmp out/big share/big"#
        ),
    );
    assert!(ran.status.success(), "{ran:?}");
    let err = text_of(home, "full.err");
    assert_eq!(text_of(home, "full.code"), "4\n", "{err}");
    assert!(err.contains("out/big") && err.contains("bytes more are needed") && err.contains("make room"), "{err}");
    assert!(text_of(home, "full.out").contains("\"error\""));
    // Without a peer it has what it had.
    assert_eq!(text_of(home, "alone.code"), "3\n");
    let kept = bytes_told(&text_of(home, "alone.out"));
    assert!(kept > 1 << 20, "{kept} bytes were kept");
    assert_eq!(text_of(home, "again.code"), "0\n", "{}", text_of(home, "again.err"));
}

#[test]
fn a_file_beyond_the_limit_of_the_process_is_4_and_the_limit_is_named() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    let ran = script(
        home,
        false,
        "",
        r#"ulimit -f 1024
        exec "$MAGNES" get big.torrent -o out --listen 127.0.0.1:0 --no-dht --state-dir state --timeout 20"#,
    );
    let err = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(4), "{err}");
    assert!(err.contains("out/big") && err.contains("ulimit -f"), "{err}");
}

#[test]
fn a_file_that_shrinks_while_it_is_shared_costs_its_pieces_only() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    let (seeder, peer) = seed(home);
    OpenOptions::new().write(true).open(home.join("share/big")).unwrap().set_len(FILE_LEN as u64 - 1).unwrap();
    let get = ["get", "big.torrent", "-o", "out", "--peer", &peer, "--timeout", "2"];
    let got = run(get.into_iter().chain(COMMON).chain(["state"]), home);
    assert_eq!(got.code, Some(3), "{got:?}");
    let got_bytes = bytes_told(&got.stdout);
    assert!((1..FILE_LEN as u64).contains(&got_bytes), "what is there is served: {got:?}");
    seeder.signal("TERM");
    let ended = seeder.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("share/big"), "{ended:?}");
}

#[test]
fn a_longer_file_and_a_link_in_the_way_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    let (_seeder, peer) = seed(home);
    let get = |folder: &str| {
        let get = ["get", "big.torrent", "-o", folder, "--peer", &peer, "--timeout", "20"];
        run(get.into_iter().chain(COMMON).chain(["state"]), home)
    };
    for folder in ["longer", "link"] {
        std::fs::create_dir(home.join(folder)).unwrap();
    }
    let longer = vec![7; FILE_LEN + 1];
    std::fs::write(home.join("longer/big"), &longer).unwrap();
    std::fs::write(home.join("diary"), "dear").unwrap();
    std::os::unix::fs::symlink("../diary", home.join("link/big")).unwrap();
    for (folder, said) in [("longer", "move it away"), ("link", "symbolic link")] {
        let got = get(folder);
        assert_eq!(got.code, Some(4), "{got:?}");
        assert!(got.stderr.contains(&format!("{folder}/big")) && got.stderr.contains(said), "{got:?}");
    }
    assert_eq!(std::fs::read(home.join("longer/big")).unwrap(), longer);
    assert_eq!(text_of(home, "diary"), "dear");
}
