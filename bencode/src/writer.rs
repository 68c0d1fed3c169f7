use crate::Reader;

/// Appends canonical bencode to a buffer. Nothing but the buffer is allocated while keys come in ascending order.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> Writer<'b> {
    /// A writer that appends to `out`.
    #[inline]
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes an integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.out.push(b'i');
        if value < 0 {
            self.out.push(b'-');
        }
        push_decimal(self.out, value.unsigned_abs());
        self.out.push(b'e');
    }

    /// Writes a byte string.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        push_len(self.out, value.len());
        self.out.extend_from_slice(value);
    }

    /// Writes one byte string made of `parts` in order.
    pub fn byte_parts(&mut self, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        push_len(self.out, len);
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }

    /// Writes one byte string of exactly `len` bytes, which `fill` puts into a zeroed slice.
    pub fn bytes_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        push_len(self.out, len);
        let start = self.out.len();
        self.out.resize(start + len, 0);
        fill(&mut self.out[start..]);
    }

    /// Splices in one value that is encoded already. The caller vouches that it is exactly one bencoded value.
    pub fn raw(&mut self, value: &[u8]) {
        debug_assert!(is_one_value(value), "raw takes exactly one bencoded value");
        self.out.extend_from_slice(value);
    }

    /// Writes a list of what `items` writes.
    #[inline]
    pub fn list(&mut self, items: impl FnOnce(&mut Writer<'_>)) {
        self.out.push(b'l');
        items(&mut Writer { out: self.out });
        self.out.push(b'e');
    }

    /// Writes a dictionary of what `entries` writes. Keys may come in any order; ascending order is the fast way.
    #[inline]
    pub fn dict(&mut self, entries: impl FnOnce(&mut DictWriter<'_>)) {
        self.out.push(b'd');
        let start = self.out.len();
        let mut dict = DictWriter { out: self.out, key_last: None, sorted: true };
        entries(&mut dict);
        if !dict.sorted {
            sort_entries(self.out, start);
        }
        self.out.push(b'e');
    }
}

/// Writes the entries of a dictionary.
#[derive(Debug)]
pub struct DictWriter<'b> {
    out: &'b mut Vec<u8>,
    /// The head of the last key, and where its content stands in `out`.
    key_last: Option<(u64, std::ops::Range<usize>)>,
    sorted: bool,
}

impl DictWriter<'_> {
    /// Writes a key; the caller writes exactly one value with the writer that is returned.
    #[inline]
    pub fn key(&mut self, key: &[u8]) -> Writer<'_> {
        let head = head_of(key);
        if let Some((last_head, last)) = self.key_last.take() {
            // The heads tell nearly all keys apart, and are known where a key is.
            self.sorted &= last_head < head || (last_head == head && self.out[last] < *key);
        }
        Writer { out: self.out }.bytes(key);
        self.key_last = Some((head, self.out.len() - key.len()..self.out.len()));
        Writer { out: self.out }
    }
}

/// The first bytes of a key, as a number that orders as they do.
#[inline]
fn head_of(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = key.len().min(8);
    head[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(head)
}

/// Brings the entries from `start` to the end of `out` into ascending order of their keys; of equal keys the last stays.
fn sort_entries(out: &mut Vec<u8>, start: usize) {
    let body = out.split_off(start);
    let mut entries = Vec::new();
    let mut reader = Reader::new(&body);
    while reader.position() < body.len() {
        let Ok(key) = reader.bytes() else { break };
        let Ok(value) = reader.raw() else { break };
        entries.push((key, value));
    }
    entries.sort_by(|a, b| a.0.cmp(b.0));
    for (index, (key, value)) in entries.iter().enumerate() {
        if entries.get(index + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        let mut writer = Writer { out };
        writer.bytes(key);
        writer.raw(value);
    }
}

/// The length of a byte string. Most are short, and known where they are written.
#[inline]
fn push_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..10 => out.extend_from_slice(&[b'0' + len as u8, b':']),
        10..100 => out.extend_from_slice(&[b'0' + (len / 10) as u8, b'0' + (len % 10) as u8, b':']),
        _ => {
            push_decimal(out, len as u64);
            out.push(b':');
        }
    }
}

fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn is_one_value(value: &[u8]) -> bool {
    let mut reader = Reader::new(value);
    reader.skip().is_ok() && reader.finish().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn integers_and_strings() {
        assert_eq!(written(|w| w.int(i64::MIN)), b"i-9223372036854775808e");
        assert_eq!(written(|w| w.int(0)), b"i0e");
        assert_eq!(written(|w| w.bytes(b"")), b"0:");
        assert_eq!(written(|w| w.byte_parts(&[b"ab", b"c"])), b"3:abc");
        assert_eq!(written(|w| w.bytes_with(2, |slot| slot.copy_from_slice(b"xy"))), b"2:xy");
    }

    #[test]
    fn keys_are_sorted_whatever_the_order_of_the_calls() {
        let out = written(|w| {
            w.dict(|d| {
                d.key(b"b").list(|l| l.int(1));
                d.key(b"a").dict(|d| d.key(b"z").int(1));
                d.key(b"").raw(b"i5e");
            });
        });
        assert_eq!(out, b"d0:i5e1:ad1:zi1ee1:bli1eee");
    }

    #[test]
    fn of_equal_keys_the_last_stays() {
        let out = written(|w| {
            w.dict(|d| {
                d.key(b"a").int(1);
                d.key(b"a").int(2);
            });
        });
        assert_eq!(out, b"d1:ai2ee");
    }
}
