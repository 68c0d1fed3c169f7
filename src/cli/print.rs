//! The one place that writes to stdout and stderr: nothing that a stranger wrote steers a terminal, and a reader that
//! is gone, or a full disk behind a redirection, is no reason to stop.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};
use magnes::model::is_steering;
use serde_json::Value;

pub(crate) use magnes::model::printable;

/// What is drawn in place on the terminal's last lines. The terminal is the process's; so is this.
static DRAWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// One line of a result on stdout.
pub(crate) fn line(text: &str) {
    let line = format!("{}\n", printable(text));
    above_bar(|| to_stdout(line.as_bytes()));
}

/// One JSON value on a line of stdout: its reader gets every text as it is, a terminal nothing that steers it.
pub(crate) fn json(value: &Value) {
    to_stdout(format!("{}\n", json_text(value)).as_bytes());
}

/// Bytes on stdout that were asked for as they are.
pub(crate) fn raw(bytes: &[u8]) {
    to_stdout(bytes);
}

/// One line for people on stderr.
pub(crate) fn note(text: &str) {
    let line = format!("{}\n", printable(text));
    above_bar(|| to_stderr(line.as_bytes()));
}

/// What did not go as it should, and stops nothing.
pub(crate) fn warning(text: &str) {
    note(&format!("warning: {text}"));
}

/// Why the program fails.
pub(crate) fn failure(text: &str) {
    note(&format!("magnes: {text}"));
}

/// A line of the log, which is escaped already and has colours of its own.
pub(super) fn log_line(line: &[u8]) {
    above_bar(|| to_stderr(line));
}

/// What clap has to say about the arguments, in its colours unless they, which it quotes, could steer a terminal. Returns
/// whether that is a failure: help is none.
pub(super) fn clap(error: &clap::Error) -> bool {
    if std::env::args_os().all(|arg| !arg.to_string_lossy().contains(is_steering)) {
        // Whoever closed the pipe does not want it.
        let _ = error.print();
    } else {
        error.to_string().lines().for_each(note);
    }
    error.use_stderr()
}

/// Whether stdout is a terminal.
pub(crate) fn is_stdout_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether stderr is a terminal.
pub(crate) fn is_stderr_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// What is drawn in place on stderr, below all lines; hidden unless stderr is a terminal. The last one made is drawn.
pub(crate) fn bar(template: &str) -> ProgressBar {
    if !is_stderr_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    bar
}

/// Shows lines in place of what `bar` showed, each cut to the width of the terminal.
pub(crate) fn draw(bar: &ProgressBar, lines: &[String]) {
    let columns = columns();
    let cut: Vec<String> = lines.iter().map(|line| fit(&printable(line), columns)).collect();
    bar.set_message(cut.join("\n"));
}

/// Columns of the terminal that stderr is, less two for the sign of life at the start of what is drawn.
pub(crate) fn columns() -> usize {
    usize::from(console::Term::stderr().size().1).saturating_sub(2)
}

/// A text cut to a width in columns, with an ellipsis in place of what does not fit.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if columns == 0 {
        return String::new();
    }
    console::truncate_str(text, columns, "…").into_owned()
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// JSON in which whatever steers a terminal is written as JSON's own escape, which leaves the value the same.
fn json_text(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_steering) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_steering(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing into a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Takes what is drawn away for as long as a line is written, so that neither breaks into the other.
fn above_bar(write: impl FnOnce()) {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    match drawn.as_ref().and_then(WeakProgressBar::upgrade) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn to_stdout(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    // A reader that is gone, or has no room, misses it.
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

fn to_stderr(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_value_and_steers_nothing() {
        let value = serde_json::json!({ "name": "a\x1b\n\u{7f}\u{9b}\u{202e}\u{e0041}\"ü名", "bytes": 1 });
        let text = json_text(&value);
        assert!(!text.contains(is_steering) && text.contains("\\u202e\\udb40\\udc41"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_text_is_cut_by_the_columns_it_takes() {
        assert_eq!(fit("waiting", 7), "waiting");
        assert_eq!(fit("waiting", 6), "waiti…");
        let wide = fit("名前名前名前", 8);
        assert!(wide.ends_with('…') && width(&wide) <= 8, "{wide}");
        assert_eq!(fit("anything", 0), "");
    }
}
