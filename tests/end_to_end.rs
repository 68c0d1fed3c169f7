//! The real program against itself: made, shared, fetched and verified.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, reason = "the test makes and compares files")]

mod program;

use std::io::Write;
use std::path::{Path, PathBuf};

use program::{Program, run};

const FILES: [(&str, usize); 4] = [("a", 1_500_000), ("sub/b", 1_400_001), ("sub/c", 0), ("z", 100_000)];

/// Bytes that differ everywhere, so that a piece at a wrong place is seen.
fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn make_folder(home: &Path) -> PathBuf {
    let folder = home.join("share/things");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    for (index, (name, len)) in FILES.iter().enumerate() {
        std::fs::write(folder.join(name), content(*len, index as u64 + 1)).unwrap();
    }
    folder
}

fn assert_same(folder: &Path) {
    for (index, (name, len)) in FILES.iter().enumerate() {
        let found = std::fs::read(folder.join(name)).unwrap();
        assert!(found == content(*len, index as u64 + 1), "{name} differs");
    }
}

#[test]
fn a_folder_is_made_shared_fetched_and_verified() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = make_folder(home);
    let made = run(["create", folder.to_str().unwrap(), "-o", "things.torrent"], home);
    assert_eq!(made.code, Some(0), "{made:?}");
    let hash = made.stdout.lines().find_map(|line| line.strip_prefix("info hash ")).unwrap().to_owned();

    let common = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--state-dir"];
    let seed = ["seed", "things.torrent", "--data", "share"];
    let seeder = Program::start(seed.into_iter().chain(common).chain(["state-seed"]), home);
    let listening: serde_json::Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
    let peer = listening["tcp"].as_str().unwrap().to_owned();

    for (out, source) in [("by-file", "things.torrent"), ("by-hash", hash.as_str())] {
        let state = format!("state-{out}");
        let get = ["get", source, "-o", out, "--peer", &peer, "--timeout", "50"];
        let got = run(get.into_iter().chain(common).chain([state.as_str()]), home);
        assert_eq!(got.code, Some(0), "{source}: {got:?}");
        assert!(got.stdout.contains("\"complete\""), "{got:?}");
        assert_same(&home.join(out).join("things"));
    }

    let verify = || run(["verify", "things.torrent", "by-hash"], home);
    assert_eq!(verify().code, Some(0));
    let path = home.join("by-hash/things/a");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let verified = verify();
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.stdout.contains("1 piece is missing or bad"), "{verified:?}");

    let longer = home.join("share/things/z");
    std::fs::OpenOptions::new().append(true).open(&longer).unwrap().write_all(b"more").unwrap();
    let verified = run(["verify", "things.torrent", "share"], home);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.stdout.contains("things/z: whole, and 4 bytes longer"), "{verified:?}");
}

#[test]
fn only_the_selected_files_are_fetched_and_the_others_can_follow() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = make_folder(home);
    assert_eq!(run(["create", folder.to_str().unwrap(), "-o", "things.torrent"], home).code, Some(0));
    let common = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--state-dir"];
    let seed = ["seed", "things.torrent", "--data", "share"];
    let seeder = Program::start(seed.into_iter().chain(common).chain(["state-seed"]), home);
    let listening: serde_json::Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
    let peer = listening["tcp"].as_str().unwrap().to_owned();
    let shown: serde_json::Value =
        serde_json::from_str(run(["show", "things.torrent", "--json"], home).stdout.trim()).unwrap();
    let numbers: Vec<(String, u64)> = shown["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap().to_owned(), file["number"].as_u64().unwrap()))
        .collect();
    let number = |path: &str| numbers.iter().find(|(name, _)| name == path).unwrap().1;

    let get = |source: &str, files: &[String]| {
        let get = ["get", source, "-o", "out", "--peer", &peer, "--timeout", "50"];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        run(get.into_iter().chain(common).chain(["state-get"]).chain(files), home)
    };
    let same = |name: &str| {
        std::fs::read(home.join("out/things").join(name)).unwrap() == std::fs::read(folder.join(name)).unwrap()
    };

    let wrong = get("things.torrent", &["--files".into(), "0,17".into()]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("file 17 is selected, but the torrent has the files 0 to 3"), "{wrong:?}");

    // A magnet link that selects the last file, and the empty one.
    let source = format!("{}&so={},{}", shown["magnet"].as_str().unwrap(), number("z"), number("sub/c"));
    let some = get(&source, &[]);
    assert_eq!(some.code, Some(0), "{some:?}");
    assert!(same("z") && same("sub/c"));
    assert!(!home.join("out/things/a").exists(), "a file that shares no piece with a selected one");

    let rest = get("things.torrent", &[]);
    assert_eq!(rest.code, Some(0), "{rest:?}");
    assert_same(&home.join("out/things"));
}

#[cfg(unix)]
#[test]
fn a_folder_is_shared_by_whatever_name_it_is_called() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = make_folder(home);
    std::os::unix::fs::symlink("share/things", home.join("link")).unwrap();
    let common = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--state-dir"];
    let state = home.join("state-seed").into_os_string().into_string().unwrap();
    for (at, path, out) in [(folder.as_path(), ".", "one"), (&folder.join("sub"), "..", "two"), (home, "link", "three")]
    {
        let seeder = Program::start(["seed", path].into_iter().chain(common).chain([state.as_str()]), at);
        let magnet: serde_json::Value = serde_json::from_str(&seeder.line_with("\"magnet\"")).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
        let peer = listening["tcp"].as_str().unwrap();
        let get = ["get", magnet["magnet"].as_str().unwrap(), "-o", out, "--peer", peer, "--timeout", "50"];
        let got = run(get.into_iter().chain(common).chain(["state-get"]), home);
        assert_eq!(got.code, Some(0), "{path}: {got:?}");
    }
    assert_same(&home.join("three/things"));
}
