//! Byte streams between hosts. They lose nothing and keep their order; each host has one line for all of its streams, of a
//! rate out and a rate in.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_core::Rng;

use super::{Happening, HostIndex, World};
use crate::host::{Host, StreamAction, StreamEvent, StreamId};
use crate::nat::Nat;

/// How long a connection to a host that is silent is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// The longest segment of any line, in bytes, and the longest of the slowest ones: in between it takes an eighth of a second.
/// Each is cut at a length drawn by lot, so messages arrive in any pieces and runs.
const SEGMENT_LEN_MAX: u64 = 32 * 1024;
const SEGMENT_LEN_MIN: u64 = 64;
/// The ports that connections come from.
const PORT_FIRST: u16 = 50_000;
const PORTS: u64 = 10_000;

/// What a host can send and receive on its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Out, in bytes per second.
    pub up_bps: u64,
    /// In, in bytes per second.
    pub down_bps: u64,
}

impl Default for Line {
    /// Fast: 200 MiB/s in both directions.
    fn default() -> Self {
        Self { up_bps: 200 << 20, down_bps: 200 << 20 }
    }
}

/// The line of a host, and who waits for it.
#[derive(Debug)]
pub(super) struct LineState {
    line: Line,
    /// Streams that have bytes to send, in their turn.
    offered: VecDeque<u64>,
    is_busy: bool,
    /// When the last byte on its way in will have arrived.
    inbound_until: Instant,
}

impl LineState {
    pub(super) fn new(line: Line, now: Instant) -> Self {
        Self { line, offered: VecDeque::new(), is_busy: false, inbound_until: now }
    }
}

/// Every end of a stream, by a number that is never used again.
#[derive(Debug, Default)]
pub(super) struct Streams {
    ends: BTreeMap<u64, End>,
    by_name: BTreeMap<(usize, StreamId), u64>,
    number_next: u64,
}

/// One of the two ends of a stream.
#[derive(Debug)]
struct End {
    host: usize,
    name: StreamId,
    /// `None` until the other host answered.
    other: Option<u64>,
    /// When the last byte that was sent will have left.
    sent_until: Instant,
    /// Whether something on its way here got lost: nothing arrives after that.
    is_broken: bool,
}

/// What is on its way.
#[derive(Debug)]
pub(super) enum Travelling {
    /// A connection is opened.
    Knock { from: u64, addr: SocketAddr },
    /// What came of it: the number of the other end.
    Answer { to: u64, other: Result<u64, ErrorKind> },
    /// A segment has left; the line of its host is free.
    Left { from: usize, end: u64 },
    /// A segment reached the line of its receiver.
    Reached { from: usize, to: u64, segment: Segment },
    /// A segment is there.
    Arrived { to: u64, segment: Segment },
}

#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Vec<u8>),
    End,
}

impl Streams {
    fn add(&mut self, host: usize, name: StreamId, other: Option<u64>, now: Instant) -> u64 {
        let number = self.next_number();
        self.ends.insert(number, End { host, name, other, sent_until: now, is_broken: false });
        self.by_name.insert((host, name), number);
        number
    }

    fn next_number(&mut self) -> u64 {
        self.number_next += 1;
        self.number_next
    }

    fn remove(&mut self, number: u64) -> Option<End> {
        let end = self.ends.remove(&number)?;
        self.by_name.remove(&(end.host, end.name));
        Some(end)
    }
}

impl<H: Host> World<H> {
    /// Gives a host another line.
    pub fn set_line(&mut self, index: HostIndex, line: Line) {
        self.hosts[index.0].line.line = line;
    }

    /// Ends every stream of a host, as its system does when the process ends. The host itself is not told.
    pub fn hang_up(&mut self, index: HostIndex) {
        let from_here = self.streams.by_name.range((index.0, StreamId::Dialed(0))..);
        let own = from_here.take_while(|((host, _), _)| *host == index.0);
        let names: Vec<StreamId> = own.map(|((_, name), _)| *name).collect();
        names.into_iter().for_each(|name| self.close(index.0, name));
    }

    /// Does what a host wants done with its streams.
    pub(super) fn carry_out(&mut self, index: usize) {
        while let Some(action) = self.hosts[index].host.poll_stream() {
            match action {
                StreamAction::Dial { number, to } => {
                    let end = self.streams.add(index, StreamId::Dialed(number), None, self.now);
                    let there = self.delay_at(to.ip()).unwrap_or(self.hosts[index].delay);
                    let travel = (self.hosts[index].delay + there) / 2;
                    self.travels(travel, Travelling::Knock { from: end, addr: to });
                }
                StreamAction::Offer(name) => {
                    let line = &mut self.hosts[index].line;
                    if let Some(end) = self.streams.by_name.get(&(index, name))
                        && !line.offered.contains(end)
                    {
                        line.offered.push_back(*end);
                    }
                }
                StreamAction::Close(name) => self.close(index, name),
            }
        }
    }

    /// Sends a segment of the stream whose turn it is. Returns whether the host had its say.
    pub(super) fn pump(&mut self, index: usize) -> bool {
        let line = &mut self.hosts[index].line;
        if line.is_busy {
            return false;
        }
        let Some(number) = line.offered.pop_front() else { return false };
        let Some(end) = self.streams.ends.get_mut(&number) else { return true };
        let Some(to) = end.other else { return true };
        let longest = (line.line.up_bps / 8).clamp(SEGMENT_LEN_MIN, SEGMENT_LEN_MAX);
        let len_max = 1 + (self.rng.next_u64() % longest) as usize;
        let (now, mut bytes) = (self.now, Vec::new());
        let slot = &mut self.hosts[index];
        slot.host.transmit(now, end.name, len_max, &mut bytes, &mut self.outgoing);
        if bytes.is_empty() {
            return true;
        }
        slot.line.offered.push_back(number);
        slot.line.is_busy = true;
        let takes = Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / slot.line.line.up_bps);
        end.sent_until = now + takes;
        self.travels(takes, Travelling::Left { from: index, end: number });
        let travel = takes + self.travel(index, to);
        self.travels(travel, Travelling::Reached { from: index, to, segment: Segment::Bytes(bytes) });
        true
    }

    pub(super) fn handle_travelled(&mut self, travelled: Travelling) {
        match travelled {
            Travelling::Knock { from, addr } => self.handle_knock(from, addr),
            Travelling::Answer { to, other } => self.handle_answer(to, other),
            Travelling::Left { from, end } => {
                self.hosts[from].line.is_busy = false;
                match self.streams.ends.get(&end).map(|end| end.name) {
                    Some(name) => self.happens(from, StreamEvent::Left(name)),
                    None => self.settle(from),
                }
            }
            Travelling::Reached { from, to, segment } => self.handle_reached(from, to, segment),
            Travelling::Arrived { to, segment } => self.handle_arrived(to, segment),
        }
    }

    fn handle_knock(&mut self, from: u64, addr: SocketAddr) {
        // It may have been given up meanwhile.
        let Some(dialer) = self.streams.ends.get(&from).map(|end| end.host) else { return };
        let mut at_ip = self.by_ip.get(&addr.ip()).into_iter().flatten().copied();
        let target = at_ip.find(|index| self.hosts[*index].router.addr() == addr);
        let is_silent = |index: usize| self.hosts[index].is_cut_off || self.hosts[index].router.nat() != Nat::Open;
        if self.hosts[dialer].is_cut_off || target.is_some_and(is_silent) {
            let other = Err(ErrorKind::TimedOut);
            return self.travels(CONNECT_TIMEOUT, Travelling::Answer { to: from, other });
        }
        let Some(index) = target.filter(|index| self.hosts[*index].host.listens()) else {
            let travel = self.travel(target.unwrap_or(dialer), from);
            return self.travels(travel, Travelling::Answer { to: from, other: Err(ErrorKind::ConnectionRefused) });
        };
        let name = StreamId::Accepted(self.streams.next_number());
        let end = self.streams.add(index, name, Some(from), self.now);
        let travel = self.travel(index, from);
        self.travels(travel, Travelling::Answer { to: from, other: Ok(end) });
        let port = PORT_FIRST + (from % PORTS) as u16;
        let from = SocketAddr::new(self.hosts[dialer].router.addr().ip(), port);
        self.happens(index, StreamEvent::Accepted { stream: name, from });
    }

    fn handle_answer(&mut self, to: u64, other: Result<u64, ErrorKind>) {
        match (self.streams.ends.get_mut(&to), other) {
            (Some(end), Ok(other)) => {
                end.other = Some(other);
                let (host, name) = (end.host, end.name);
                self.happens(host, StreamEvent::Opened(name));
            }
            (Some(_), Err(kind)) => {
                if let Some(end) = self.streams.remove(to) {
                    self.happens(end.host, StreamEvent::Failed { stream: end.name, kind });
                }
            }
            // Whoever dialled gave up meanwhile; the other side hears of it as soon as it could have.
            (None, Ok(other)) => self.travels(Duration::ZERO, Travelling::Arrived { to: other, segment: Segment::End }),
            (None, Err(_)) => {}
        }
    }

    /// What reaches a busy line waits its turn.
    fn handle_reached(&mut self, from: usize, to: u64, segment: Segment) {
        let is_cut_off = self.hosts[from].is_cut_off;
        let Some(end) = self.streams.ends.get_mut(&to) else { return };
        let slot = &mut self.hosts[end.host];
        end.is_broken |= is_cut_off || slot.is_cut_off;
        if end.is_broken {
            return;
        }
        let len = match &segment {
            Segment::Bytes(bytes) => bytes.len() as u64,
            Segment::End => 0,
        };
        let takes = Duration::from_nanos(len * 1_000_000_000 / slot.line.line.down_bps);
        slot.line.inbound_until = slot.line.inbound_until.max(self.now) + takes;
        let at = slot.line.inbound_until;
        self.queue.push(at, Happening::Stream(Travelling::Arrived { to, segment }));
    }

    fn handle_arrived(&mut self, to: u64, segment: Segment) {
        let Some(end) = self.streams.ends.get_mut(&to) else { return };
        end.is_broken |= self.hosts[end.host].is_cut_off;
        if end.is_broken {
            return;
        }
        let (host, stream) = (end.host, end.name);
        match segment {
            Segment::Bytes(bytes) => {
                self.trace.note(self.now, host, &bytes);
                self.happens(host, StreamEvent::Received { stream, bytes });
            }
            Segment::End => {
                self.streams.remove(to);
                self.trace.note(self.now, host, b"end");
                self.happens(host, StreamEvent::Ended(stream));
            }
        }
    }

    fn happens(&mut self, index: usize, event: StreamEvent) {
        let now = self.now;
        self.hosts[index].host.handle_stream(now, event, &mut self.outgoing);
        self.settle(index);
    }

    fn close(&mut self, index: usize, name: StreamId) {
        let number = self.streams.by_name.get(&(index, name)).copied();
        let Some(end) = number.and_then(|number| self.streams.remove(number)) else { return };
        if let Some(to) = end.other {
            let left_in = end.sent_until.saturating_duration_since(self.now);
            let travel = left_in + self.travel(index, to);
            self.travels(travel, Travelling::Reached { from: index, to, segment: Segment::End });
        }
    }

    /// How long bytes take from a host to an end; to one that is gone it does not matter.
    fn travel(&self, from: usize, to: u64) -> Duration {
        let there = self.streams.ends.get(&to).map_or(from, |end| end.host);
        (self.hosts[from].delay + self.hosts[there].delay) / 2
    }

    fn travels(&mut self, takes: Duration, travelling: Travelling) {
        self.queue.push(self.now + takes, Happening::Stream(travelling));
    }
}
