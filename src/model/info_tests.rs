use super::*;
use ParseMetainfoError as E;
use proptest::prelude::*;

fn parse(raw: &[u8]) -> Result<Info, E> {
    Info::parse(Bytes::copy_from_slice(raw))
}

/// An `info` of several files with 16-byte pieces, from what stands in `files`.
fn with_files(files: &str, piece_count: usize) -> Result<Info, E> {
    let pieces = "h".repeat(20 * piece_count);
    parse(format!("d5:filesl{files}e4:name1:n12:piece lengthi16e6:pieces{}:{pieces}e", pieces.len()).as_bytes())
}

/// The paths as text of an `info` of several files.
fn paths(files: &str, piece_count: usize) -> Vec<String> {
    let info = with_files(files, piece_count).unwrap();
    info.files().iter().map(|file| info.text(&file.path).into_owned()).collect()
}

#[test]
fn several_files_stand_one_after_the_other() {
    let info = with_files(
        "d6:lengthi20e4:pathl1:d1:aeed4:attr1:p6:lengthi12e4:pathl4:.pad2:12eed6:lengthi0e4:pathl1:beed\
         4:attr1:l4:pathl1:leed6:lengthi1e4:pathl1:d1:aee",
        3,
    )
    .unwrap();
    let files: Vec<_> = info.files().iter().map(|f| (f.path.as_slice(), f.offset, f.len, f.padding)).collect();
    let expected = [
        (&b"d/a"[..], 0, 20, false),
        (b".pad/12", 20, 12, true),
        (b"b", 32, 0, false),
        (b"l", 32, 0, true),
        (b"d/a.1", 32, 1, false),
    ];
    assert_eq!(files, expected);
    assert!(!info.is_single_file());
    assert_eq!(info.renamed().collect::<Vec<_>>(), [Renamed { from: "d/a".into(), to: "d/a.1".into() }]);
    assert_eq!(info.piece_hash(PieceIndex::new(2)), Some(b"hhhhhhhhhhhhhhhhhhhh"));
    assert_eq!(info.piece_hash(PieceIndex::new(3)), None);
    assert_eq!(info.piece_hash(PieceIndex::new(u32::MAX)), None);
}

#[test]
fn names_that_differ_in_case_are_two_files_and_two_folders() {
    let files = "d6:lengthi1e4:pathl6:READMEeed6:lengthi1e4:pathl6:readmeeed6:lengthi1e4:pathl1:D1:aee\
                 d6:lengthi1e4:pathl1:d1:aee";
    assert_eq!(paths(files, 1), ["README", "readme", "D/a", "d/a"]);
    let info = with_files(files, 1).unwrap();
    let (name, folded) = info.names_under(NameRules::PORTABLE);
    assert_eq!(name, b"n");
    assert_eq!(folded, [&b"README"[..], b"readme.1", b"D/a", b"d.1/a"]);
}

#[test]
fn an_entry_without_bytes_and_name_marks_a_folder_and_takes_no_name() {
    let marker = |path: &str| format!("d6:lengthi0e4:pathl{path}eed6:lengthi1e4:pathl3:dir1:aee");
    for path in ["3:dir0:", "3:dir1:.", "0:", "1:.", ""] {
        let info = with_files(&marker(path), 1).unwrap();
        assert!(info.files()[0].padding && !info.files()[1].padding, "{path}");
        assert_eq!(info.files()[1].path, b"dir/a", "{path}");
        assert_eq!(info.renamed().count(), 0, "{path}");
    }
}

#[test]
fn a_component_of_nothing_gets_a_substitute() {
    assert_eq!(paths("d6:lengthi1e4:pathl0:eed6:lengthi1e4:pathl2:..1:.1:xee", 1), ["_", "_.1/_/x"]);
    assert_eq!(paths("d6:lengthi1e4:pathlee", 1), ["_"]);
    for (path, expected) in [
        ("1:/2://", "_/__"),
        ("2:..2:..3:bar", "_/_/bar"),
        ("18:foo/../../../bar//", "foo_.._.._.._bar__"),
        ("8:/foobar/", "_foobar_"),
        ("3:a\0b", "a_b"),
        ("4:\\\\..", "\\\\.."),
    ] {
        assert_eq!(paths(&format!("d6:lengthi1e4:pathl{path}ee"), 1), [expected], "{path}");
    }
}

#[test]
fn names_that_are_not_utf_8_keep_their_bytes_and_are_shown_in_their_encoding() {
    let raw = b"d6:lengthi0e4:name4:\xd6\xd0\xce\xc412:piece lengthi1e6:pieces0:e";
    let info = Info::parse_with(Bytes::from_static(raw), Encoding::for_label(b"GBK")).unwrap();
    assert_eq!((info.name(), info.name_bytes()), ("\u{4e2d}\u{6587}", &b"\xd6\xd0\xce\xc4"[..]));
    assert_eq!(info.files()[0].path, b"\xd6\xd0\xce\xc4");
    assert_eq!(info.names_under(NameRules::PORTABLE).0, b"____");
    let unknown = parse(raw).unwrap();
    assert!(unknown.name().contains('\u{fffd}') && unknown.name_bytes() == info.name_bytes());
    assert_eq!(unknown.renamed().count(), 0);
}

#[test]
fn padding_by_the_convention_of_bitcomet_is_padding() {
    let name = "_____padding_file_0_if you see this file, please update to BitComet 0.85 or above____";
    let padding = format!("d6:lengthi15e4:pathl{}:{name}ee", name.len());
    let info = with_files(&format!("d6:lengthi1e4:pathl1:aee{padding}{padding}"), 2).unwrap();
    assert_eq!(info.files().iter().map(|file| file.padding).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(info.renamed().count(), 0);
}

#[test]
fn what_is_optional_and_odd_is_left_out_with_a_warning() {
    let single =
        |more: &str| parse(format!("d6:lengthi0e4:name1:x12:piece lengthi1e6:pieces0:{more}e").as_bytes()).unwrap();
    for private in ["1:1", "3:i1e", "0:", "le", "de", "i99999999999999999999e"] {
        let info = single(&format!("7:private{private}"));
        assert!(!info.is_private(), "{private}");
        let expected = ParseWarning::WrongForm { key: "private", expected: "an integer" };
        assert_eq!(info.warnings(), [expected], "{private}");
    }
    assert!(single("7:privatei1e7:privatei0e").is_private(), "in any place");
    for name in ["i3e", "0:", "le", "1:\u{0}"] {
        let info = single(&format!("10:name.utf-8{name}"));
        assert_eq!(info.name(), if name == "1:\0" { "_" } else { "x" }, "{name}");
    }
    let not_utf8 = b"d6:lengthi0e4:name1:x10:name.utf-82:\xff\xfe12:piece lengthi1e6:pieces0:e";
    assert_eq!(parse(not_utf8).unwrap().name(), "x");
    assert_eq!(parse(b"d6:lengthi0e4:namei1e10:name.utf-81:y12:piece lengthi1e6:pieces0:e").unwrap().name(), "y");
    assert_eq!(single("5:filesi1e").warnings(), [ParseWarning::WrongForm { key: "files", expected: "a list" }]);
    assert!(single("4:sizei99999999999999999999e").warnings().is_empty(), "a key that nobody needs");

    for (entry, path) in [
        ("d4:attri5e6:lengthi1e4:pathl1:aee", "a"),
        ("d6:lengthi1e4:pathl1:ae10:path.utf-81:be", "a"),
        ("d6:lengthi1e4:pathl1:ae10:path.utf-8lee", "a"),
        ("d6:lengthi1e4:pathl1:ae10:path.utf-8li1eee", "a"),
        ("d6:lengthi1e4:path1:a10:path.utf-8l1:bee", "b"),
        ("d6:lengthi1e10:path.utf-8l1:bee", "b"),
        ("d4:attr1:p6:lengthi1ee", ".pad/1"),
        ("d4:attr1:p6:lengthi1e4:path1:ae", ".pad/1"),
        ("d6:lengthi1e5:mtimei99999999999999999999e4:pathl1:aee", "a"),
    ] {
        assert_eq!(paths(entry, 1), [path], "{entry}");
    }
    let link = with_files("d4:attr1:l6:lengthi3e4:pathl1:aeed6:lengthi1e4:pathl1:bee", 1).unwrap();
    assert_eq!(link.warnings(), [ParseWarning::LinkWithLength]);
    assert_eq!((link.files()[0].len, link.files()[1].offset, link.geometry().total_len()), (0, 0, 1));
    let both = parse(b"d5:filesld6:lengthi0e4:pathl1:aeee6:lengthi9e4:name1:x12:piece lengthi1e6:pieces0:e").unwrap();
    assert!(!both.is_single_file() && both.warnings() == [ParseWarning::LengthBesideFiles]);
}

#[test]
fn piece_lengths_need_not_be_powers_of_two() {
    for piece_len in [1, 3, 16_385, 536_854_528, 536_870_912_u64] {
        let raw = format!("d6:lengthi1e4:name1:x12:piece lengthi{piece_len}e6:pieces20:{}e", "h".repeat(20));
        assert_eq!(u64::from(parse(raw.as_bytes()).unwrap().geometry().piece_len_nominal()), piece_len);
    }
}

#[test]
fn the_hash_is_that_of_the_raw_bytes_with_unknown_keys() {
    let raw = b"d6:lengthi0e3:fooi01e4:name1:x12:piece lengthi16384e6:pieces0:7:privatei1ee";
    let info = parse(raw).unwrap();
    assert_eq!(info.hash().as_bytes()[..], Sha1::digest(raw)[..]);
    assert_eq!(info.raw(), &raw[..]);
    assert!(info.is_private() && info.is_single_file());
    assert_eq!(info.geometry().piece_count(), 0);
}

#[test]
fn of_a_hybrid_torrent_the_v1_side_is_read() {
    let raw = b"d9:file treede6:lengthi1e12:meta versioni2e4:name1:x12:piece lengthi16384e6:pieces20:\
        aaaaaaaaaaaaaaaaaaaae";
    assert_eq!(parse(raw).unwrap().geometry().total_len(), 1);
    let v2_only = b"d9:file treede12:meta versioni2e4:name1:x12:piece lengthi16384ee";
    assert_eq!(parse(v2_only).unwrap_err(), E::V2Only);
}

#[test]
fn a_name_of_nothing_is_replaced_by_the_info_hash() {
    let info = parse(b"d6:lengthi0e4:name1:.12:piece lengthi1e6:pieces0:e").unwrap();
    assert_eq!(info.name(), info.hash().to_string());
    assert_eq!(info.files()[0].path, info.name_bytes());
    assert_eq!(info.warnings(), [ParseWarning::NoName]);
    assert_eq!(info.renamed().collect::<Vec<_>>(), [Renamed { from: ".".into(), to: info.name().into() }]);
    for nothing in ["0:", "2:.."] {
        let raw = format!("d6:lengthi0e4:name{nothing}12:piece lengthi1e6:pieces0:e");
        let info = parse(raw.as_bytes()).unwrap();
        assert_eq!(info.name(), info.hash().to_string());
    }
}

#[test]
fn every_broken_rule_has_its_error() {
    let single = |length: &str, piece_len: &str, hashes: usize| {
        let pieces = "h".repeat(hashes);
        let raw = format!("d6:length{length}4:name1:x12:piece length{piece_len}6:pieces{hashes}:{pieces}e");
        parse(raw.as_bytes()).unwrap_err()
    };
    let wrong = |key, expected| E::WrongType { key, expected };
    let error = |raw: &[u8]| parse(raw).unwrap_err();
    let files = |files: &str| with_files(files, 1).unwrap_err();
    for (found, expected) in [
        (error(b"le"), wrong("info", "a dictionary")),
        (error(b"de"), E::Missing("pieces")),
        (error(b"d6:pieces0:e"), E::Missing("name")),
        (error(b"d4:name1:x6:pieces0:e"), E::Missing("length")),
        (error(b"d6:lengthi0e4:name1:x6:pieces0:e"), E::Missing("piece length")),
        (error(b"d4:namei1e6:pieces0:e"), wrong("name", "a string")),
        (error(b"d6:piecesi1ee"), wrong("pieces", "a string")),
        (error(b"d4:name1:x4:name1:ye"), E::Twice("name")),
        (error(b"d5:filesi1e4:name1:x6:pieces0:e"), wrong("files", "a list")),
        (single("1:1", "i16e", 20), wrong("length", "an integer")),
        (single("i-1e", "i16e", 20), E::NegativeLength("the file".into())),
        (single("i1e", "i0e", 20), E::Geometry(GeometryError::PieceLengthZero)),
        (single("i1e", "i-16e", 20), E::NegativePieceLength(-16)),
        (single("i1e", "i1099511627776e", 20), E::Geometry(GeometryError::PieceLengthTooLarge(1 << 40))),
        (single("i17e", "i16e", 20), E::PiecesLength { found: 20, piece_count: 2 }),
        (single("i1e", "i16e", 19), E::PiecesLength { found: 19, piece_count: 1 }),
        (single("i1e", "i16e", 0), E::PiecesLength { found: 0, piece_count: 1 }),
        (files(""), E::NoFiles),
        (files("i1e"), wrong("files", "a list of dictionaries")),
        (files("d6:lengthi1ee"), E::Missing("path")),
        (files("d4:pathl1:aee"), E::Missing("length")),
        (files("d6:lengthi1e4:path1:ae"), wrong("path", "a list of strings")),
        (files("d6:lengthi1e4:pathli1eee"), wrong("path", "a string")),
        (files("d6:lengthi-1e4:pathl1:aee"), E::NegativeLength("file 0".into())),
        (files(&"d6:lengthi9223372036854775807e4:pathl1:aee".repeat(2)), E::TotalTooLarge),
        (
            files("d6:lengthi99999999999999999999e4:pathl1:aee"),
            E::Bencode(magnes_bencode::Error { kind: ErrorKind::BadInteger, position: 10 }),
        ),
        (files(&format!("d6:lengthi1e4:pathl{}ee", "1:a".repeat(65))), E::PathTooDeep(0)),
        (files(&format!("d6:lengthi1e4:pathl{}ee", format!("200:{}", "a".repeat(200)).repeat(11))), E::PathTooLong(0)),
    ] {
        assert_eq!(found, expected);
    }
    let trailing = error(b"d6:lengthi0e4:name1:x12:piece lengthi16e6:pieces0:ex");
    assert!(matches!(trailing, E::Bencode(error) if error.kind == ErrorKind::TrailingBytes));
    assert_eq!(error(&vec![b'x'; INFO_LEN_MAX + 1]), E::InfoTooLarge(INFO_LEN_MAX + 1));
}

proptest! {
    #[test]
    fn any_change_of_a_torrent_is_an_error_or_a_torrent(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut raw = b"d5:filesld6:lengthi20e4:pathl1:d1:aeed4:attr1:p6:lengthi12e4:pathl4:.pad2:12eee4:name1:n12:\
            piece lengthi16e6:pieces40:hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhe"
            .to_vec();
        let len = raw.len();
        prop_assert!(parse(&raw).is_ok());
        prop_assert!(parse(&raw[..at.index(len)]).is_err());
        raw[at.index(len)] = byte;
        if let Ok(info) = parse(&raw) {
            let total: u64 = info.files().iter().map(|file| file.len).sum();
            prop_assert_eq!(total, info.geometry().total_len());
        }
    }
}
