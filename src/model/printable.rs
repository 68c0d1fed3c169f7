//! Text that a stranger wrote, as it can be shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text on one line, with escapes in place of whatever moves a cursor, ends a line, turns the writing direction or
/// is not seen.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_steering(letter) {
            // Writing into a string does not fail.
            let _ = write!(escaped, "{}", letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

/// Whether the character moves a cursor, ends a line, turns the writing direction or is not seen.
pub fn is_steering(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Marks, embeddings, overrides and isolates of the writing direction, and what Unicode deprecates.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Ends of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // A byte order mark, annotations, and tags: text that is not seen.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_steers_a_terminal_is_escaped_and_everything_else_is_as_it_was() {
        for text in ["", "plain", "a\\b", "Ünïcödé 名前 🏳️‍🌈", "نام‌ها", "{}\"'"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(printable("\x1b[2Jgone\ninfo hash  0000\r\x07"), "\\u{1b}[2Jgone\\ninfo hash  0000\\r\\u{7}");
        assert_eq!(printable("a\u{9b}31mb\u{7f}"), "a\\u{9b}31mb\\u{7f}");
        assert_eq!(printable("photo\u{202e}gpj.exe"), "photo\\u{202e}gpj.exe");
    }

    #[test]
    fn no_control_of_any_kind_gets_through() {
        let controls = (0..=0x9f).filter_map(char::from_u32).filter(|letter| letter.is_control());
        let bidi = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        for letter in controls.chain(bidi.chars()).chain("\u{2028}\u{2029}\u{feff}\u{e0041}".chars()) {
            let shown = printable(&letter.to_string()).into_owned();
            assert!(shown.starts_with('\\') && shown.is_ascii(), "{letter:?}: {shown:?}");
            assert!(!shown.contains(char::is_control), "{letter:?}: {shown:?}");
        }
    }
}
