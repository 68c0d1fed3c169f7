//! Paths from a torrent are a stranger's words. Here they become names that stay below one folder and of which no two are
//! the same file (BEP 3 leaves all of this open). They stay as the torrent has them wherever the folder takes them.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use unicode_normalization::UnicodeNormalization;

/// Longest component in bytes, as file systems take it.
const COMPONENT_LEN_MAX: usize = 255;

/// Longest extension that survives the shortening of a component, in bytes, with its dot.
const EXTENSION_LEN_MAX: usize = 16;

/// Most folders within one another. Real torrents stay under 15.
pub(super) const DEPTH_MAX: usize = 64;

/// Longest path in bytes. Systems take 4096, of which the user's own folder needs some.
pub(super) const PATH_LEN_MAX: usize = 2048;

/// Most folders of one torrent. With it, the memory of [`Names`] stays under 100 MB for any metadata.
pub(super) const FOLDERS_MAX: u32 = 1_000_000;

/// What stands in for a component of which nothing is left.
const SUBSTITUTE: &[u8] = b"_";

/// How the last component begins of what BitComet fills up pieces with, instead of an attribute.
const BITCOMET_PADDING: &[u8] = b"_____padding_file_";

/// What a folder does not take as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRules {
    /// Names that differ only in case, or in how letters with marks are composed, are one name.
    pub folds: bool,
    /// Only names that every system takes: no `\ : * ? " < > |`, no control characters, no device names, no blank or dot
    /// at the end, nothing that is not UTF-8.
    pub portable: bool,
}

impl NameRules {
    /// A folder that takes every name and tells all of them apart.
    pub const ANY: Self = Self { folds: false, portable: false };
    /// The names that work everywhere.
    pub const PORTABLE: Self = Self { folds: true, portable: true };
}

impl Default for NameRules {
    /// What folders of this system take at least.
    fn default() -> Self {
        if cfg!(windows) { Self::PORTABLE } else { Self::ANY }
    }
}

/// Why a path cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameError {
    /// More than [`DEPTH_MAX`] components.
    Depth,
    /// More than [`PATH_LEN_MAX`] bytes.
    Length,
    /// More than [`FOLDERS_MAX`] folders.
    Folders,
}

/// One component of a path as a file name: never empty, `.` or `..`, without `/` and NUL. `None` when nothing is left of
/// it.
pub(super) fn component(raw: &[u8], rules: NameRules) -> Option<Vec<u8>> {
    let mut name = match rules.portable {
        true => portable(raw).into_bytes(),
        false => raw.iter().map(|byte| if matches!(byte, b'/' | 0) { b'_' } else { *byte }).collect(),
    };
    shorten(&mut name, COMPONENT_LEN_MAX);
    (!matches!(name.as_slice(), b"" | b"." | b"..")).then_some(name)
}

/// Whether a path is that of padding by BitComet's convention.
pub(super) fn is_bitcomet_padding(path: &[&[u8]]) -> bool {
    path.last().is_some_and(|last| last.starts_with(BITCOMET_PADDING))
}

/// The name with everything replaced that some system refuses. It is not longer in bytes, but for one underscore.
fn portable(raw: &[u8]) -> String {
    let refused = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let mut name = String::with_capacity(raw.len());
    for valid in raw.utf8_chunks() {
        name.extend(valid.valid().chars().map(|c| if refused(c) { '_' } else { c }));
        name.extend((!valid.invalid().is_empty()).then_some('_'));
    }
    name = shorten_portable(name);
    if is_device(&name) {
        name.insert(0, '_');
        name = shorten_portable(name);
    }
    name
}

/// Short enough, and without the blanks and dots at the end that Windows takes away.
fn shorten_portable(name: String) -> String {
    let mut bytes = name.into_bytes();
    shorten(&mut bytes, COMPONENT_LEN_MAX);
    // It is not cut within a character.
    let mut name = String::from_utf8(bytes).unwrap_or_default();
    name.truncate(name.trim_end_matches([' ', '.']).len());
    name
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

/// Cuts a name down to `len_max` bytes and keeps its extension.
fn shorten(name: &mut Vec<u8>, len_max: usize) {
    if name.len() <= len_max {
        return;
    }
    let extension = match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if name.len() - dot <= EXTENSION_LEN_MAX => name[dot..].to_vec(),
        _ => Vec::new(),
    };
    let mut end = len_max - extension.len();
    // Not within a character, if it is UTF-8: its bytes after the first begin with the bits 10.
    while end > len_max - extension.len() - 3 && name[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    name.truncate(end);
    name.extend(extension);
}

/// Gives every file of a torrent a path of its own: where two names are one under the rules, whether of files or of folders
/// or of both, the later one gets a number.
pub(super) struct Names {
    rules: NameRules,
    /// Folder and the name that the torrent gives a folder in it -> its number and the name it has got.
    folders: BTreeMap<(u32, u128), (u32, Vec<u8>)>,
    /// Folder and name of everything that stands, folded as the rules say.
    taken: BTreeSet<(u32, u128)>,
    /// Folder and name -> the number to try next, so that a million equal names take a million steps.
    suffixes: BTreeMap<(u32, u128), u32>,
}

impl Names {
    pub(super) fn new(rules: NameRules) -> Self {
        Self { rules, folders: BTreeMap::new(), taken: BTreeSet::new(), suffixes: BTreeMap::new() }
    }

    /// The path for the file with these components, joined by `/`.
    pub(super) fn place(&mut self, components: &[&[u8]]) -> Result<Vec<u8>, NameError> {
        if components.len() > DEPTH_MAX {
            return Err(NameError::Depth);
        }
        let (file, folders) = components.split_last().unwrap_or((&SUBSTITUTE, &[]));
        let mut path = Vec::new();
        let mut folder = 0;
        for name in folders {
            folder = self.enter(folder, name, &mut path)?;
            path.push(b'/');
        }
        let name = self.name(file);
        path.extend(self.unique(folder, name));
        if path.len() > PATH_LEN_MAX {
            return Err(NameError::Length);
        }
        Ok(path)
    }

    fn name(&self, raw: &[u8]) -> Vec<u8> {
        component(raw, self.rules).unwrap_or_else(|| SUBSTITUTE.to_vec())
    }

    /// Appends the name of a folder within `parent` to the path; returns its number. Two folders are one only if the
    /// torrent gives them the same name.
    fn enter(&mut self, parent: u32, raw: &[u8], path: &mut Vec<u8>) -> Result<u32, NameError> {
        let key = (parent, fingerprint(raw));
        if let Some((number, unique)) = self.folders.get(&key) {
            path.extend(unique);
            return Ok(*number);
        }
        // The root is 0.
        let number = u32::try_from(self.folders.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > FOLDERS_MAX {
            return Err(NameError::Folders);
        }
        let name = self.name(raw);
        let unique = self.unique(parent, name);
        path.extend(&unique);
        self.folders.insert(key, (number, unique));
        Ok(number)
    }

    fn unique(&mut self, folder: u32, name: Vec<u8>) -> Vec<u8> {
        let key = (folder, self.fold(&name));
        if self.taken.insert(key) {
            return name;
        }
        loop {
            let suffix = self.suffixes.entry(key).or_insert(0);
            *suffix += 1;
            let numbered = with_number(&name, *suffix);
            let folded = self.fold(&numbered);
            if self.taken.insert((folder, folded)) {
                return numbered;
            }
        }
    }

    /// What names have in common that the folder takes for the same. Two names that share a fingerprint by chance only
    /// make one of them numbered.
    fn fold(&self, name: &[u8]) -> u128 {
        match std::str::from_utf8(name) {
            Ok(text) if self.rules.folds && text.is_ascii() => fingerprint(&name.to_ascii_lowercase()),
            Ok(text) if self.rules.folds => {
                let mut hasher = SipHasher13::new();
                let mut bytes = [0; 4];
                // By way of the upper case, which makes `ß` and `ss` one, as some file systems do.
                let folded = text.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd();
                for c in folded.filter(|c| !is_ignorable(*c)) {
                    hasher.write(c.encode_utf8(&mut bytes).as_bytes());
                }
                hasher.finish128().as_u128()
            }
            _ => fingerprint(name),
        }
    }
}

/// Characters without a width that folding file systems leave out of the comparison.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

fn fingerprint(name: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(name);
    hasher.finish128().as_u128()
}

/// `name.ext` -> `name.1.ext`.
fn with_number(name: &[u8], number: u32) -> Vec<u8> {
    let dot =
        name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0 && name.len() - dot <= EXTENSION_LEN_MAX);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let end = format!(".{number}");
    let mut numbered = stem.to_vec();
    shorten(&mut numbered, COMPONENT_LEN_MAX - end.len() - extension.len());
    numbered.extend(end.as_bytes());
    numbered.extend(extension);
    numbered
}

/// The other ways to compose the letters of a name that has letters with marks: under them its data may stand on the disk.
pub(crate) fn other_forms(name: &str) -> impl Iterator<Item = String> + '_ {
    let forms = (!name.is_ascii()).then(|| [name.nfc().collect::<String>(), name.nfd().collect()]);
    forms.into_iter().flatten().filter(move |form| form != name && form.len() <= COMPONENT_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(names: &mut Names, path: &[&str]) -> Result<String, NameError> {
        let path = names.place(&path.iter().map(|component| component.as_bytes()).collect::<Vec<_>>());
        path.map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn names_stay_as_they_are_where_the_folder_takes_them() {
        let longest = "é".repeat(127) + "x";
        for name in ["aux.c", "Q: title.mp3", "a\\b", "README", "a\u{200e}b", "...", " x ", "a\nb", "C:", &longest] {
            assert_eq!(component(name.as_bytes(), NameRules::ANY).as_deref(), Some(name.as_bytes()), "{name}");
        }
        assert_eq!(component(b"\xff\xfe.txt", NameRules::ANY).as_deref(), Some(&b"\xff\xfe.txt"[..]));
        for nothing in ["", ".", ".."] {
            assert_eq!(component(nothing.as_bytes(), NameRules::ANY), None);
        }
        assert_eq!(component(b"/etc/passwd\0", NameRules::ANY).as_deref(), Some(&b"_etc_passwd_"[..]));
    }

    #[test]
    fn portable_names_work_everywhere() {
        for (raw, name) in [
            (&b"a.txt"[..], Some("a.txt")),
            (b"..", None),
            (b"...", None),
            (b" . ", None),
            (b"x. .", Some("x")),
            (b"a/b\\c", Some("a_b_c")),
            (b"a\0b\n", Some("a_b_")),
            (b"Q: title?.mp3", Some("Q_ title_.mp3")),
            (b"aux", Some("_aux")),
            (b"Com1.txt", Some("_Com1.txt")),
            (b"nul .x", Some("_nul .x")),
            (b"console", Some("console")),
            (b"\xff", Some("_")),
            ("a\u{200e}b".as_bytes(), Some("a\u{200e}b")),
            (&[b'n'; 255], Some(&*"n".repeat(255))),
        ] {
            let found = component(raw, NameRules::PORTABLE).map(|name| String::from_utf8(name).unwrap());
            assert_eq!(found.as_deref(), name, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = |name: &str| String::from_utf8(component(name.as_bytes(), NameRules::ANY).unwrap()).unwrap();
        let name = long(&format!("{}.torrent", "é".repeat(200)));
        assert!((253..=255).contains(&name.len()) && name.ends_with("é.torrent"), "{name}");
        assert_eq!(long(&"a".repeat(999)).len(), 255);
        assert_eq!(component(&[0x80; 999], NameRules::ANY).unwrap().len(), 252, "no character begins anywhere");
        let mut names = Names::new(NameRules::ANY);
        let twice = format!("{}.mp3", "é".repeat(125));
        assert_eq!(place(&mut names, &[&twice]).unwrap(), twice);
        let second = place(&mut names, &[&twice]).unwrap();
        assert!(second.len() <= 255 && second.ends_with("é.1.mp3"), "{second}");
    }

    #[test]
    fn equal_names_get_numbers() {
        let mut names = Names::new(NameRules::ANY);
        assert_eq!(place(&mut names, &["a", "x.txt"]).unwrap(), "a/x.txt");
        assert_eq!(place(&mut names, &["A", "X.TXT"]).unwrap(), "A/X.TXT", "another folder");
        assert_eq!(place(&mut names, &["a", "X.TXT"]).unwrap(), "a/X.TXT", "another file");
        assert_eq!(place(&mut names, &["a", "x.1.txt"]).unwrap(), "a/x.1.txt");
        assert_eq!(place(&mut names, &["a", "x.txt"]).unwrap(), "a/x.2.txt");
        assert_eq!(place(&mut names, &["a"]).unwrap(), "a.1", "a folder has the name");
        assert_eq!(place(&mut names, &["a", "x.txt", "y"]).unwrap(), "a/x.3.txt/y", "a file has the name");
        assert_eq!(place(&mut names, &["a", "x.txt", "z"]).unwrap(), "a/x.3.txt/z", "the same folder again");
        assert_eq!(place(&mut names, &["a", "..", "..", "z"]).unwrap(), "a/_/_/z");
        assert_eq!(place(&mut names, &["a", "", "z"]).unwrap(), "a/_.1/z", "substitutes never merge folders");
        assert_eq!(place(&mut names, &[]).unwrap(), "_");
    }

    #[test]
    fn where_the_folder_folds_case_equal_names_get_numbers_and_folders_stay_two() {
        let mut names = Names::new(NameRules { folds: true, portable: false });
        assert_eq!(place(&mut names, &["Dir", "a"]).unwrap(), "Dir/a");
        assert_eq!(place(&mut names, &["dir", "a"]).unwrap(), "dir.1/a");
        assert_eq!(place(&mut names, &["README"]).unwrap(), "README");
        assert_eq!(place(&mut names, &["readme"]).unwrap(), "readme.1");
        assert_eq!(place(&mut names, &["Stra\u{df}e"]).unwrap(), "Stra\u{df}e");
        assert_eq!(place(&mut names, &["STRASSE"]).unwrap(), "STRASSE.1");
        assert_eq!(place(&mut names, &["\u{e9}"]).unwrap(), "\u{e9}");
        assert_eq!(place(&mut names, &["e\u{301}"]).unwrap(), "e\u{301}.1", "composed in another way");
        assert_eq!(place(&mut names, &["k"]).unwrap(), "k");
        assert_eq!(place(&mut names, &["\u{212a}"]).unwrap(), "\u{212a}.1", "the sign of kelvin");
        assert_eq!(place(&mut names, &["x"]).unwrap(), "x");
        assert_eq!(place(&mut names, &["x\u{200e}"]).unwrap(), "x\u{200e}.1");
    }

    #[test]
    fn both_forms_of_a_name_are_known() {
        let forms = |name: &str| other_forms(name).collect::<Vec<_>>();
        assert_eq!(forms("\u{e9}"), ["e\u{301}"]);
        assert_eq!(forms("e\u{301}"), ["\u{e9}"]);
        assert_eq!(forms("e"), [""; 0]);
        assert_eq!(forms("\u{65e5}"), [""; 0]);
    }

    #[test]
    fn limits_are_held() {
        let mut names = Names::new(NameRules::ANY);
        assert_eq!(place(&mut names, &["a"; DEPTH_MAX + 1]), Err(NameError::Depth));
        assert_eq!(place(&mut names, &[&*"a".repeat(240); 10]), Err(NameError::Length));
    }

    #[test]
    fn a_hundred_thousand_equal_names_are_told_apart_in_linear_time() {
        let mut names = Names::new(NameRules::ANY);
        let paths: BTreeSet<String> = (0..100_000).map(|_| place(&mut names, &["same"]).unwrap()).collect();
        assert_eq!(paths.len(), 100_000);
    }

    proptest! {
        #[test]
        fn every_path_is_safe_and_unique(
            paths in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 1..4), 1..40),
            small in proptest::collection::vec(proptest::collection::vec("[aA.1/]{0,3}", 1..4), 1..40),
            portable in any::<bool>(),
        ) {
            let small = small.into_iter().map(|path| path.into_iter().map(String::into_bytes).collect::<Vec<_>>());
            let mut names = Names::new(if portable { NameRules::PORTABLE } else { NameRules::ANY });
            let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
            for path in paths.into_iter().chain(small) {
                let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                let placed = names.place(&path).unwrap();
                prop_assert_eq!(placed.split(|byte| *byte == b'/').count(), path.len());
                for component in placed.split(|byte| *byte == b'/') {
                    prop_assert!(!matches!(component, b"" | b"." | b"..") && !component.contains(&0));
                    prop_assert!(!(portable && component.contains(&b'\\')));
                }
                let folded = if portable { String::from_utf8(placed).unwrap().to_lowercase().into_bytes() } else { placed };
                for slash in (0..folded.len()).filter(|at| folded[*at] == b'/') {
                    folders.insert(folded[..slash].to_vec());
                }
                prop_assert!(files.insert(folded.clone()), "{} twice", folded.escape_ascii());
            }
            prop_assert!(files.is_disjoint(&folders));
        }
    }
}
