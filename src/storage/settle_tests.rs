#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the tests make files")]

use super::*;
use crate::model::{FileSelection, Metainfo, NewFile, NewTorrent, PieceIndex};
use sha1::{Digest, Sha1};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

const PIECE_LEN: u32 = 32_768;

/// The bytes of all files: piece 4 is zeros.
fn content() -> Vec<u8> {
    let at = |at: u32| if at / PIECE_LEN == 4 { 0 } else { (at * 7 % 251) as u8 | 1 };
    (0..6 * PIECE_LEN).map(at).collect()
}

/// `large` has pieces 0 to 2, then come `small` and `next` in piece 3, `none` without bytes, and `zeros` in 4 and 5.
fn layout(folder: &Path) -> Layout {
    let file = |name: &str, len| NewFile { path: vec![name.into()], len };
    let len = u64::from(PIECE_LEN);
    let files = [("large", 3 * len), ("small", 100), ("next", len - 100), ("none", 0), ("zeros", 2 * len)];
    let torrent = NewTorrent {
        name: "top".into(),
        files: Some(files.map(|(name, len)| file(name, len)).into()),
        total_len: 6 * len,
        piece_len: PIECE_LEN,
        pieces: content().chunks(PIECE_LEN as usize).flat_map(|piece| Sha1::digest(piece).to_vec()).collect(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
        nodes: Vec::new(),
    };
    Layout::new(folder, Arc::new(Metainfo::parse(torrent.encode()).unwrap().info))
}

fn pieces(indexes: &[u32]) -> Bitfield {
    let mut pieces = Bitfield::empty(6);
    for index in indexes {
        pieces.insert(PieceIndex::new(*index));
    }
    pieces
}

/// The files that stand in the folder.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = folder.join("top").read_dir() else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder in which one file stands.
fn with_file(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("top")).unwrap();
    std::fs::write(folder.path().join("top").join(name), bytes).unwrap();
    folder
}

#[test]
fn what_is_complete_needs_its_empty_files_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(&folder.path().join("not/there"));
    let settled = settle(&layout, &Bitfield::full(6), None, false).unwrap();
    assert!(settled.lock.is_none());
    assert_eq!(names(&folder.path().join("not/there")), ["none"]);
}

#[test]
fn files_are_made_whose_pieces_are_missing() {
    let made = |known: &[u32], selected: Option<&str>| {
        let folder = tempfile::tempdir().unwrap();
        let mut layout = layout(folder.path());
        if let Some(selected) = selected {
            layout.select(&selected.parse::<FileSelection>().unwrap()).unwrap();
        }
        let settled = settle(&layout, &pieces(known), None, false).unwrap();
        (names(folder.path()), settled.own)
    };
    assert_eq!(made(&[3, 4, 5], None), (vec!["large".into(), "none".into()], vec![true, false, false, false, false]));
    assert_eq!(made(&[], None).0, ["large", "next", "none", "small", "zeros"]);
    let (names, own) = made(&[], Some("1"));
    assert_eq!(names, ["small"], "its neighbour is made when its bytes come");
    assert_eq!(own, [false, true, true, false, false]);
    assert_eq!(made(&[], Some("3")).0, ["none"], "a file without bytes that is selected");
}

#[test]
fn a_file_that_may_be_the_users_own_is_refused_whatever_its_length() {
    let own = b"my own notes".repeat(10_000);
    let lens = [1, 100, 40_000, 3 * PIECE_LEN as usize, 3 * PIECE_LEN as usize + 1];
    for (name, lens) in [("large", &lens[..]), ("small", &[1, 99, 100, 101])] {
        for len in lens {
            let folder = with_file(name, &own[..*len]);
            let layout = layout(folder.path());
            let refused = settle(&layout, &pieces(&[]), None, false);
            let named = matches!(&refused, Err(DiskError::Foreign { path } | DiskError::TooLong { path, .. }) if path.ends_with(name));
            assert!(named, "{name} {len}: {refused:?}");
            assert_eq!(names(folder.path()), [name], "nothing was made beside it");
            assert_eq!(std::fs::read(folder.path().join("top").join(name)).unwrap(), own[..*len]);
            settle(&layout, &pieces(&[]), None, true).unwrap();
        }
    }
}

#[test]
fn what_holds_data_of_the_torrent_or_nothing_is_resumed() {
    let all = content();
    let large = 3 * PIECE_LEN as usize;
    // A part of piece 1 that came out of order, in a file of the torrent's length with holes.
    let mut partial = vec![0; large];
    partial[50_000..60_000].copy_from_slice(&all[50_000..60_000]);
    type Case<'a> = (&'a str, &'a str, &'a [u8], &'a [u32], bool);
    let cases: [Case<'_>; 11] = [
        ("an empty file", "large", b"", &[], true),
        ("zeros", "large", &vec![0; large], &[], true),
        ("fewer zeros", "small", &[0; 7], &[], true),
        ("a true beginning", "large", &all[..40_000], &[0], true),
        ("a beginning shorter than a piece", "large", &all[..20_000], &[], false),
        ("its bytes belong to a verified piece, another is missing", "large", &all[..large], &[2], true),
        ("a small file beside a piece that is not verified", "small", &all[large..large + 100], &[0], false),
        ("blocks of no verified piece and nothing else", "large", &partial, &[], false),
        ("the same beside other files of which pieces are verified", "large", &partial, &[5], true),
        ("written all over beside such files", "large", &[7; 3 * PIECE_LEN as usize], &[5], false),
        (
            "zeros that the torrent has too say nothing",
            "zeros",
            &[&[0; PIECE_LEN as usize][..], b"x"].concat(),
            &[4],
            false,
        ),
    ];
    for (what, name, bytes, have, resumed) in cases {
        let folder = with_file(name, bytes);
        let result = settle(&layout(folder.path()), &pieces(have), None, false);
        assert_eq!(result.is_ok(), resumed, "{what}: {result:?}");
    }
}

#[test]
fn what_we_made_is_ours_until_another_file_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let own = settle(&layout, &pieces(&[]), None, false).unwrap().own;
    let path = folder.path().join("x.resume");
    Resume::new(&layout, &pieces(&[]), &own, Vec::new()).save(&path).unwrap();
    let resume = Resume::load(&path, &layout.info().hash()).unwrap();
    // Blocks came of which no piece was whole when the process was killed.
    let large = folder.path().join("top/large");
    std::fs::write(&large, vec![7; 3 * PIECE_LEN as usize]).unwrap();
    assert!(matches!(settle(&layout, &pieces(&[]), None, false), Err(DiskError::Foreign { .. })));
    settle(&layout, &pieces(&[]), resume.as_ref(), false).unwrap();
    let another = folder.path().join("another");
    std::fs::write(&another, vec![7; 3 * PIECE_LEN as usize]).unwrap();
    std::fs::rename(&another, &large).unwrap();
    let refused = settle(&layout, &pieces(&[]), resume.as_ref(), false);
    assert!(matches!(refused, Err(DiskError::Foreign { .. })), "{refused:?}");
}

#[test]
fn a_longer_file_is_left_alone_when_whole_and_cut_only_when_asked() {
    let mut bytes = content()[..3 * PIECE_LEN as usize].to_vec();
    bytes.extend_from_slice(b"more");
    let folder = with_file("large", &bytes);
    let layout = layout(folder.path());
    let len = || folder.path().join("top/large").metadata().unwrap().len();
    settle(&layout, &pieces(&[0, 1, 2]), None, false).unwrap();
    assert_eq!(len(), u64::from(3 * PIECE_LEN) + 4);
    assert!(matches!(settle(&layout, &pieces(&[0, 1]), None, false), Err(DiskError::TooLong { .. })));
    settle(&layout, &pieces(&[0, 1]), None, true).unwrap();
    assert_eq!(len(), u64::from(3 * PIECE_LEN));
}

#[test]
fn whoever_downloads_it_already_is_named_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    let first = settle(&layout, &pieces(&[]), None, false).unwrap();
    let file = OpenOptions::new().write(true).open(folder.path().join("top/large")).unwrap();
    sys::write_all_at(&file, &[b"a block of a piece that is not whole"], 5).unwrap();
    let second = settle(&layout, &pieces(&[]), None, false);
    assert!(matches!(second, Err(DiskError::InUse { .. })) || cfg!(not(unix)), "{second:?}");
    drop(first);
}

#[test]
fn a_target_that_is_no_folder_and_a_folder_in_a_files_place_are_named() {
    let folder = with_file("large", b"");
    let refused = settle(&layout(&folder.path().join("top/large")), &pieces(&[]), None, true);
    assert!(matches!(&refused, Err(DiskError::TargetIsFile { path }) if path.ends_with("large")), "{refused:?}");
    std::fs::create_dir(folder.path().join("top/small")).unwrap();
    let refused = settle(&layout(folder.path()), &pieces(&[]), None, true);
    assert!(matches!(&refused, Err(DiskError::IsFolder { path }) if path.ends_with("small")), "{refused:?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("top"), "").unwrap();
    let refused = settle(&layout(folder.path()), &pieces(&[]), None, true);
    assert!(matches!(refused, Err(DiskError::NotFolder { .. })), "{refused:?}");
}
