//! A peer of another client, written out: it has everything, and a script decides what it answers.
#![allow(dead_code, reason = "each test file uses its share")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a scripted peer has a socket")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::run;

/// No peer waits longer for the rest of a message.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// When nothing came for so long, the script is told that the peer has all that was asked for.
const IDLE: Duration = Duration::from_millis(20);
/// Our id of ut_metadata.
const METADATA_ID: u8 = 3;
const METADATA_PIECE_LEN: usize = 16 * 1024;

/// Ids of messages (BEP 3, 6, 10).
pub(crate) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const EXTENDED: u8 = 20;
}

/// A torrent of one file, known in all its parts.
#[derive(Debug)]
pub(crate) struct Torrent {
    pub(crate) info_hash: String,
    info_raw: Vec<u8>,
    data: Vec<u8>,
    piece_len: usize,
}

impl Torrent {
    /// Makes `share/data` in `home`, of so many pieces of so many bytes, and `data.torrent`.
    pub(crate) fn make(home: &Path, pieces: usize, piece_len: usize) -> Arc<Self> {
        std::fs::create_dir(home.join("share")).unwrap();
        let data: Vec<u8> = (0..pieces * piece_len).map(|at| (at * 7 / 5 % 251 + at / piece_len) as u8).collect();
        std::fs::write(home.join("share/data"), &data).unwrap();
        let piece_len_text = piece_len.to_string();
        let made = run(["create", "share/data", "-o", "data.torrent", "--piece-length", &piece_len_text], home);
        let info_hash = made.stdout.lines().find_map(|line| line.strip_prefix("info hash ")).unwrap().to_owned();
        let file = std::fs::read(home.join("data.torrent")).unwrap();
        let at = file.windows(6).position(|window| window == b"4:info").unwrap() + 6;
        let info_raw = file[at..file.len() - 1].to_vec();
        Arc::new(Self { info_hash, info_raw, data, piece_len })
    }

    fn block(&self, block: Block) -> &[u8] {
        let start = block.piece as usize * self.piece_len + block.begin as usize;
        &self.data[start..start + block.len as usize]
    }
}

/// A range that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block {
    pub(crate) piece: u32,
    pub(crate) begin: u32,
    pub(crate) len: u32,
}

/// What a script is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Block(Block),
    Metadata(usize),
    /// Nothing at the moment.
    Nothing,
}

/// What it answers: `Err` ends the connection.
pub(crate) type Script = Box<dyn FnMut(&mut Wire, Asked) -> io::Result<()> + Send>;

/// One connection.
pub(crate) struct Wire {
    torrent: Arc<Torrent>,
    stream: TcpStream,
    metadata_id_theirs: u8,
}

impl Wire {
    pub(crate) fn send(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        let len = (payload.len() as u32 + 1).to_be_bytes();
        self.stream.write_all(&[&len[..], &[id], payload].concat())
    }

    /// Answers honestly.
    pub(crate) fn serve(&mut self, asked: Asked) -> io::Result<()> {
        let torrent = self.torrent.clone();
        match asked {
            Asked::Block(block) => self.send_block(block, torrent.block(block)),
            Asked::Metadata(piece) => {
                let raw = &torrent.info_raw;
                let data = &raw[piece * METADATA_PIECE_LEN..raw.len().min((piece + 1) * METADATA_PIECE_LEN)];
                let header = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{}ee", raw.len());
                self.send(id::EXTENDED, &[&[self.metadata_id_theirs], header.as_bytes(), data].concat())
            }
            Asked::Nothing => Ok(()),
        }
    }

    pub(crate) fn send_block(&mut self, block: Block, data: &[u8]) -> io::Result<()> {
        let place = [block.piece.to_be_bytes(), block.begin.to_be_bytes()].concat();
        self.send(id::PIECE, &[&place, data].concat())
    }

    pub(crate) fn reject(&mut self, asked: Asked) -> io::Result<()> {
        match asked {
            Asked::Block(block) => {
                let numbers = [block.piece, block.begin, block.len].map(u32::to_be_bytes);
                self.send(id::REJECT, &numbers.concat())
            }
            Asked::Metadata(piece) => {
                let header = format!("d8:msg_typei2e5:piecei{piece}ee");
                self.send(id::EXTENDED, &[&[self.metadata_id_theirs], header.as_bytes()].concat())
            }
            Asked::Nothing => Ok(()),
        }
    }

    /// Reads the next message that a script is asked about.
    fn read_asked(&mut self) -> io::Result<Asked> {
        loop {
            self.stream.set_read_timeout(Some(IDLE))?;
            match self.stream.peek(&mut [0]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(Asked::Nothing);
                }
                Err(error) => return Err(error),
            }
            self.stream.set_read_timeout(Some(READ_TIMEOUT))?;
            let mut len = [0; 4];
            self.stream.read_exact(&mut len)?;
            let mut message = vec![0; u32::from_be_bytes(len) as usize];
            self.stream.read_exact(&mut message)?;
            match message.split_first() {
                Some((&id::REQUEST, payload)) => {
                    let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
                    return Ok(Asked::Block(Block { piece: number(0), begin: number(4), len: number(8) }));
                }
                Some((&id::EXTENDED, [0, handshake @ ..])) => {
                    self.metadata_id_theirs = number_after(handshake, b"11:ut_metadatai").unwrap() as u8;
                }
                Some((&id::EXTENDED, [METADATA_ID, request @ ..]))
                    if number_after(request, b"8:msg_typei") == Some(0) =>
                {
                    return Ok(Asked::Metadata(number_after(request, b"5:piecei").unwrap()));
                }
                _ => {}
            }
        }
    }

    fn shake_hands(&mut self, fast: bool) -> io::Result<()> {
        let mut theirs = [0; 68];
        self.stream.read_exact(&mut theirs)?;
        let mut ours = theirs;
        ours[20..28].copy_from_slice(&[0, 0, 0, 0, 0, 0x10, 0, if fast { 4 } else { 0 }]);
        ours[48..].copy_from_slice(b"-XX0001-abcdefghijkl");
        self.stream.write_all(&ours)?;
        let size = self.torrent.info_raw.len();
        let handshake = format!("\0d1:md11:ut_metadatai{METADATA_ID}ee13:metadata_sizei{size}ee");
        self.send(id::EXTENDED, handshake.as_bytes())?;
        let pieces = self.torrent.data.len() / self.torrent.piece_len;
        let mut field = vec![0; pieces.div_ceil(8)];
        (0..pieces).for_each(|piece| field[piece / 8] |= 128 >> (piece % 8));
        self.send(id::BITFIELD, &field)?;
        self.send(id::UNCHOKE, &[])
    }
}

/// The number of a bencoded integer behind a key.
fn number_after(text: &[u8], key: &[u8]) -> Option<usize> {
    let at = text.windows(key.len()).position(|window| window == key)? + key.len();
    let digits = text[at..].split(|byte| *byte == b'e').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Listens, and serves everybody who connects by one script. Its threads end with their connections, or the test.
pub(crate) fn listen(torrent: &Arc<Torrent>, fast: bool, script: Script) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (torrent, script) = (torrent.clone(), Arc::new(Mutex::new(script)));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (torrent, script) = (torrent.clone(), script.clone());
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
                let mut wire = Wire { torrent, stream, metadata_id_theirs: 0 };
                wire.shake_hands(fast)?;
                loop {
                    let asked = wire.read_asked()?;
                    (script.lock().unwrap())(&mut wire, asked)?;
                }
                #[allow(unreachable_code, reason = "it says what the closure returns")]
                Ok::<(), io::Error>(())
            });
        }
    });
    addr
}

/// Listens, and closes every connection before it says anything.
pub(crate) fn listen_and_hang_up() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(drop));
    addr
}
