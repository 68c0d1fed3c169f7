use magnes_bencode::{Reader, Writer};

/// Bytes as a bencoded string.
pub(super) fn of_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    Writer::new(&mut out).bytes(bytes);
    out
}

/// The text of a value that is a bencoded string of text.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let mut reader = Reader::new(value);
    let bytes = reader.bytes().ok()?;
    reader.finish().ok()?;
    std::str::from_utf8(bytes).ok()
}

/// A value for people: its text as it is, without what could steer a terminal, anything else bencoded and escaped.
pub(super) fn shown(value: &[u8]) -> String {
    match text(value) {
        Some(text) => {
            let plain = |letter: char| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter };
            text.chars().map(plain).collect()
        }
        None => value.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_is_and_the_rest_escaped() {
        assert_eq!(of_bytes(b"Hello World!"), b"12:Hello World!");
        assert_eq!(shown(b"12:Hello World!"), "Hello World!");
        assert_eq!(shown(b"6:a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(shown(b"2:\xff\x00"), "2:\\xff\\x00");
        assert_eq!(shown(b"d1:ai1ee"), "d1:ai1ee");
        assert_eq!((text(b"i1e"), text(b"1:ab"), text(b"2:ab")), (None, None, Some("ab")));
    }
}
