//! What stands on the disk already: data that may only be read, files of the user's own, and too few open files.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test makes files")]

mod program;

use std::net::TcpStream;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use program::{Ended, Program, run};
use serde_json::Value;

const COMMON: [&str; 5] = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--state-dir"];

fn bytes() -> Vec<u8> {
    (0..200_000_u32).map(|at| (at * 7 / 5 % 251) as u8).collect()
}

/// Makes `share/data` and `data.torrent`.
fn make(home: &Path) {
    std::fs::create_dir(home.join("share")).unwrap();
    std::fs::write(home.join("share/data"), bytes()).unwrap();
    assert_eq!(run(["create", "share/data", "-o", "data.torrent", "--piece-length", "16384"], home).code, Some(0));
}

/// A seeder of a torrent whose data are in `share`, and its address.
fn seed(home: &Path, torrent: &str) -> (Program, String) {
    let args = ["seed", torrent, "--data", "share"];
    let seeder = Program::start(args.into_iter().chain(COMMON).chain(["state-seed"]), home);
    let listening: Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
    (seeder, listening["tcp"].as_str().unwrap().to_owned())
}

fn get(home: &Path, folder: &str, more: &[&str]) -> Ended {
    let args = ["get", "data.torrent", "-o", folder, "--timeout", "50"];
    run(args.iter().chain(more).chain(&COMMON).chain(&["state"]), home)
}

/// Runs a shell script with the program as `$MAGNES`.
fn script(home: &Path, command: &[&str], text: &str) -> Output {
    let command: Vec<&str> = command.iter().copied().chain(["sh", "-ec", text]).collect();
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).current_dir(home).env("XDG_STATE_HOME", home.join("state")).env_remove("MAGNES_LOG");
    process.env("MAGNES", env!("CARGO_BIN_EXE_magnes")).output().unwrap()
}

#[test]
fn a_file_of_the_users_own_is_kept_unless_it_is_to_be_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    let (_seeder, peer) = seed(home, "data.torrent");
    for (folder, own) in [("shorter", &b"my own notes"[..]), ("as-long", &[7; 200_000])] {
        std::fs::create_dir(home.join(folder)).unwrap();
        let path = home.join(folder).join("data");
        std::fs::write(&path, own).unwrap();
        let refused = get(home, folder, &["--peer", &peer]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(refused.stderr.contains("get --overwrite") && refused.stderr.contains("another folder"), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), own);
        let got = get(home, folder, &["--peer", &peer, "--overwrite"]);
        assert_eq!(got.code, Some(0), "{got:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes());
    }
    // A true beginning is resumed.
    std::fs::create_dir(home.join("begun")).unwrap();
    std::fs::write(home.join("begun/data"), &bytes()[..100_000]).unwrap();
    assert_eq!(get(home, "begun", &["--peer", &peer]).code, Some(0));
    assert_eq!(std::fs::read(home.join("begun/data")).unwrap(), bytes());
}

#[test]
fn a_download_that_was_killed_knows_its_files_and_another_state_does_not() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    let (_seeder, peer) = seed(home, "data.torrent");
    let getter = Program::start(["get", "data.torrent", "-o", "out"].iter().chain(&COMMON).chain(&["state"]), home);
    getter.line_with("\"downloading\"");
    getter.signal("KILL");
    assert_eq!(getter.end().code, None);
    // A block came, and no whole piece.
    let path = home.join("out/data");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[7; 10_000], 20_000).unwrap();
    let args = ["get", "data.torrent", "-o", "out", "--timeout", "50", "--peer", &peer];
    let refused = run(args.iter().chain(&COMMON).chain(&["state-another"]), home);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert_eq!(get(home, "out", &["--peer", &peer]).code, Some(0));
    assert_eq!(std::fs::read(&path).unwrap(), bytes());
}

#[test]
fn idle_connections_leave_room_for_files_and_for_others() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    let args = ["seed", "data.torrent", "--data", "share"].into_iter().chain(COMMON).chain(["state-seed"]);
    let seeder = Program::start_by(r#"ulimit -n 64; exec "$@""#, args, home);
    let listening: Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
    let peer = listening["tcp"].as_str().unwrap();
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(peer).unwrap()).collect();
    // Sooner than the idle ones have to have said what they want.
    let args = ["get", "data.torrent", "-o", "out", "--timeout", "10", "--peer", peer];
    let got = run(args.iter().chain(&COMMON).chain(&["state"]), home);
    assert_eq!(got.code, Some(0), "{got:?}");
    drop(idle);
    seeder.signal("TERM");
    let ended = seeder.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn data_that_can_only_be_read_are_complete_and_what_is_missing_there_is_4() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let able = script(home, &["unshare", "-Urm"], "mkdir ro; mount --bind -o ro ro ro && mount -o remount,bind,ro ro");
    if !able.status.success() {
        eprintln!("NOT TESTED: this system mounts nothing for us: {able:?}");
        return;
    }
    make(home);
    let ran = script(
        home,
        &["unshare", "-Urm"],
        r#"mkdir cut; cp share/data cut; truncate -s 100000 cut/data
        for folder in share cut; do mount --bind $folder $folder; mount -o remount,bind,ro $folder; done
        get() { "$MAGNES" get data.torrent -o $1 --listen 127.0.0.1:0 --no-dht --timeout 20; }
        get share
        "$MAGNES" verify data.torrent share
        code=0; get cut 2>err || code=$?; [ $code = 4 ]"#,
    );
    assert!(ran.status.success(), "{ran:?}");
    let err = std::fs::read_to_string(home.join("err")).unwrap();
    assert!(err.contains("cut/data") && err.contains("ead-only"), "{err}");
}

#[test]
fn data_behind_a_link_are_complete_and_what_is_missing_is_not_written_there() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    std::fs::create_dir(home.join("linked")).unwrap();
    symlink("../share/data", home.join("linked/data")).unwrap();
    assert_eq!(get(home, "linked", &[]).code, Some(0));
    assert_eq!(run(["verify", "data.torrent", "linked"], home).code, Some(0));
    let cut = &bytes()[..100_000];
    std::fs::write(home.join("share/data"), cut).unwrap();
    let refused = get(home, "linked", &[]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("symbolic link") && refused.stderr.contains("linked/data"), "{refused:?}");
    assert_eq!(std::fs::read(home.join("share/data")).unwrap(), cut);
}

#[test]
fn few_open_files_are_no_verdict_about_many() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::create_dir_all(home.join("share/many")).unwrap();
    for index in 0..400_u32 {
        std::fs::write(home.join("share/many").join(index.to_string()), index.to_le_bytes().repeat(100)).unwrap();
    }
    assert_eq!(run(["create", "share/many", "-o", "many.torrent"], home).code, Some(0));
    let (_seeder, peer) = seed(home, "many.torrent");
    for limit in ["-Sn 64", "-n 64"] {
        let text = format!(
            r#"ulimit {limit}
            "$MAGNES" verify many.torrent share
            "$MAGNES" get many.torrent -o "out{limit}" --listen 127.0.0.1:0 --no-dht --timeout 50 --peer {peer}
            "$MAGNES" verify many.torrent "out{limit}""#
        );
        let ran = script(home, &[], &text);
        assert!(ran.status.success(), "{limit}: {ran:?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_called_bad() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::create_dir_all(home.join("share/two")).unwrap();
    std::fs::write(home.join("share/two/a"), bytes()).unwrap();
    std::fs::write(home.join("share/two/b"), [&bytes()[..], b"b"].concat()).unwrap();
    assert_eq!(run(["create", "share/two", "-o", "data.torrent", "--piece-length", "16384"], home).code, Some(0));
    // Opening it fails for everybody, and is no answer to what is in it.
    std::fs::remove_file(home.join("share/two/b")).unwrap();
    symlink("b", home.join("share/two/b")).unwrap();
    let verified = run(["verify", "data.torrent", "share"], home);
    assert_eq!(verified.code, Some(4), "{verified:?}");
    assert!(verified.stdout.contains("not checked: cannot open") && verified.stdout.contains("two/b"), "{verified:?}");
    assert!(!verified.stdout.contains("missing"), "{verified:?}");
    assert!(verified.stdout.contains("12 of 25 pieces verified, 13 could not be read"), "{verified:?}");
    let got = get(home, "share", &[]);
    assert_eq!(got.code, Some(4), "{got:?}");
    assert!(got.stderr.contains("13 pieces cannot be read") && got.stderr.contains("two/b"), "{got:?}");
    // Where something is left to serve, it is served.
    let args = ["seed", "data.torrent", "--data", "share"];
    let seeder = Program::start(args.iter().chain(&COMMON).chain(&["state"]), home);
    seeder.line_with("\"listening\"");
    seeder.signal("TERM");
    assert!(seeder.end().stderr.contains("13 pieces cannot be read"));
    std::fs::remove_file(home.join("share/two/a")).unwrap();
    symlink("a", home.join("share/two/a")).unwrap();
    let seeded = run(args.iter().chain(&COMMON).chain(&["state"]), home);
    assert_eq!(seeded.code, Some(4), "{seeded:?}");
}

#[test]
fn the_torrents_own_folder_is_understood_and_a_file_is_no_folder() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make(home);
    assert_eq!(run(["verify", "data.torrent", "share/data"], home).code, Some(0), "a single file");
    assert_eq!(run(["create", "share", "-o", "share.torrent"], home).code, Some(0));
    for folder in [".", "share", "./share/"] {
        assert_eq!(run(["verify", "share.torrent", folder], home).code, Some(0), "{folder}");
    }
    let refused = get(home, "data.torrent", &[]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("data.torrent is no folder"), "{refused:?}");
}

#[test]
fn a_torrent_is_made_without_itself_and_what_is_left_out_is_named() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::create_dir(home.join("share")).unwrap();
    std::fs::write(home.join("share/a"), "a").unwrap();
    symlink("..", home.join("share/up")).unwrap();
    let _socket = UnixListener::bind(home.join("share/socket")).unwrap();
    let create = ["create", "share", "-o", "share/share.torrent"];
    for more in [&[][..], &["--force"]] {
        let made = run(create.iter().chain(more), home);
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stderr.contains("share/up: a symbolic link"), "{made:?}");
        assert!(made.stderr.contains("share/socket: no plain file"), "{made:?}");
        let shown = run(["show", "share/share.torrent", "--json"], home);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["files"].as_array().unwrap().len(), 1, "{shown}");
    }
    let over_itself = run(["create", "share/a", "-o", "share/a", "--force"], home);
    assert_eq!(over_itself.code, Some(2), "{over_itself:?}");
    assert_eq!(std::fs::read(home.join("share/a")).unwrap(), b"a");
}
