//! How a folder takes the names of a torrent: as they are, unless it folds case or refuses some of them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this file looks at folders and tries names")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::sys;
use crate::disk::Layout;
use crate::model::{Info, NameRules, other_forms};

/// Names that are tried in a folder; one of each kind is among the first.
const NAMES_TRIED_MAX: usize = 64;
/// Entries of a folder that are looked at for one with a letter.
const ENTRIES_MAX: usize = 256;

/// How names are fitted to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitNames {
    /// Those that work on every system.
    Portable,
    /// As the folder takes them, as far as a look tells. Nothing is written.
    Look,
    /// As the folder takes them. Where a look does not tell, such names are tried in a folder that is removed again.
    Try,
}

/// The layout of a torrent in `folder` under names that the folder takes, and under which data exist already.
pub fn fit(folder: &Path, info: Arc<Info>, how: FitNames) -> Layout {
    let rules = if how == FitNames::Portable { NameRules::PORTABLE } else { rules_of(folder, &info, how) };
    if how != FitNames::Portable && rules != NameRules::default() {
        let (folder, count) = (folder.display(), changed(&info, rules).len());
        tracing::warn!("{folder} does not take every name of the torrent: {count} files have other names there");
    }
    let mut layout = Layout::with_rules(folder, info, rules);
    adopt_other_forms(&mut layout);
    layout
}

fn rules_of(folder: &Path, info: &Arc<Info>, how: FitNames) -> NameRules {
    let as_they_are = NameRules::default();
    let unusual = changed(info, NameRules::PORTABLE);
    if unusual.is_empty() {
        return as_they_are;
    }
    let plain = Layout::with_rules(folder, info.clone(), as_they_are);
    let portable = Layout::with_rules(folder, info.clone(), NameRules::PORTABLE);
    let count = |layout: &Layout| unusual.iter().filter(|file| layout.path(**file).is_file()).count();
    let plain_count = count(&plain);
    if plain_count == unusual.len() && all_differ(&plain) {
        return as_they_are;
    }
    // What an earlier run made with portable names is gone on with.
    if plain_count == 0 && count(&portable) > 0 {
        return NameRules::PORTABLE;
    }
    let tried = if how == FitNames::Try { try_names(folder, &plain, &unusual) } else { None };
    tried.unwrap_or(NameRules { folds: folds_by_look(folder), ..as_they_are })
}

/// The files whose paths are other ones under the rules.
fn changed(info: &Info, rules: NameRules) -> Vec<usize> {
    let (plain_name, plain) = info.names_under(NameRules::default());
    let (name, paths) = info.names_under(rules);
    let differ = |file: &usize| !info.files()[*file].padding && (plain_name != name || plain[*file] != paths[*file]);
    (0..plain.len()).filter(differ).collect()
}

/// Whether all files of the torrent that are there are different files.
fn all_differ(layout: &Layout) -> bool {
    let mut ids = BTreeSet::new();
    let files = (0..layout.files().len()).filter(|file| !layout.files()[*file].padding);
    let mut there = files.filter_map(|file| sys::file_id(&layout.path(file).metadata().ok()?));
    there.all(|id| ids.insert(id))
}

/// Whether an entry of the folder is found under its name in the other case.
fn folds_by_look(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    let names = entries.take(ENTRIES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut lettered = names.filter(|name| name.bytes().any(|byte| byte.is_ascii_alphabetic()));
    lettered.next().is_some_and(|name| is_found_in_other_case(folder, &name))
}

fn is_found_in_other_case(folder: &Path, name: &str) -> bool {
    let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let id = |name: &str| folder.join(name).symlink_metadata().ok().and_then(|metadata| sys::file_id(&metadata));
    let other: String = name.chars().map(swap).collect();
    id(name).is_some_and(|found| id(&other) == Some(found))
}

/// What the folder, which is made where it is missing, does to the names of these files: found out in a folder in it that is
/// removed again. `None`: none can be made.
fn try_names(folder: &Path, layout: &Layout, files: &[usize]) -> Option<NameRules> {
    std::fs::create_dir_all(folder).ok()?;
    let trial = Trial::new(folder)?;
    let folds = is_found_in_other_case(folder, trial.path.file_name()?.to_str()?);
    let components: BTreeSet<&OsStr> = files.iter().flat_map(|file| name_components(layout, *file)).collect();
    let takes = |name: &OsStr| trial.takes(name).unwrap_or(false);
    let portable = components.into_iter().take(NAMES_TRIED_MAX).any(|name| !takes(name));
    Some(NameRules { folds: folds || NameRules::default().folds, portable: portable || NameRules::default().portable })
}

fn name_components(layout: &Layout, file: usize) -> impl Iterator<Item = &OsStr> {
    layout.files()[file].components.iter().map(OsString::as_os_str)
}

/// A folder that is gone when it is dropped.
struct Trial {
    path: PathBuf,
}

impl Trial {
    fn new(parent: &Path) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(".magnes-names-{}-{count}", std::process::id()));
        DirBuilder::new().create(&path).ok().map(|()| Self { path })
    }

    /// Whether a file can be made under the name, and has just that name then.
    fn takes(&self, name: &OsStr) -> io::Result<bool> {
        let path = self.path.join(name);
        File::create_new(&path)?;
        let listed = self.path.read_dir()?.any(|entry| entry.is_ok_and(|entry| entry.file_name() == name));
        std::fs::remove_file(&path)?;
        Ok(listed)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // There is nothing to do about a folder that stays.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where a file or folder is not there and stands under the name with its letters composed in another way, that is the name.
/// A name that the torrent has itself is never taken.
fn adopt_other_forms(layout: &mut Layout) {
    let mut chosen: BTreeMap<PathBuf, OsString> = BTreeMap::new();
    let mut own: Option<BTreeSet<PathBuf>> = None;
    for file in 0..layout.files().len() {
        let entry = &layout.files()[file];
        if entry.padding || entry.components.iter().all(|name| name.is_ascii()) {
            continue;
        }
        let mut components = layout.files()[file].components.clone();
        let (mut there, mut named) = (layout.folder().to_path_buf(), PathBuf::new());
        for component in &mut components {
            let other = named.join(&*component);
            if let Some(name) = chosen.get(&other) {
                component.clone_from(name);
            } else if let Some(form) = form_on_disk(&there, component)
                && !own.get_or_insert_with(|| own_paths(layout)).contains(&named.join(&form))
            {
                chosen.insert(other.clone(), form.clone());
                *component = form;
            }
            named = other;
            there.push(&*component);
        }
        layout.rename(file, components);
    }
}

/// The other form of the name under which something stands in the folder.
fn form_on_disk(folder: &Path, name: &OsStr) -> Option<OsString> {
    let text = name.to_str().filter(|text| !text.is_ascii())?;
    if folder.join(name).symlink_metadata().is_ok() {
        return None;
    }
    let mut forms = other_forms(text).map(OsString::from);
    forms.find(|form| folder.join(form).symlink_metadata().is_ok())
}

/// The paths of all files of the torrent and of the folders that they are in, as far as they are not ASCII.
fn own_paths(layout: &Layout) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for file in layout.files() {
        let mut path = PathBuf::new();
        for component in &file.components {
            path.push(component);
            if !path.as_os_str().is_ascii() {
                paths.insert(path.clone());
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metainfo;

    /// A torrent of files of one byte each.
    fn info(paths: &[&str]) -> Arc<Info> {
        let component = |name: &str| format!("{}:{name}", name.len());
        let file = |path: &&str| format!("d6:lengthi1e4:pathl{}ee", path.split('/').map(component).collect::<String>());
        let files: String = paths.iter().map(file).collect();
        let raw = format!("d4:infod5:filesl{files}e4:name1:n12:piece lengthi16384e6:pieces20:{}ee", "h".repeat(20));
        Arc::new(Metainfo::parse(raw.into_bytes().into()).unwrap().info)
    }

    fn below(folder: &Path, layout: &Layout) -> Vec<String> {
        let path = |file| layout.path(file).strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (0..layout.files().len()).map(path).collect()
    }

    fn make(folder: &Path, path: &str) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_takes_every_name_gets_them_as_they_are_and_keeps_nothing_of_the_trial() {
        let home = tempfile::tempdir().unwrap();
        let info = info(&["README", "readme", "aux.c", "a\\b", "D/x", "d/x"]);
        let names = ["n/README", "n/readme", "n/aux.c", "n/a\\b", "n/D/x", "n/d/x"];
        for folder in [home.path().to_path_buf(), home.path().join("not/yet")] {
            for how in [FitNames::Look, FitNames::Try] {
                assert_eq!(below(&folder, &fit(&folder, info.clone(), how)), names, "{how:?}");
            }
        }
        let left: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["not"], "the folder itself");
        assert_eq!(home.path().join("not/yet").read_dir().unwrap().count(), 0);
        std::fs::remove_dir_all(home.path().join("not")).unwrap();
        assert!(!folds_by_look(home.path()));
        make(home.path(), "Lettered");
        assert!(!folds_by_look(home.path()) && !is_found_in_other_case(home.path(), "Lettered"));
    }

    #[test]
    fn portable_names_are_used_where_the_user_wants_them_and_where_data_stand_under_them() {
        let home = tempfile::tempdir().unwrap();
        let info = info(&["README", "readme", "aux.c"]);
        let portable = ["n/README", "n/readme.1", "n/_aux.c"];
        assert_eq!(below(home.path(), &fit(home.path(), info.clone(), FitNames::Portable)), portable);
        make(home.path(), "n/_aux.c");
        for how in [FitNames::Look, FitNames::Try] {
            assert_eq!(below(home.path(), &fit(home.path(), info.clone(), how)), portable, "{how:?}");
        }
    }

    #[test]
    fn data_are_found_under_the_other_form_of_their_names() {
        let home = tempfile::tempdir().unwrap();
        let (composed, decomposed) = ("\u{e9}", "e\u{301}");
        for (named, stands) in [(composed, decomposed), (decomposed, composed)] {
            let folder = home.path().join(named);
            make(&folder, &format!("n/{stands}/{stands}.txt"));
            let path = |name: &str| format!("{name}/{name}.txt");
            let layout = fit(&folder, info(&[&path(named), &format!("{named}/new{named}")]), FitNames::Look);
            let made = format!("n/{stands}/new{named}");
            let found = below(&folder, &layout);
            assert!(std::fs::read(layout.path(0)).is_ok(), "{found:?}");
            // Where the system itself finds it under either form, nothing is renamed.
            assert!(found[1] == made || std::fs::read_dir(folder.join("n").join(named)).is_ok(), "{found:?}");
        }
    }

    #[test]
    fn two_forms_in_one_torrent_stay_two_files() {
        let home = tempfile::tempdir().unwrap();
        make(home.path(), "n/\u{e9}");
        let layout = fit(home.path(), info(&["e\u{301}", "\u{e9}"]), FitNames::Look);
        assert_eq!(below(home.path(), &layout), ["n/e\u{301}", "n/\u{e9}"]);
    }
}
