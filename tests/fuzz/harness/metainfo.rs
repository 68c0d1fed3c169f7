use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use magnes::disk::Layout;
use magnes::model::{Info, MAGNET_LEN_MAX, Magnet, Metainfo, PublisherLink, Source};

/// A `.torrent` file is a torrent or an error. What is read reads back the same, and lies below its folder.
pub(crate) fn metainfo(raw: &[u8]) {
    // The dictionary inside is read from peers too, without the file around it.
    let info = Info::parse(Bytes::copy_from_slice(raw));
    let info = info.or_else(|_| Metainfo::parse(Bytes::copy_from_slice(raw)).map(|metainfo| reread(&metainfo)));
    let Ok(info) = info else { return };
    assert_info(&info);
    assert_layout(info);
}

/// The `info` of a file, which is the same when the file is read once more.
fn reread(metainfo: &Metainfo) -> Info {
    let again = Metainfo::parse(metainfo.raw().clone()).expect("what was read is read again");
    assert_eq!(metainfo.trackers, again.trackers);
    assert_eq!(metainfo.nodes, again.nodes);
    assert_eq!(metainfo.web_seeds, again.web_seeds);
    assert_same(&metainfo.info, &again.info);
    let link = metainfo.magnet().to_string();
    if link.len() <= MAGNET_LEN_MAX {
        let read: Magnet = link.parse().expect("the link of a torrent can be read");
        assert_eq!(read, metainfo.magnet());
    }
    again.info
}

fn assert_same(a: &Info, b: &Info) {
    // How names are shown depends on the file around the dictionary.
    assert_eq!((a.hash(), a.name_bytes(), a.is_private()), (b.hash(), b.name_bytes(), b.is_private()));
    assert_eq!((a.geometry(), a.is_single_file()), (b.geometry(), b.is_single_file()));
    assert_eq!(a.files(), b.files());
}

fn assert_info(info: &Info) {
    assert_same(info, &Info::parse(info.raw().clone()).expect("what was read is read again"));
    let geometry = info.geometry();
    assert!(!info.files().is_empty());
    let mut end = 0;
    for file in info.files() {
        assert_eq!(file.offset, end, "files follow each other");
        end = file.end();
    }
    assert_eq!(geometry.total_len(), end);
    let last = geometry.pieces().next_back();
    assert!(last.is_none_or(|last| info.piece_hash(last).is_some()), "every piece has a hash");
}

/// Every file is below the folder, by a name that a system can hold, and no two are one file or a file and its folder.
fn assert_layout(info: Info) {
    let root = Path::new("/downloads");
    let layout = Layout::new(root, Arc::new(info));
    let mut files = BTreeSet::new();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for index in (0..layout.files().len()).filter(|index| !layout.files()[*index].padding) {
        let path = layout.path(index);
        let below = path.strip_prefix(root).expect("a file is below its folder");
        let mut count = 0;
        for component in below.components() {
            let Component::Normal(name) = component else { panic!("{below:?} has a component that is no name") };
            assert!((1..=255).contains(&name.len()) && !name.as_bytes().contains(&0), "{name:?} is no name");
            count += 1;
        }
        assert!(count > 0, "a file is not the folder itself");
        // `components` skips what a system would resolve or reject.
        let text = below.as_os_str().as_bytes();
        assert_eq!(text.split(|byte| *byte == b'/').count(), count, "{below:?}");
        folders.extend(below.ancestors().skip(1).map(Path::to_path_buf));
        assert!(files.insert(below.to_path_buf()), "two files are {below:?}");
    }
    assert!(files.is_disjoint(&folders), "a file stands where a folder is");
}

/// A text is a link or an error, and a link that is printed and read is the same link.
pub(crate) fn magnet(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let _ = Source::parse(&*text);
    if let Ok(link) = text.parse::<PublisherLink>() {
        assert_eq!(link.to_string().parse(), Ok(link));
    }
    let Ok(mut magnet) = text.parse::<Magnet>() else { return };
    // What was passed over in reading is not printed again.
    magnet.warnings.clear();
    let printed = magnet.to_string();
    // What is not ASCII grows when it is printed.
    if printed.len() <= MAGNET_LEN_MAX {
        let again: Magnet = printed.parse().expect("a printed link can be read");
        assert_eq!(again, magnet);
        assert_eq!(again.to_string(), printed);
    }
}
