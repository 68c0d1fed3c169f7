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

/// A value for people, in lines: its text, anything else bencoded and escaped.
pub(super) fn shown(value: &[u8]) -> Vec<String> {
    match text(value) {
        Some(text) => text.split('\n').map(str::to_owned).collect(),
        None => vec![value.escape_ascii().to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_is_and_the_rest_escaped() {
        assert_eq!(of_bytes(b"Hello World!"), b"12:Hello World!");
        assert_eq!(shown(b"12:Hello\nWorld!"), ["Hello", "World!"]);
        assert_eq!(shown(b"2:\xff\x00"), ["2:\\xff\\x00"]);
        assert_eq!(shown(b"d1:ai1ee"), ["d1:ai1ee"]);
        assert_eq!((text(b"i1e"), text(b"1:ab"), text(b"2:ab")), (None, None, Some("ab")));
    }
}
