//! Paths from a torrent are a stranger's words. Here they become names that every system can hold, that stay below one
//! folder, and of which no two are the same file (BEP 3 leaves all of this open).

use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

/// Longest component that is kept, in bytes. File systems take 255; the rest is room for a suffix.
const COMPONENT_LEN_MAX: usize = 240;

/// Longest extension that survives the shortening of a component, in bytes, with its dot.
const EXTENSION_LEN_MAX: usize = 16;

/// Most folders within one another. Real torrents stay under 15.
pub(super) const DEPTH_MAX: usize = 64;

/// Longest path in bytes. Systems take 4096, of which the user's own folder needs some.
pub(super) const PATH_LEN_MAX: usize = 2048;

/// Most folders of one torrent. With it, the memory of [`Names`] stays under 100 MB for any metadata.
pub(super) const FOLDERS_MAX: u32 = 1_000_000;

/// Why a path cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameError {
    /// No component is left.
    Empty,
    /// More than [`DEPTH_MAX`] components.
    TooDeep,
    /// More than [`PATH_LEN_MAX`] bytes.
    TooLong,
    /// More than [`FOLDERS_MAX`] folders.
    TooManyFolders,
}

/// One component of a path as a file name: never empty, `.`, `..`, or anything that a system takes for more than a name.
/// `None` when nothing is left of it.
pub(super) fn safe_component(raw: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(raw);
    if text.is_empty() || text == "." {
        return None;
    }
    if text == ".." {
        return Some("_".to_owned());
    }
    let mut name: String = text.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    if cfg!(windows) {
        name.truncate(name.trim_end_matches([' ', '.']).len());
    }
    if let [letter, b':', ..] = name.as_bytes()
        && letter.is_ascii_alphabetic()
    {
        name.replace_range(1..2, "_");
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    shorten(&mut name);
    (!name.is_empty()).then_some(name)
}

/// Separators, control characters, and those that reverse the order of the text and so disguise its extension.
fn is_unsafe(c: char) -> bool {
    let everywhere = c.is_control()
        || matches!(c, '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    everywhere || (cfg!(windows) && matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|'))
}

/// Names that Windows takes for devices, whatever the extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    let numbered = |device: &str| match stem.as_bytes().split_last() {
        Some((digit, rest)) => digit.is_ascii_digit() && rest.eq_ignore_ascii_case(device.as_bytes()),
        None => false,
    };
    is("con")
        || is("prn")
        || is("aux")
        || is("nul")
        || is("conin$")
        || is("conout$")
        || numbered("com")
        || numbered("lpt")
}

/// Cuts a name down to [`COMPONENT_LEN_MAX`] and keeps its extension.
fn shorten(name: &mut String) {
    if name.len() <= COMPONENT_LEN_MAX {
        return;
    }
    let extension = match name.rfind('.') {
        Some(dot) if name.len() - dot <= EXTENSION_LEN_MAX => name[dot..].to_owned(),
        _ => String::new(),
    };
    let end = (0..=COMPONENT_LEN_MAX - extension.len()).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.truncate(end);
    name.push_str(&extension);
}

/// Gives every file of a torrent a path of its own. Names that differ only in case count as the same, and so does the
/// name of a file and of a folder: the later one gets a number.
#[derive(Default)]
pub(super) struct Names {
    /// Folder and the name that the torrent gives a folder in it -> its number and the name it has got.
    folders: BTreeMap<(u32, u128), (u32, String)>,
    /// Folder and name of everything that stands.
    taken: BTreeSet<(u32, u128)>,
    /// Folder and name -> the number to try next, so that a million equal names take a million steps.
    suffixes: BTreeMap<(u32, u128), u32>,
}

impl Names {
    /// The path for the file with these components, joined by `/`.
    pub(super) fn place(&mut self, components: &[&[u8]]) -> Result<String, NameError> {
        if components.len() > DEPTH_MAX {
            return Err(NameError::TooDeep);
        }
        let names: Vec<String> = components.iter().filter_map(|raw| safe_component(raw)).collect();
        let (file, folders) = names.split_last().ok_or(NameError::Empty)?;
        let mut path = String::new();
        let mut folder = 0;
        for name in folders {
            folder = self.enter(folder, name, &mut path)?;
            path.push('/');
        }
        path.push_str(&self.unique(folder, file));
        if path.len() > PATH_LEN_MAX {
            return Err(NameError::TooLong);
        }
        Ok(path)
    }

    /// Appends the name of a folder within `parent` to the path; returns its number.
    fn enter(&mut self, parent: u32, name: &str, path: &mut String) -> Result<u32, NameError> {
        let key = (parent, fold(name));
        if let Some((number, unique)) = self.folders.get(&key) {
            path.push_str(unique);
            return Ok(*number);
        }
        // The root is 0.
        let number = u32::try_from(self.folders.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > FOLDERS_MAX {
            return Err(NameError::TooManyFolders);
        }
        let unique = self.unique(parent, name);
        path.push_str(&unique);
        self.folders.insert(key, (number, unique));
        Ok(number)
    }

    fn unique(&mut self, folder: u32, name: &str) -> String {
        let key = (folder, fold(name));
        if self.taken.insert(key) {
            return name.to_owned();
        }
        loop {
            let suffix = self.suffixes.entry(key).or_insert(0);
            *suffix += 1;
            let numbered = with_number(name, *suffix);
            if self.taken.insert((folder, fold(&numbered))) {
                return numbered;
            }
        }
    }
}

/// `name.ext` -> `name.1.ext`.
fn with_number(name: &str, number: u32) -> String {
    match name.rfind('.') {
        Some(dot) if dot > 0 => format!("{}.{number}{}", &name[..dot], &name[dot..]),
        _ => format!("{name}.{number}"),
    }
}

/// What names have in common that a system without case takes for the same. Two names that share a fingerprint by
/// chance only make one of them numbered.
fn fold(name: &str) -> u128 {
    let mut hasher = SipHasher13::new();
    let mut bytes = [0; 4];
    for c in name.chars().flat_map(char::to_lowercase) {
        hasher.write(c.encode_utf8(&mut bytes).as_bytes());
    }
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(names: &mut Names, path: &[&str]) -> Result<String, NameError> {
        names.place(&path.iter().map(|component| component.as_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn dangerous_components_become_names() {
        let safe = |raw: &[u8]| safe_component(raw);
        for (raw, name) in [
            (&b"a.txt"[..], Some("a.txt")),
            (b"..", Some("_")),
            (b"...", Some("...")),
            (b".", None),
            (b"", None),
            (b"a/b\\c", Some("a_b_c")),
            (b"/etc/passwd", Some("_etc_passwd")),
            (b"a\0b\n", Some("a_b_")),
            (b"C:", Some("C_")),
            (b"c:evil", Some("c_evil")),
            (b"aux", Some("_aux")),
            (b"Com1.txt", Some("_Com1.txt")),
            (b"nul .x", Some("_nul .x")),
            (b"console", Some("console")),
            (b"\xff", Some("\u{fffd}")),
            ("a\u{202e}txt.exe".as_bytes(), Some("a_txt.exe")),
        ] {
            if !cfg!(windows) {
                assert_eq!(safe(raw).as_deref(), name, "{}", raw.escape_ascii());
            }
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let name = safe_component(format!("{}.torrent", "é".repeat(200)).as_bytes()).unwrap();
        assert!(name.len() <= COMPONENT_LEN_MAX && name.ends_with("é.torrent"));
        assert_eq!(safe_component("a".repeat(999).as_bytes()).unwrap().len(), COMPONENT_LEN_MAX);
    }

    #[test]
    fn equal_names_get_numbers() {
        let mut names = Names::default();
        assert_eq!(place(&mut names, &["a", "x.txt"]).unwrap(), "a/x.txt");
        assert_eq!(place(&mut names, &["A", "X.TXT"]).unwrap(), "a/X.1.TXT");
        assert_eq!(place(&mut names, &["a", "x.1.txt"]).unwrap(), "a/x.1.1.txt");
        assert_eq!(place(&mut names, &["a", "x.txt"]).unwrap(), "a/x.2.txt");
        assert_eq!(place(&mut names, &["a"]).unwrap(), "a.1", "a folder has the name");
        assert_eq!(place(&mut names, &["a", "x.txt", "y"]).unwrap(), "a/x.3.txt/y", "a file has the name");
        assert_eq!(place(&mut names, &["a", "x.txt", "z"]).unwrap(), "a/x.3.txt/z", "the same folder again");
        assert_eq!(place(&mut names, &["a", "..", "..", "z"]).unwrap(), "a/_/_/z");
    }

    #[test]
    fn limits_are_held() {
        let mut names = Names::default();
        assert_eq!(place(&mut names, &[]), Err(NameError::Empty));
        assert_eq!(place(&mut names, &["", "."]), Err(NameError::Empty));
        assert_eq!(place(&mut names, &["a"; DEPTH_MAX + 1]), Err(NameError::TooDeep));
        assert_eq!(place(&mut names, &[&*"a".repeat(240); 10]), Err(NameError::TooLong));
    }

    #[test]
    fn a_hundred_thousand_equal_names_are_told_apart_in_linear_time() {
        let mut names = Names::default();
        let paths: BTreeSet<String> = (0..100_000).map(|_| place(&mut names, &["same"]).unwrap()).collect();
        assert_eq!(paths.len(), 100_000);
    }

    proptest! {
        #[test]
        fn every_path_is_safe_and_unique(
            paths in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 1..4), 1..40),
            small in proptest::collection::vec(proptest::collection::vec("[aA.1/]{0,3}", 1..4), 1..40),
        ) {
            let small = small.into_iter().map(|path| path.into_iter().map(String::into_bytes).collect::<Vec<_>>());
            let mut names = Names::default();
            let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
            for path in paths.into_iter().chain(small) {
                let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                let Ok(placed) = names.place(&path) else { continue };
                for component in placed.split('/') {
                    prop_assert!(!matches!(component, "" | "." | ".."));
                    prop_assert!(!component.contains(|c: char| c.is_control() || c == '\\'));
                }
                let folded = placed.to_lowercase();
                for (slash, _) in folded.match_indices('/') {
                    folders.insert(folded[..slash].to_owned());
                }
                prop_assert!(files.insert(folded), "{} twice", placed);
            }
            prop_assert!(files.is_disjoint(&folders));
        }
    }
}
