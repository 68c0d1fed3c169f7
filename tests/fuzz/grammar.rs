//! Torrents, links and frames as programs write them, and as somebody might who means harm.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// Bytes that mean something in bencode, in links and on the wire.
const TELLING: &[u8] = b"dlie0123456789:-&=%./\\\x00\x01\x07\x14\x7f\x80\xff";

/// Names of every kind that harmed a client.
const NAMES: [&[u8]; 40] = [
    b"a",
    b"A",
    b"b",
    b"readme",
    b"README",
    b"",
    b".",
    b"..",
    b"...",
    b"/",
    b"/etc/passwd",
    b"../../x",
    b"a/b",
    b"a\\b",
    b"..\\x",
    b"a\x00b",
    b"\x00",
    b"\x1b[31m",
    b"\r\n",
    b"\x7f",
    b"\xc2\x9b",
    b"\xe2\x80\xaegpj.exe",
    b"\xe2\x80\x8ex",
    b"\xff\xfe",
    b"\xe9t\xe9",
    b"e\xcc\x81",
    b"\xc3\xa9",
    b"con",
    b"AUX.txt",
    b"com1",
    b"C:",
    b"C:x",
    b"x.",
    b"x ",
    b" ",
    b"Q: title?.mp3",
    b"-rf",
    b"~",
    b"\xed\xa0\x80",
    b"_____padding_file_0_x____",
];

const INTS: [i64; 14] =
    [-1, 0, 1, 2, 16_383, 16_384, 40_000, 65_536, 1 << 28, 1 << 29, u32::MAX as i64, 1 << 53, i64::MAX, i64::MIN];

/// Randomness with bounds.
pub(crate) trait Draw {
    fn below(&mut self, limit: usize) -> usize;
    fn pick<T: Copy>(&mut self, of: &[T]) -> T;
    /// Once in so many times.
    fn once_in(&mut self, times: usize) -> bool;
}

impl Draw for ChaCha8Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.next_u32() as usize % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Changes bytes here and there; `others` are what pieces are copied from.
pub(crate) fn mutate(input: &mut Vec<u8>, others: &[u8], rng: &mut ChaCha8Rng) {
    let at = rng.below(input.len());
    match rng.below(7) {
        0 if !input.is_empty() => input[at] ^= 1 << rng.below(8),
        1 if !input.is_empty() => input[at] = rng.pick(TELLING),
        2 => input.truncate(at),
        3 => input.insert(at, rng.pick(TELLING)),
        4 if !input.is_empty() => {
            let end = (at + 1 + rng.below(8)).min(input.len());
            input.drain(at..end);
        }
        5 if !input.is_empty() => {
            // A stretch twice: keys that repeat, lists that grow.
            let end = (at + 1 + rng.below(40)).min(input.len());
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        _ => {
            let start = rng.below(others.len());
            let end = (start + rng.below(40)).min(others.len());
            input.splice(at..at, others[start..end].iter().copied());
        }
    }
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(value.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value);
}

fn int(rng: &mut ChaCha8Rng, usual: i64, out: &mut Vec<u8>) {
    match rng.below(80) {
        0 => out.extend_from_slice(format!("i{}e", rng.pick(&INTS)).as_bytes()),
        1 => odd(rng, 3, out),
        _ => out.extend_from_slice(format!("i{usual}e").as_bytes()),
    }
}

fn text(rng: &mut ChaCha8Rng, usual: &[u8], out: &mut Vec<u8>) {
    match rng.below(80) {
        0 => bytes(rng.pick(&NAMES), out),
        1 => odd(rng, 3, out),
        _ => bytes(usual, out),
    }
}

/// A value of whatever type.
fn odd(rng: &mut ChaCha8Rng, depth: usize, out: &mut Vec<u8>) {
    match rng.below(if depth == 0 { 4 } else { 8 }) {
        0 => out.extend_from_slice(format!("i{}e", rng.pick(&INTS)).as_bytes()),
        1 => out.extend_from_slice(rng.pick(&[&b"i99999999999999999999999e"[..], b"i-0e", b"i03e", b"ie", b"i-e"])),
        2 => bytes(rng.pick(&NAMES), out),
        3 => out.extend_from_slice(rng.pick(&[
            &b"99999999999999999999:"[..],
            b"4294967295:",
            b"-1:",
            b"05:hello",
            b"9:x",
        ])),
        4 => {
            let levels = rng.pick(&[1, 31, 32, 33, 64, 100, 1000]);
            out.extend(std::iter::repeat_n(b'l', levels));
            out.extend(std::iter::repeat_n(b'e', levels));
        }
        kind => {
            out.push(if kind == 5 { b'd' } else { b'l' });
            for _ in 0..rng.below(4) {
                if kind == 5 {
                    bytes(rng.pick(&NAMES), out);
                }
                odd(rng, depth - 1, out);
            }
            out.push(b'e');
        }
    }
}

fn name(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    match rng.below(60) {
        0 | 1 => {
            let len = rng.pick(&[239, 240, 241, 250, 255, 256, 300, 3000]);
            let letter = rng.pick(&[&b"n"[..], b"\xc3\xa9", b"\xff"]);
            bytes(&letter.repeat(len)[..len], out);
        }
        2 => odd(rng, 2, out),
        _ => bytes(rng.pick(&NAMES), out),
    }
}

/// Keys and values in the order of the keys, mostly: now and then one is missing, twice or moved.
fn dict(rng: &mut ChaCha8Rng, mut pairs: Vec<(&[u8], Vec<u8>)>, out: &mut Vec<u8>) {
    pairs.sort();
    let count = pairs.len();
    match rng.below(40) {
        0 if count > 0 => drop(pairs.remove(rng.below(count))),
        1 if count > 0 => pairs.push(pairs[rng.below(count)].clone()),
        2 if count > 1 => pairs.swap(0, count - 1),
        3 => {
            let mut value = Vec::new();
            odd(rng, 3, &mut value);
            pairs.push((rng.pick(&NAMES), value));
        }
        _ => {}
    }
    out.push(b'd');
    for (key, value) in pairs {
        bytes(key, out);
        out.extend_from_slice(&value);
    }
    out.push(b'e');
}

fn value(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut value = Vec::new();
    write(&mut value);
    value
}

/// A list of what `item` writes.
fn list(rng: &mut ChaCha8Rng, count: usize, mut item: impl FnMut(&mut ChaCha8Rng, &mut Vec<u8>)) -> Vec<u8> {
    value(|out| {
        out.push(b'l');
        (0..count).for_each(|_| item(rng, out));
        out.push(b'e');
    })
}

fn path(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let depth = if rng.once_in(60) { rng.pick(&[0, 63, 64, 65, 200]) } else { 1 + rng.below(3) };
    list(rng, depth, name)
}

fn file(rng: &mut ChaCha8Rng, len: i64, out: &mut Vec<u8>) {
    let mut pairs: Vec<(&[u8], Vec<u8>)> = vec![(b"length", value(|out| int(rng, len, out))), (b"path", path(rng))];
    if rng.once_in(6) {
        pairs.push((b"path.utf-8", path(rng)));
    }
    if rng.once_in(4) {
        let attr = rng.pick(&[&b"p"[..], b"l", b"x", b"h", b"pl", b"zzz"]);
        pairs.push((b"attr", value(|out| text(rng, attr, out))));
    }
    if rng.once_in(8) {
        pairs.push((b"symlink path", path(rng)));
    }
    dict(rng, pairs, out);
}

/// An `info` value.
fn info(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    const PIECE_LEN: i64 = 16_384;
    let mut pairs: Vec<(&[u8], Vec<u8>)> = vec![(b"name", value(|out| name(rng, out)))];
    let mut total = 0;
    if rng.once_in(3) {
        total = rng.pick(&[0, 1, 16_384, 40_000]);
        pairs.push((b"length", value(|out| int(rng, total, out))));
    } else {
        let count = if rng.once_in(30) { 200 } else { rng.below(6) };
        let files = list(rng, count, |rng, out| {
            let len = rng.pick(&[0, 0, 1, 5000, 16_384]);
            total += len;
            file(rng, len, out);
        });
        pairs.push((b"files", files));
    }
    let piece_len = if rng.once_in(20) { rng.pick(&INTS) } else { PIECE_LEN };
    let pieces = u64::try_from(total).unwrap_or(0).div_ceil(u64::try_from(piece_len).unwrap_or(1).max(1));
    let hashes = vec![b'h'; 20 * usize::try_from(pieces).unwrap_or(0).min(2000)];
    pairs.push((b"piece length", value(|out| int(rng, piece_len, out))));
    pairs.push((b"pieces", value(|out| text(rng, &hashes, out))));
    if rng.once_in(4) {
        let private = i64::from(rng.once_in(2));
        pairs.push((b"private", value(|out| int(rng, private, out))));
    }
    if rng.once_in(6) {
        pairs.push((b"name.utf-8", value(|out| name(rng, out))));
    }
    if rng.once_in(12) {
        pairs.push((b"meta version", value(|out| int(rng, 2, out))));
        pairs.push((b"file tree", value(|out| odd(rng, 3, out))));
    }
    dict(rng, pairs, out);
}

/// A `.torrent` file, or the `info` of one alone.
pub(crate) fn torrent(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut out = Vec::new();
    if rng.once_in(6) {
        info(rng, &mut out);
    } else {
        let mut pairs: Vec<(&[u8], Vec<u8>)> = vec![(b"info", value(|out| info(rng, out)))];
        if rng.once_in(2) {
            pairs.push((b"announce", value(|out| text(rng, b"udp://tracker.example:1", out))));
        }
        if rng.once_in(3) {
            let tiers = list(rng, 2, |rng, out| {
                let tier = list(rng, 2, |rng, out| text(rng, b"udp://t", out));
                out.extend_from_slice(&tier);
            });
            pairs.push((b"announce-list", tiers));
        }
        if rng.once_in(3) {
            let nodes = list(rng, 2, |rng, out| {
                out.push(b'l');
                text(rng, b"127.0.0.1", out);
                int(rng, 6881, out);
                out.push(b'e');
            });
            pairs.push((b"nodes", nodes));
        }
        for key in [&b"url-list"[..], b"comment", b"created by", b"encoding"] {
            if rng.once_in(4) {
                pairs.push((key, value(|out| text(rng, b"UTF-8", out))));
            }
        }
        if rng.once_in(4) {
            pairs.push((b"creation date", value(|out| int(rng, 7, out))));
        }
        dict(rng, pairs, &mut out);
    }
    let others = out.clone();
    for _ in 0..rng.below(8).saturating_sub(4) {
        mutate(&mut out, &others, rng);
    }
    out
}

/// Parts of links, good and odd.
const PAIRS: [&[u8]; 44] = [
    b"xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
    b"xt=urn:btih:C12FE1C06BBA254A9DC9F519B335AA7C1367A88A",
    b"xt.1=urn:btih:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK",
    b"xt=urn%3Abtih%3Ac12fe1c06bba254a9dc9f519b335aa7c1367a88a",
    b"xt=urn:btih:",
    b"xt=urn:btih:c12f",
    b"xt=urn:btmh:1220caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e",
    b"xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C",
    b"xs=urn:btpk:8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e",
    b"s=6e",
    b"dn=name",
    b"dn=a+b%20c",
    b"dn=",
    b"dn.1=other",
    b"dn=%1b%5b31m%00%ff%e2%80%ae",
    b"tr=udp%3a%2f%2ftracker.example%3a1337",
    b"tr.1=http://t",
    b"tr=%",
    b"tr=%4",
    b"tr",
    b"ws=http://seed/",
    b"x.pe=127.0.0.1:6881",
    b"x.pe=[::1]:6881",
    b"x.pe=::1:6881",
    b"x.pe=host.example:1",
    b"x.pe=host",
    b"x.pe=1.2.3.4",
    b"x.pe=1.2.3.4:0",
    b"x.pe=1.2.3.4:70000",
    b"x.pe=%5B::1%5D:6881",
    b"x.pe=[::1]",
    b"so=0",
    b"so=0,2,4-7",
    b"so=0-",
    b"so=7-3",
    b"so=4294967295",
    b"so=0-4294967295,1",
    b"so=,1,",
    b"so=99999999999999999999",
    b"xl=12345",
    b"kt=a+b",
    b"=x",
    b"%3d=%26",
    b"\xc3\xa9=\xe2\x80\xae",
];

/// A link.
pub(crate) fn magnet(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut out = rng
        .pick(&[&b"magnet:?"[..], b"magnet:?", b"magnet:?", b"MAGNET:?", b"magnet:", b" \xef\xbb\xbfmagnet:?"])
        .to_vec();
    if !rng.once_in(6) {
        out.extend_from_slice(PAIRS[rng.below(3)]);
    }
    for _ in 0..rng.below(6) {
        out.extend_from_slice(if rng.once_in(8) { b"&amp;" } else { b"&" });
        out.extend_from_slice(rng.pick(&PAIRS));
    }
    if rng.once_in(3) {
        let others = PAIRS[rng.below(PAIRS.len())];
        for _ in 0..rng.below(5) {
            mutate(&mut out, others, rng);
        }
    }
    out
}

/// The bencode of extension handshakes and ut_metadata messages.
const EXTENDED: [&[u8]; 14] = [
    b"d1:md11:ut_metadatai3ee13:metadata_sizei31235e1:pi6881e4:reqqi500e1:v5:magnee",
    b"d1:md11:ut_metadatai0eee",
    b"d1:md11:ut_metadatai256eee",
    b"d1:mle13:metadata_sizei-1e1:pi70000e4:reqqi99999999999999999999e1:vi1e6:yourip3:abce",
    b"d11:upload_onlyi1e6:yourip16:0123456789abcdefe",
    b"d13:metadata_sizei16777217ee",
    b"d8:msg_typei0e5:piecei0ee",
    b"d8:msg_typei0e5:piecei4294967295ee",
    b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx",
    b"d8:msg_typei1e5:piecei0e10:total_sizei4294967295ee",
    b"d8:msg_typei2e5:piecei7ee",
    b"d8:msg_typei9e5:piecei0ee",
    b"d5:piecei0ee",
    b"le",
];

/// Writes one frame of the peer protocol.
fn frame(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    let id = rng.pick(&[0u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 20, 20, 20, 20, 21, 255]);
    let mut payload = vec![id];
    let number = |rng: &mut ChaCha8Rng| rng.pick(&[0u32, 1, 7, 16_384, 131_072, 131_073, u32::MAX]).to_be_bytes();
    match id {
        4 | 13 | 17 => payload.extend(number(rng)),
        5 => payload.extend(std::iter::repeat_n(rng.pick(&[0, 0x80, 0xff]), rng.below(10))),
        6 | 8 | 16 => (0..3).for_each(|_| payload.extend(number(rng))),
        7 => {
            (0..2).for_each(|_| payload.extend(number(rng)));
            payload.extend(std::iter::repeat_n(7, rng.pick(&[0, 1, 100, 16_384, 16_385])));
        }
        9 => payload.extend([rng.below(256) as u8, 1]),
        20 => {
            payload.push(rng.pick(&[0, 0, 1, 1, 1, 2, 255]));
            payload.extend_from_slice(rng.pick(&EXTENDED));
            if rng.once_in(4) {
                payload.truncate(2);
                odd(rng, 3, &mut payload);
            }
        }
        _ => {}
    }
    if rng.once_in(4) {
        let others = EXTENDED[rng.below(EXTENDED.len())];
        mutate(&mut payload, others, rng);
    }
    let len = if rng.once_in(30) { rng.pick(&[0, 1, 1 << 20, u32::MAX]) } else { payload.len() as u32 };
    out.extend(len.to_be_bytes());
    out.append(&mut payload);
}

/// What both sides can do, how it arrives, and what a peer sends.
pub(crate) fn stream(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut out = rng.next_u32().to_le_bytes()[..3].to_vec();
    if rng.once_in(3) {
        out[0] = 0xff;
    }
    for _ in 0..rng.below(8) {
        frame(rng, &mut out);
    }
    out
}

/// Writes one frame that fits the torrent of the conversations: one that does not ends its connection.
fn fitting_frame(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    let id = rng.pick(&[0u8, 1, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6, 6, 6, 8, 14, 15, 16, 17]);
    let mut payload = vec![id];
    let piece = rng.below(8) as u32;
    match id {
        4 | 17 => payload.extend(piece.to_be_bytes()),
        5 => payload.push(rng.below(256) as u8),
        6 | 8 | 16 => {
            let (begin, len) = rng.pick(&[(0u32, 16_384u32), (16_384, 16_383), (0, 1), (100, 5000), (0, 32_767)]);
            [piece, begin, len].iter().for_each(|field| payload.extend(field.to_be_bytes()));
        }
        _ => {}
    }
    out.extend((payload.len() as u32).to_be_bytes());
    out.append(&mut payload);
}

/// Steps of a conversation with a torrent: a few peers or many, and frames among everything else that happens.
pub(crate) fn conversation(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut out = vec![rng.below(256) as u8];
    let is_crowd = rng.once_in(100);
    for _ in 0..if is_crowd { 60 } else { 1 + rng.below(3) } {
        out.extend([0, rng.below(256) as u8, 0, 0]);
    }
    for _ in 0..if is_crowd { 200 } else { 1 + rng.below(32) } {
        // Mostly what takes a conversation further: messages, answers, what the disk and the socket did.
        let kind = if rng.once_in(4) { rng.below(24) } else { rng.pick(&[2, 2, 2, 2, 12, 12, 17, 19, 19]) } as u8;
        let mut content = Vec::new();
        if (2..12).contains(&kind) {
            for _ in 0..1 + rng.below(4) {
                if rng.once_in(12) { frame(rng, &mut content) } else { fitting_frame(rng, &mut content) }
            }
            if rng.once_in(50) && content.len() < 60 {
                content = content.repeat(500);
            }
            if rng.once_in(20) {
                content.truncate(rng.below(content.len()));
            }
        }
        content.truncate(u16::MAX.into());
        out.extend([kind, rng.below(256) as u8]);
        out.extend((content.len() as u16).to_be_bytes());
        out.append(&mut content);
    }
    out
}
