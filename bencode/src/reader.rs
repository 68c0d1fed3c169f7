use crate::{DEPTH_MAX, Error, ErrorKind};

/// The longest run of digits of a string length that can matter: 10^10 is more than any input here.
const LENGTH_DIGITS_MAX: usize = 10;

/// The type of the next value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An integer, `i..e`.
    Int,
    /// A byte string, `N:..`.
    Bytes,
    /// A list, `l..e`.
    List,
    /// A dictionary, `d..e`.
    Dict,
}

/// Pulls values out of borrowed bytes. See the crate's documentation for an example.
///
/// A call that fails leaves the reader at the start of the value it was asked for, so that a caller who can do without
/// may skip it.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
    depth: u32,
    strict: bool,
}

impl<'a> Reader<'a> {
    /// A reader that accepts unsorted keys, leading zeros and trailing bytes.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0, depth: 0, strict: false }
    }

    /// A reader that accepts only the canonical encoding. Call [`Reader::finish`] to refuse trailing bytes too.
    pub fn strict(input: &'a [u8]) -> Self {
        Self { strict: true, ..Self::new(input) }
    }

    /// Offset in bytes of the next value.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The type of the next value.
    #[inline]
    pub fn kind(&self) -> Result<Kind, Error> {
        match self.peek()? {
            b'i' => Ok(Kind::Int),
            b'0'..=b'9' => Ok(Kind::Bytes),
            b'l' => Ok(Kind::List),
            b'd' => Ok(Kind::Dict),
            byte => Err(self.error(ErrorKind::UnexpectedByte(byte))),
        }
    }

    /// Reads an integer.
    pub fn int(&mut self) -> Result<i64, Error> {
        self.expect_kind(Kind::Int)?;
        let (value, end) = self.scan_int(self.position)?;
        self.position = end;
        Ok(value)
    }

    /// Reads a byte string.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        self.expect_kind(Kind::Bytes)?;
        let (start, end) = self.scan_bytes(self.position)?;
        self.position = end;
        Ok(&self.input[start..end])
    }

    /// Enters a dictionary.
    pub fn dict(&mut self) -> Result<Dict<'_, 'a>, Error> {
        self.enter(Kind::Dict)?;
        let depth = self.depth;
        Ok(Dict { reader: self, depth, key_last: None, value_start: None })
    }

    /// Enters a list.
    pub fn list(&mut self) -> Result<List<'_, 'a>, Error> {
        self.enter(Kind::List)?;
        let depth = self.depth;
        Ok(List { reader: self, depth, item_start: None })
    }

    /// Skips the next value, whatever it is, and returns its bytes as they stand in the input.
    pub fn raw(&mut self) -> Result<&'a [u8], Error> {
        let start = self.position;
        let depth = self.depth;
        match self.skip_value() {
            Ok(()) => Ok(&self.input[start..self.position]),
            Err(error) => {
                self.position = start;
                self.depth = depth;
                Err(error)
            }
        }
    }

    /// Skips the next value, whatever it is.
    pub fn skip(&mut self) -> Result<(), Error> {
        self.raw().map(|_| ())
    }

    /// Fails when there are bytes after the values that were read.
    pub fn finish(self) -> Result<(), Error> {
        if self.position < self.input.len() { Err(self.error(ErrorKind::TrailingBytes)) } else { Ok(()) }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, position: self.position }
    }

    #[inline]
    fn peek(&self) -> Result<u8, Error> {
        self.input.get(self.position).copied().ok_or_else(|| self.error(ErrorKind::Truncated))
    }

    #[inline]
    fn expect_kind(&self, kind: Kind) -> Result<(), Error> {
        if self.kind()? == kind { Ok(()) } else { Err(self.error(ErrorKind::WrongType)) }
    }

    fn enter(&mut self, kind: Kind) -> Result<(), Error> {
        self.expect_kind(kind)?;
        if self.depth == DEPTH_MAX {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.depth += 1;
        self.position += 1;
        Ok(())
    }

    /// Consumes the `e` of the innermost list or dictionary if it is next.
    #[inline]
    fn leave(&mut self) -> Result<bool, Error> {
        if self.peek()? != b'e' {
            return Ok(false);
        }
        self.position += 1;
        self.depth -= 1;
        Ok(true)
    }

    /// Value and end offset of the integer at `start`, which is an `i`.
    fn scan_int(&self, start: usize) -> Result<(i64, usize), Error> {
        let (negative, digits, end) = self.scan_digits(start)?;
        // Built on the negative side, which holds i64::MIN too.
        let value =
            digits.iter().try_fold(0i64, |value, byte| value.checked_mul(10)?.checked_sub((byte - b'0').into()));
        let value = if negative { value } else { value.and_then(i64::checked_neg) };
        Ok((value.ok_or(Error { kind: ErrorKind::BadInteger, position: start })?, end))
    }

    /// Sign, digits and end offset of the integer at `start`, which is an `i`. The format knows no largest integer.
    fn scan_digits(&self, start: usize) -> Result<(bool, &'a [u8], usize), Error> {
        let fail = |kind| Error { kind, position: start };
        let negative = self.input.get(start + 1) == Some(&b'-');
        let digits_start = start + 1 + usize::from(negative);
        let rest = self.input.get(digits_start..).unwrap_or_default();
        let digits = &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()];
        match rest.get(digits.len()) {
            Some(b'e') if !digits.is_empty() => {}
            Some(_) => return Err(fail(ErrorKind::BadInteger)),
            None => return Err(fail(ErrorKind::Truncated)),
        }
        if self.strict && digits[0] == b'0' && (digits.len() > 1 || negative) {
            return Err(fail(ErrorKind::NotCanonical));
        }
        Ok((negative, digits, digits_start + digits.len() + 1))
    }

    /// Content range of the byte string at `start`, which is a digit.
    #[inline]
    fn scan_bytes(&self, start: usize) -> Result<(usize, usize), Error> {
        // Most lengths have one digit or two; everything that is not as simple goes the long way.
        match self.input[start..] {
            [ones, b':', ref rest @ ..] if usize::from(ones - b'0') <= rest.len() => {
                Ok((start + 2, start + 2 + usize::from(ones - b'0')))
            }
            [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b':', ref rest @ ..] => {
                let len = usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
                if len <= rest.len() { Ok((start + 3, start + 3 + len)) } else { self.scan_long_bytes(start) }
            }
            _ => self.scan_long_bytes(start),
        }
    }

    fn scan_long_bytes(&self, start: usize) -> Result<(usize, usize), Error> {
        let fail = |kind| Error { kind, position: start };
        let mut len: usize = 0;
        let mut at = start;
        loop {
            match self.input.get(at) {
                Some(byte @ b'0'..=b'9') if at - start < LENGTH_DIGITS_MAX => {
                    len = len
                        .checked_mul(10)
                        .and_then(|l| l.checked_add(usize::from(byte - b'0')))
                        .ok_or(fail(ErrorKind::BadLength))?;
                    at += 1;
                }
                Some(b':') => break,
                Some(_) => return Err(fail(ErrorKind::BadLength)),
                None => return Err(fail(ErrorKind::Truncated)),
            }
        }
        if self.strict && self.input[start] == b'0' && at - start > 1 {
            return Err(fail(ErrorKind::NotCanonical));
        }
        let content = at + 1;
        match content.checked_add(len) {
            Some(end) if end <= self.input.len() => Ok((content, end)),
            _ => Err(fail(ErrorKind::Truncated)),
        }
    }

    fn skip_value(&mut self) -> Result<(), Error> {
        match self.kind()? {
            // One that does not fit is no error where nobody asks for it.
            Kind::Int => self.scan_digits(self.position).map(|(.., end)| self.position = end),
            Kind::Bytes => self.bytes().map(|_| ()),
            Kind::List => {
                let mut list = self.list()?;
                while let Some(item) = list.item()? {
                    item.skip_value()?;
                }
                Ok(())
            }
            Kind::Dict => {
                let mut dict = self.dict()?;
                while let Some((_, value)) = dict.entry()? {
                    value.skip_value()?;
                }
                Ok(())
            }
        }
    }

    /// Brings the reader to the end of the value that began at `start` on level `depth`, however much of it was read.
    fn finish_value(&mut self, start: usize, depth: u32) -> Result<(), Error> {
        if self.position == start {
            return self.skip_value();
        }
        while self.depth > depth {
            if !self.leave()? {
                self.skip_value()?;
            }
        }
        Ok(())
    }
}

/// The entries of a dictionary, in the order in which they stand in the input.
#[derive(Debug)]
pub struct Dict<'r, 'a> {
    reader: &'r mut Reader<'a>,
    depth: u32,
    key_last: Option<&'a [u8]>,
    value_start: Option<usize>,
}

impl<'a> Dict<'_, 'a> {
    /// The next key, and the reader to take its value from. What is left of the value before it is skipped.
    ///
    /// Returns `None` once, at the end of the dictionary; the reader stands behind it then.
    #[inline]
    pub fn entry(&mut self) -> Result<Option<(&'a [u8], &mut Reader<'a>)>, Error> {
        if let Some(start) = self.value_start.take() {
            self.reader.finish_value(start, self.depth)?;
        }
        if self.reader.leave()? {
            return Ok(None);
        }
        let position = self.reader.position;
        let key = self.reader.bytes()?;
        if self.reader.strict && self.key_last.is_some_and(|last| key <= last) {
            return Err(Error { kind: ErrorKind::UnsortedKeys, position });
        }
        self.key_last = Some(key);
        self.value_start = Some(self.reader.position);
        Ok(Some((key, self.reader)))
    }
}

/// The items of a list.
#[derive(Debug)]
pub struct List<'r, 'a> {
    reader: &'r mut Reader<'a>,
    depth: u32,
    item_start: Option<usize>,
}

impl<'a> List<'_, 'a> {
    /// The reader to take the next item from. What is left of the item before it is skipped.
    ///
    /// Returns `None` once, at the end of the list; the reader stands behind it then.
    pub fn item(&mut self) -> Result<Option<&mut Reader<'a>>, Error> {
        if let Some(start) = self.item_start.take() {
            self.reader.finish_value(start, self.depth)?;
        }
        if self.reader.leave()? {
            return Ok(None);
        }
        self.item_start = Some(self.reader.position);
        Ok(Some(self.reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use proptest::prelude::*;

    /// The whole value, read strictly or not.
    fn check(input: &[u8], strict: bool) -> Result<(), ErrorKind> {
        let mut reader = if strict { Reader::strict(input) } else { Reader::new(input) };
        reader.skip().and_then(|()| reader.finish()).map_err(|error| error.kind)
    }

    #[test]
    fn integers_cover_all_of_i64_and_nothing_more() {
        for value in [0, 1, -1, 42, i64::MAX, i64::MIN] {
            assert_eq!(Reader::strict(format!("i{value}e").as_bytes()).int(), Ok(value));
        }
        for bad in ["ie", "i-e", "i+1e", "i1.5e", "i 1e", "i--1e"] {
            assert_eq!(check(bad.as_bytes(), false), Err(ErrorKind::BadInteger), "{bad}");
        }
        for large in ["i9223372036854775808e", "i-9223372036854775809e"] {
            assert_eq!(Reader::new(large.as_bytes()).int().map_err(|error| error.kind), Err(ErrorKind::BadInteger));
            assert_eq!(check(large.as_bytes(), true), Ok(()), "skipped, it is a value like others");
        }
    }

    #[test]
    fn an_integer_that_does_not_fit_costs_only_its_key() {
        let mut reader = Reader::new(b"d1:ai99999999999999999999e1:bi1ee");
        let mut dict = reader.dict().unwrap();
        assert!(dict.entry().unwrap().unwrap().1.int().is_err());
        assert_eq!(dict.entry().unwrap().unwrap().1.int(), Ok(1));
    }

    #[test]
    fn strict_reading_accepts_one_encoding_only() {
        for (input, kind) in [
            ("i01e", ErrorKind::NotCanonical),
            ("i-0e", ErrorKind::NotCanonical),
            ("01:a", ErrorKind::NotCanonical),
            ("d1:bi1e1:ai1ee", ErrorKind::UnsortedKeys),
            ("d1:ai1e1:ai1ee", ErrorKind::UnsortedKeys),
        ] {
            assert_eq!(check(input.as_bytes(), true), Err(kind), "{input}");
            assert_eq!(check(input.as_bytes(), false), Ok(()), "{input}");
        }
        assert_eq!(check(b"i1ex", false), Err(ErrorKind::TrailingBytes));
    }

    #[test]
    fn a_string_length_never_reaches_past_the_input() {
        for bad in ["5:abcd", "99999999999:a", "18446744073709551616:a", "-1:a", "4294967295:a"] {
            assert!(check(bad.as_bytes(), false).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: u32| {
            let mut input = vec![b'l'; depth as usize];
            input.resize(2 * depth as usize, b'e');
            input
        };
        assert_eq!(check(&nested(DEPTH_MAX), false), Ok(()));
        assert_eq!(check(&nested(DEPTH_MAX + 1), false), Err(ErrorKind::TooDeep));
        assert_eq!(check(&vec![b'd'; 1 << 20], false), Err(ErrorKind::WrongType));
    }

    #[test]
    fn values_that_were_not_or_only_partly_read_are_skipped() {
        let input = b"d1:ali1eli2eee1:bd1:xi1e1:yi2ee1:ci7ee";
        let mut reader = Reader::new(input);
        let mut dict = reader.dict().unwrap();
        let (_, value) = dict.entry().unwrap().unwrap();
        let mut list = value.list().unwrap();
        list.item().unwrap().unwrap().int().unwrap();
        list.item().unwrap().unwrap().list().unwrap();
        let (_, value) = dict.entry().unwrap().unwrap();
        assert_eq!(value.int().unwrap_err().kind, ErrorKind::WrongType);
        let (key, value) = dict.entry().unwrap().unwrap();
        assert_eq!((key, value.int().unwrap()), (&b"c"[..], 7));
        assert!(dict.entry().unwrap().is_none());
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn a_raw_span_is_the_bytes_as_they_stand() {
        let mut reader = Reader::new(b"d4:infod1:b0:1:ai01eee");
        let mut dict = reader.dict().unwrap();
        let (_, value) = dict.entry().unwrap().unwrap();
        assert_eq!(value.raw().unwrap(), b"d1:b0:1:ai01ee");
    }

    #[derive(Debug, Clone)]
    enum Value {
        Int(i64),
        Bytes(Vec<u8>),
        List(Vec<Value>),
        Dict(Vec<(Vec<u8>, Value)>),
    }

    fn write(value: &Value, writer: &mut Writer<'_>) {
        match value {
            Value::Int(int) => writer.int(*int),
            Value::Bytes(bytes) => writer.bytes(bytes),
            Value::List(items) => writer.list(|writer| items.iter().for_each(|item| write(item, writer))),
            Value::Dict(entries) => {
                writer.dict(|dict| entries.iter().for_each(|(key, value)| write(value, &mut dict.key(key))));
            }
        }
    }

    /// Reads a value that has the shape of `expected`, whose dictionaries may be unsorted.
    fn assert_reads(expected: &Value, reader: &mut Reader<'_>) {
        match expected {
            Value::Int(int) => assert_eq!(reader.int().unwrap(), *int),
            Value::Bytes(bytes) => assert_eq!(reader.bytes().unwrap(), bytes),
            Value::List(items) => {
                let mut list = reader.list().unwrap();
                for item in items {
                    assert_reads(item, list.item().unwrap().unwrap());
                }
                assert!(list.item().unwrap().is_none());
            }
            Value::Dict(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                let mut dict = reader.dict().unwrap();
                for (key, value) in sorted {
                    let (key_read, reader) = dict.entry().unwrap().unwrap();
                    assert_eq!(key_read, key);
                    assert_reads(value, reader);
                }
                assert!(dict.entry().unwrap().is_none());
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Int), bytes().prop_map(Value::Bytes)];
        leaf.prop_recursive(5, 48, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                proptest::collection::btree_map(bytes(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<Vec<_>>())
                    .prop_shuffle()
                    .prop_map(Value::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_in_any_order_reads_back_strictly(value in values()) {
            let mut out = Vec::new();
            write(&value, &mut Writer::new(&mut out));
            let mut reader = Reader::strict(&out);
            assert_reads(&value, &mut reader);
            prop_assert!(reader.finish().is_ok());
            prop_assert_eq!(Reader::strict(&out).raw(), Ok(&out[..]));
        }

        #[test]
        fn every_byte_flip_and_truncation_is_an_error_or_a_value(value in values()) {
            let mut out = Vec::new();
            write(&value, &mut Writer::new(&mut out));
            for end in 0..out.len() {
                prop_assert!(check(&out[..end], false).is_err(), "a proper prefix is never a whole value");
            }
            for at in 0..out.len() {
                for bit in 0..8 {
                    out[at] ^= 1 << bit;
                    let _ = check(&out, false);
                    let _ = check(&out, true);
                    out[at] ^= 1 << bit;
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&input, false);
            let _ = check(&input, true);
        }
    }
}
