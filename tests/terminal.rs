//! What stands on a terminal: the real program on a pseudo terminal, and as much of a terminal as it needs.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot have")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test reads a terminal and sends datagrams"
)]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const ROWS: usize = 50;
/// No step of the test takes nearly as long, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that has a terminal of its own for its errors and its log.
struct Terminal {
    child: Child,
    output: Receiver<Vec<u8>>,
    screen: Screen,
}

impl Terminal {
    fn start(args: &[&str], log: &str, columns: usize) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize { ws_row: ROWS as u16, ws_col: columns as u16, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let user = OpenOptions::new().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_magnes"))
            .args(args)
            .env("MAGNES_LOG", log)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(user)
            .spawn()
            .unwrap();
        Self { child, output: read(File::from(controller)), screen: Screen { columns, ..Screen::default() } }
    }

    /// Draws what the program writes, one write after the other, until `done` has seen enough.
    fn until_drawn<T>(&mut self, mut done: impl FnMut(&Screen) -> Option<T>) -> T {
        loop {
            let bytes =
                self.output.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("on the screen:\n{}", self.screen));
            self.screen.draw(&bytes);
            if let Some(found) = done(&self.screen) {
                return found;
            }
        }
    }

    /// Draws what the program writes until `done` finds what it looks for.
    fn until<T>(&mut self, done: impl Fn(&Screen) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = done(&self.screen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.output.recv_timeout(left).unwrap_or_else(|_| panic!("on the screen:\n{}", self.screen));
            self.screen.draw(&bytes);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // That it has ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut controller: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(4096);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = controller.read(&mut buffer) {
            if sender.send(buffer[..len].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Rows of characters and a cursor, moved as a terminal does. It is high enough to never scroll.
#[derive(Debug, Default)]
struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What is not drawn yet: the rest of a sequence or of a character.
    rest: Vec<u8>,
}

impl Screen {
    fn draw(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8(self.rest[..whole].to_vec()).unwrap();
        let mut left = text.as_str();
        while let Some(first) = left.chars().next() {
            let Some(len) = (if first == '\x1b' { self.command(left) } else { Some(self.put(first)) }) else { break };
            left = &left[len..];
        }
        self.rest.drain(..whole - left.len());
    }

    fn put(&mut self, char: char) -> usize {
        match char {
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            char => {
                if self.column == self.columns {
                    (self.row, self.column) = (self.row + 1, 0);
                }
                let (row, column) = (self.line(), self.column);
                let row = &mut self.rows[row];
                row.resize(row.len().max(column + 1), ' ');
                row[column] = char;
                self.column += 1;
            }
        }
        char.len_utf8()
    }

    /// Carries out the sequence that `text` begins with; `None` when it is not whole.
    fn command(&mut self, text: &str) -> Option<usize> {
        let end = 2 + text.get(2..)?.find(|char: char| char.is_ascii_alphabetic())?;
        let number = text[2..end].parse::<usize>().ok();
        let count = number.unwrap_or(1).max(1);
        match text.as_bytes()[end] {
            b'A' => self.row = self.row.saturating_sub(count),
            b'B' => self.row += count,
            b'G' => self.column = count - 1,
            b'K' => {
                let row = self.line();
                let kept = if number == Some(2) { 0 } else { self.column };
                self.rows[row].truncate(kept);
            }
            b'J' => {
                let row = self.line();
                self.rows[row].truncate(self.column);
                self.rows.truncate(row + 1);
            }
            // Colours, and whether the cursor is seen.
            b'm' | b'h' | b'l' => {}
            other => panic!("a sequence that this terminal does not know: {}", char::from(other)),
        }
        Some(end + 1)
    }

    fn line(&mut self) -> usize {
        self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
        self.row
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

impl std::fmt::Display for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.lines().join("\n"))
    }
}

/// Where the status block stands on the screen, if it does whole.
fn block(lines: &[String]) -> Option<usize> {
    let starts = ["  in   ", "  out  ", "  dropped "];
    lines.windows(3).position(|rows| rows.iter().zip(starts).all(|(row, start)| row.starts_with(start)))
}

#[test]
fn log_lines_go_above_the_status_block_and_neither_breaks_into_the_other() {
    const LINES: usize = 12;
    let home = tempfile::tempdir().unwrap();
    let args = ["node", "--no-bootstrap", "--listen", "127.0.0.1:0", "--state-dir", home.path().to_str().unwrap()];
    let mut terminal = Terminal::start(&args, "magnes_dht=trace", 200);
    let addr = terminal.until(|screen| {
        block(&screen.lines())?;
        let lines = screen.lines();
        let line = lines.iter().find_map(|line| line.strip_prefix("listening on "))?;
        Some(line.split(' ').next()?.to_owned())
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..LINES {
        socket.send_to(b"d1:", &addr).unwrap();
    }
    let lines = terminal.until(|screen| {
        let lines = screen.lines();
        let counted = lines.iter().any(|line| line.starts_with(&format!("  dropped {LINES} in all")));
        (counted && block(&lines)? + 3 == lines.len()).then_some(lines)
    });
    let (above, block) = lines.split_at(lines.len() - 4);
    assert!(block[0].contains(" contacts ("), "{lines:#?}");
    let is_logged = |line: &&String| line.starts_with("20") && line.contains(" a malformed datagram from=127.0.0.1:");
    assert_eq!(above.iter().filter(is_logged).count(), LINES, "{lines:#?}");
    let is_block = |line: &String| line.contains(" contacts (") || line.contains("  in   ") || line.contains("  out  ");
    assert!(!above.iter().any(is_block), "{lines:#?}");
}

#[test]
fn a_download_is_one_line_that_fits_the_terminal_and_says_why_it_waits() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let torrent = format!("{home}/t.torrent");
    let info = format!("d6:lengthi1e4:name1:t12:piece lengthi16384e6:pieces20:{}7:privatei1ee", "x".repeat(20));
    std::fs::write(&torrent, format!("d4:info{info}e")).unwrap();
    let args = ["get", &torrent, "-o", home, "--listen", "127.0.0.1:0", "--state-dir", "/dev/null/none"];
    for (columns, ending) in [(200, "give --peer)"), (80, "give --peer)"), (40, "…")] {
        let mut terminal = Terminal::start(&args, "", columns);
        let lines = terminal.until(|screen| {
            let lines = screen.lines();
            lines
                .last()
                .is_some_and(|line| line.contains("no peers found yet") && line.ends_with(ending))
                .then_some(lines)
        });
        let warning = lines.concat();
        assert!(warning.starts_with("warning: cannot use /dev/null/none as the state folder: "), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.contains("no peers found yet")).count(), 1, "{lines:#?}");
        assert!(lines.last().unwrap().contains("  0%"), "{lines:#?}");
        // Drawn again and again, it stays one line.
        let mut draws = 0;
        let last = terminal.until_drawn(|screen| {
            draws += 1;
            (draws > 3).then(|| screen.lines())
        });
        assert_eq!(last.len(), lines.len(), "{last:#?}");
    }
}

#[test]
fn the_status_block_of_a_node_stays_four_lines_on_eighty_columns() {
    let home = tempfile::tempdir().unwrap();
    let args = ["node", "--no-bootstrap", "--listen", "127.0.0.1:0", "--state-dir", home.path().to_str().unwrap()];
    let mut terminal = Terminal::start(&args, "", 80);
    let lines = terminal.until(|screen| {
        let lines = screen.lines();
        let block = block(&lines)?;
        (block + 3 == lines.len()).then_some(lines)
    });
    let summary = &lines[lines.len() - 4];
    assert!(summary.contains(" contacts (") && summary.ends_with('…'), "{lines:#?}");
}
