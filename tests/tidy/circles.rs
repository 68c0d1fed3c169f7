//! Which file imports which, and the circles in that.

use std::collections::{BTreeMap, BTreeSet};

/// Re-exports that lead to re-exports: more than any tree has.
const HOPS_MAX: usize = 8;

/// The files of one crate, by module path from its root: `[]` is `lib.rs`.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Debug, Default)]
struct Module {
    path: String,
    /// Every path that the code names, with where it is looked for.
    names: Vec<Vec<String>>,
    /// What `use` brings into the module, by its name there.
    uses: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// Takes a file in; `inside` is its path below the folder of the crate's root file.
    pub(crate) fn add(&mut self, path: &str, inside: &str, text: &str) {
        let mut module: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let code = without_tests_and_comments(text);
        let mut uses = BTreeMap::new();
        let mut names = Vec::new();
        for (tree, is_exported) in use_trees(&code) {
            for (path, alias) in expand(&tree) {
                uses.insert(alias, path.clone());
                // What a folder shows of its files, it does not need itself.
                if !is_exported {
                    names.push(path);
                }
            }
        }
        names.extend(inline_paths(&code));
        self.modules.insert(module, Module { path: path.to_owned(), names, uses });
    }

    /// The files of each circle, as a line of text.
    pub(crate) fn circles(&self) -> Vec<String> {
        let edges: BTreeMap<&[String], BTreeSet<&[String]>> =
            self.modules.keys().map(|module| (module.as_slice(), self.imports(module))).collect();
        let mut open: BTreeSet<&[String]> = edges.keys().copied().collect();
        // Whatever imports nothing open, or is imported by nothing open, is in no circle.
        loop {
            let imported: BTreeSet<&[String]> = open.iter().flat_map(|module| edges[module].iter().copied()).collect();
            let ends = |module: &&[String]| {
                !imported.contains(module) || edges[module].iter().all(|below| !open.contains(below))
            };
            let done: Vec<&[String]> = open.iter().copied().filter(ends).collect();
            if done.is_empty() {
                break;
            }
            done.iter().for_each(|module| {
                open.remove(module);
            });
        }
        open.iter()
            .map(|module| {
                let below: Vec<&str> = edges[module]
                    .iter()
                    .filter(|below| open.contains(*below))
                    .map(|below| self.modules[*below].path.as_str())
                    .collect();
                format!("{} is in a circle with {}", self.modules[*module].path, below.join(", "))
            })
            .collect()
    }

    /// What the files import that their floors do not allow, each a line of text. A floor is a folder or file at the root.
    pub(crate) fn above(&self, floors: &[(&str, &[&str])]) -> Vec<String> {
        let mut found = Vec::new();
        for (module, Module { path, .. }) in &self.modules {
            let Some(home) = module.first() else { continue };
            let Some((_, below)) = floors.iter().find(|(name, _)| name == home) else {
                found.push(format!("{path}: on no floor"));
                continue;
            };
            let imported: BTreeSet<&String> =
                self.imports(module).into_iter().filter_map(|name| name.first()).collect();
            for name in imported.into_iter().filter(|name| *name != home && !below.contains(&name.as_str())) {
                found.push(format!("{path}: imports `{name}`, which is not below it"));
            }
        }
        found
    }

    /// The modules that one imports. A file below a machine's folder may speak of the machine itself, which `mod.rs` holds.
    fn imports(&self, module: &[String]) -> BTreeSet<&[String]> {
        let names = self.modules[module].names.iter();
        names.filter_map(|name| self.resolve(module, name, 0)).filter(|found| !module.starts_with(found)).collect()
    }

    /// The module in which what `path` names, seen from `module`, is defined.
    fn resolve(&self, module: &[String], path: &[String], hops: usize) -> Option<&[String]> {
        let (first, mut rest) = path.split_first()?;
        let mut at: Vec<String> = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            _ => {
                let mut at = module.to_vec();
                at.push(first.clone());
                at
            }
        };
        if !self.modules.contains_key(&at) {
            return None;
        }
        while let Some((name, below)) = rest.split_first() {
            if name == "super" {
                at.pop();
            } else {
                at.push(name.clone());
                if !self.modules.contains_key(&at) {
                    at.pop();
                    let exported = self.modules[&at].uses.get(name).filter(|_| hops < HOPS_MAX);
                    if let Some(found) = exported.and_then(|target| self.resolve(&at, target, hops + 1)) {
                        return Some(found);
                    }
                    break;
                }
            }
            rest = below;
        }
        self.modules.get_key_value(&at).map(|(module, _)| module.as_slice())
    }
}

fn without_tests_and_comments(text: &str) -> String {
    let code = text.lines().take_while(|line| !line.starts_with("mod tests {"));
    code.map(|line| format!("{}\n", super::code_of(line))).collect()
}

/// What stands between `use` and `;`, and whether it is shown to others.
fn use_trees(code: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for statement in code.split(';') {
        let begins = [("use ", false), ("pub use ", true), ("pub(crate) use ", true), ("pub(super) use ", true)];
        let tree = statement.lines().enumerate().find_map(|(index, line)| {
            let strip = |(begin, exported)| Some((line.trim_start().strip_prefix(begin)?, exported));
            let (start, is_exported) = begins.into_iter().find_map(strip)?;
            let rest: Vec<&str> = statement.lines().skip(index + 1).collect();
            Some((format!("{start} {}", rest.join(" ")), is_exported))
        });
        found.extend(tree);
    }
    found
}

/// The paths of a `use` tree, each with the name that it gets.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
        let mut path: Vec<String> = path.split("::").map(|name| name.trim().to_owned()).collect();
        if path.last().is_some_and(|name| name == "self") {
            path.pop();
        }
        let alias = alias.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
        return vec![(path, alias)];
    };
    let list = list.trim_end().strip_suffix('}').unwrap_or(list);
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(letter);
    }
    items.push(item);
    items
        .iter()
        .filter(|item| !item.trim().is_empty())
        .flat_map(|item| expand(&format!("{head}{}", item.trim())))
        .collect()
}

/// Paths from `crate` and `super` outside of `use`.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        let in_use =
            |at: usize| code[..at].rsplit([';', '}', '{']).next().is_some_and(|before| before.contains("use "));
        for (at, _) in code.match_indices(root).filter(|(at, _)| !in_use(*at)) {
            let path =
                code[at..].split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | ':'))).next();
            let names = path.unwrap_or_default().split("::").filter(|name| !name.is_empty());
            found.push(names.map(str::to_owned).collect());
        }
    }
    found
}
