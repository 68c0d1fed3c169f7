//! How long a source file and a function may be.

/// Lines of a file, and of a function from its name to its closing brace.
pub(crate) const FILE_LINES_MAX: usize = 600;
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// Names what of a file is too long.
pub(crate) fn breaches(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX} are allowed"));
    }
    for Function { name, line, lines } in functions(text).into_iter().filter(|it| it.lines > FUNCTION_LINES_MAX) {
        found.push(format!("{path}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed"));
    }
    found
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// The functions of a file as rustfmt leaves it: the brace that closes one stands by itself, as far in as its first line.
fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_named(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        // On one line, or declared without a body over several, or closed.
        let is_end = |(index, line): (usize, &&str)| {
            let Some(rest) = line.strip_prefix(indent) else { return false };
            rest == "}" || (index == 0 && rest.ends_with(['}', ';'])) || (rest.starts_with(')') && rest.ends_with(';'))
        };
        if let Some(behind) = lines[at..].iter().enumerate().position(is_end) {
            found.push(Function { name, line: at + 1, lines: behind + 1 });
        }
    }
    found
}

/// The name of the function that begins on a line.
fn function_named(line: &str) -> Option<String> {
    let mut words = line.trim_start();
    while let Some((word, rest)) = words.split_once(' ') {
        if word == "fn" {
            return Some(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
        }
        let is_before = matches!(word, "pub" | "const" | "async" | "unsafe" | "in") || word.starts_with("pub(");
        if !is_before && !word.ends_with(')') {
            return None;
        }
        words = rest;
    }
    None
}
