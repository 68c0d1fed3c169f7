//! Names and links as they come, with the real program: what the torrent says stands on the disk, and what was passed over
//! is said.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_methods, reason = "the test makes and compares files")]

mod program;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use magnes_bencode::Writer;
use program::{Program, run};
use serde_json::Value;
use sha1::{Digest, Sha1};

/// Names that some system folds or refuses, or that are not UTF-8, and the portable ones.
const NAMES: [(&[u8], &str); 8] = [
    (b"README", "README"),
    (b"readme", "readme.1"),
    (b"aux.c", "_aux.c"),
    (b"Q: title.mp3", "Q_ title.mp3"),
    (b"a\\b", "a_b"),
    (b"\xd6\xd0\xce\xc4", "____"),
    ("a\u{200e}b".as_bytes(), "a\u{200e}b"),
    (b"n.txt", "n.txt"),
];

fn content(file: usize) -> Vec<u8> {
    vec![file as u8 + 1; 20_000]
}

/// A `.torrent` file of the names with a value of an odd form; returns its info hash.
fn make_torrent(path: &Path) -> String {
    let all: Vec<u8> = (0..NAMES.len()).flat_map(content).collect();
    let pieces: Vec<u8> = all.chunks(16_384).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let mut info = Vec::new();
    Writer::new(&mut info).dict(|info| {
        info.key(b"files").list(|files| {
            for (index, (name, _)) in NAMES.iter().enumerate() {
                files.dict(|file| {
                    file.key(b"length").int(content(index).len() as i64);
                    file.key(b"path").list(|path| path.bytes(name));
                });
            }
        });
        info.key(b"name").bytes(b"top");
        info.key(b"piece length").int(16_384);
        info.key(b"pieces").bytes(&pieces);
        info.key(b"private").bytes(b"1");
    });
    std::fs::write(path, [b"d8:encoding3:GBK4:info", info.as_slice(), b"etrailing"].concat()).unwrap();
    Sha1::digest(&info).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn place(folder: &Path, file: usize) -> PathBuf {
    folder.join("top").join(OsStr::from_bytes(NAMES[file].0))
}

fn portable_place(folder: &Path, file: usize) -> PathBuf {
    folder.join("top").join(NAMES[file].1)
}

fn is_there(path: &Path, file: usize) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes == content(file))
}

#[test]
fn names_stand_on_the_disk_as_the_torrent_has_them_and_portable_ones_where_they_are_wanted() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    // Blanks and bytes that are no text in the path of the file do no harm.
    let torrent = OsStr::from_bytes(b" \xff.torrent ");
    let hash = make_torrent(&home.join(torrent));
    std::fs::create_dir_all(home.join("share/top")).unwrap();
    (0..NAMES.len()).for_each(|file| std::fs::write(place(&home.join("share"), file), content(file)).unwrap());
    std::fs::copy(home.join(torrent), home.join("t.torrent")).unwrap();

    assert_eq!(run([OsStr::new("verify"), torrent, OsStr::new("share")], home).code, Some(0));
    let common = ["--listen", "127.0.0.1:0", "--no-dht", "--json", "--state-dir"];
    let seed = ["seed", "t.torrent", "--data", "share"];
    let seeder = Program::start(seed.into_iter().chain(common).chain(["state-seed"]), home);
    let listening: Value = serde_json::from_str(&seeder.line_with("\"listening\"")).unwrap();
    let peer = listening["tcp"].as_str().unwrap().to_owned();

    let get = |out: &str, source: &str, more: &[&str]| {
        let state = format!("state-{out}");
        let get = ["get", source, "-o", out, "--peer", &peer, "--timeout", "50"];
        run(get.iter().chain(more).chain(&common).chain(&[state.as_str()]), home)
    };
    let got = get("plain", &hash, &[]);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert!((0..NAMES.len()).all(|file| is_there(&place(&home.join("plain"), file), file)), "{got:?}");
    assert!(got.stderr.contains("warning: `private` is not an integer"), "{got:?}");

    let got = get("portable", &hash, &["--portable-names"]);
    assert_eq!(got.code, Some(0), "{got:?}");
    let portable = home.join("portable");
    assert!((0..NAMES.len()).all(|file| is_there(&portable_place(&portable, file), file)), "{got:?}");
    assert!(!place(&portable, 2).exists());
    assert_eq!(run(["verify", "--portable-names", "t.torrent", "portable"], home).code, Some(0));

    // Of what a link selects, the files that exist; what the user selects has to exist.
    let link = format!("<magnet:?xt=urn:btih:{hash}&so=1,99&so=5,&x.pe=nowhere>");
    let got = get("selected", &link, &[]);
    assert_eq!(got.code, Some(0), "{got:?}");
    let there: Vec<usize> =
        (0..NAMES.len()).filter(|file| is_there(&place(&home.join("selected"), *file), *file)).collect();
    assert_eq!(there, [1, 5]);
    assert!(got.stderr.contains("warning: the peer address `x.pe=nowhere` is left out"), "{got:?}");
    assert_eq!(get("selected", &hash, &["--files", "99"]).code, Some(2));
}

#[test]
fn what_was_passed_over_and_renamed_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_torrent(&home.join("t.torrent"));
    let show = |source: &str| -> Value {
        let shown = run(["show", "--json", source], home);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        serde_json::from_str(&shown.stdout).unwrap()
    };
    let shown = show("t.torrent");
    assert_eq!(shown["files"][5]["path"], "\u{4e2d}\u{6587}", "in the encoding of the file");
    let warnings = shown["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(shown["renamed"], Value::Array(vec![]));
    let raw = format!("d4:infod6:lengthi1e4:name4:a/..12:piece lengthi1e6:pieces20:{}ee", "h".repeat(20));
    std::fs::write(home.join("slash.torrent"), raw).unwrap();
    assert_eq!(show("slash.torrent")["renamed"], serde_json::json!([{ "from": "a/..", "to": "a_.." }]));
    assert!(run(["show", "slash.torrent"], home).stdout.contains("renamed    a/.. -> a_.."));
    let link = show(&format!("magnet:?xt=urn:btih:{}&so=x", "ab".repeat(20)));
    assert_eq!(link["warnings"].as_array().unwrap().len(), 1);
}
