//! What waits for the disk is not done on the network thread.

/// The folders whose code runs on the network thread.
const FOLDERS: [&str; 2] = ["src/engine/", "src/session/"];

/// What waits for the disk, in the standard library and in `storage`.
const WORDS: [&str; 18] = [
    "std::fs",
    "File::open",
    "File::create",
    "OpenOptions::new",
    "canonicalize",
    "symlink_metadata",
    "read_dir",
    "create_dir_all",
    "try_exists",
    "thread::sleep",
    "Resume::load",
    "WriteLock::take",
    "StateLock::take",
    "Layout::new",
    "fit",
    "survey",
    "settle",
    "hash_path",
];

/// Functions of these folders that wait for the disk: by file, name, and how they are called.
const FUNCTIONS: [(&str, &str, &str); 6] = [
    ("src/engine/files.rs", "look", "look"),
    ("src/engine/files.rs", "write_resume", "write_resume"),
    ("src/session/state.rs", "open", "StateDir::open"),
    ("src/session/state.rs", "lock_table", "lock_table"),
    ("src/session/state.rs", "lock_resume", "lock_resume"),
    ("src/session/state.rs", "resolved", "resolved"),
];

/// Names what waits for the disk outside `spawn_blocking` and the functions that wait themselves.
pub(crate) fn breaches(path: &str, text: &str) -> Vec<String> {
    if !FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    let code: String = text.lines().map(|line| format!("{}\n", line.split("//").next().unwrap_or_default())).collect();
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut allowed = spans(code, "spawn_blocking", '(', ')');
    for (_, name, _) in FUNCTIONS.iter().filter(|(file, ..)| *file == path) {
        allowed.extend(spans(code, &format!("fn {name}"), '{', '}'));
    }
    let mut found = Vec::new();
    for word in WORDS.into_iter().chain(FUNCTIONS.map(|(_, _, call)| call)) {
        let calls = code.match_indices(word).filter(|(at, _)| is_call(code, *at, word));
        for (at, _) in calls.filter(|(at, _)| !allowed.iter().any(|(begin, end)| (begin..end).contains(&at))) {
            let line = code[..at].matches('\n').count() + 1;
            found.push(format!("{path}:{line}: `{word}` waits for the disk: only inside `spawn_blocking`"));
        }
    }
    found
}

/// A plain name is a call where it is followed by its arguments and is no method of something else that bears it.
fn is_call(code: &str, at: usize, word: &str) -> bool {
    let (before, after) = (&code[..at], &code[at + word.len()..]);
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    if before.ends_with(is_letter) || after.starts_with(is_letter) || before.ends_with("fn ") {
        return false;
    }
    let is_own = matches!(word, "fit" | "survey" | "settle" | "look" | "resolved");
    word.contains("::") || (after.starts_with('(') && !(is_own && before.ends_with('.')))
}

/// Where in the code what is named is followed by what the brackets hold.
fn spans(code: &str, name: &str, open: char, close: char) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(name) {
        let mut depth = 0;
        for (offset, letter) in code[at..].char_indices() {
            if letter == open {
                depth += 1;
            } else if letter == close {
                depth -= 1;
                if depth == 0 {
                    found.push((at, at + offset));
                    break;
                }
            } else if letter == ';' && depth == 0 {
                break;
            }
        }
    }
    found
}
