//! The scoreboard: one shared mapping with a slot for each connection. A child writes its progress into its slot, and the
//! supervisor reads the slot when the child is dead: a flight recorder that survives SIGKILL. A child can write anything
//! there, so the supervisor reports what it reads, and never acts on it unchecked.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::escape::escape_ascii;
use crate::sys;

/// What a child is doing with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Forked, and nothing done yet.
    Starting,
    /// Waiting for the first request, or reading one.
    Reading,
    /// A handler works on a request.
    Handling,
    /// Sending the response.
    Writing,
    /// The last response is sent; waiting for the client to read it.
    Closing,
    /// A response is sent; waiting for the next request.
    Idle,
    /// The child has become a program.
    Program,
}

impl Phase {
    /// A slot may hold anything: what is no phase counts as the first.
    fn from_number(number: u64) -> Self {
        const ALL: [Phase; 7] = {
            use Phase::*;
            [Starting, Reading, Handling, Writing, Closing, Idle, Program]
        };
        ALL.into_iter().find(|&phase| phase as u64 == number).unwrap_or(Self::Starting)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Reading => "reading",
            Self::Handling => "handling",
            Self::Writing => "writing",
            Self::Closing => "closing",
            Self::Idle => "idle",
            Self::Program => "running the program",
        })
    }
}

/// How a program ended that a handler started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramEnd {
    /// It did not: it still ran when the child exited.
    Running,
    Exited(u8),
    /// The signal of this number killed it.
    Killed(i32),
}

impl ProgramEnd {
    /// Never 0, which stands for "no program".
    fn to_word(self) -> u32 {
        match self {
            Self::Running => 1 << 16,
            Self::Exited(code) => 2 << 16 | u32::from(code),
            Self::Killed(signal) => 3 << 16 | u32::from(signal.unsigned_abs().min(0xffff) as u16),
        }
    }

    fn from_word(word: u32) -> Option<Self> {
        let low = word & 0xffff;
        match word >> 16 {
            1 => Some(Self::Running),
            2 => u8::try_from(low).ok().map(Self::Exited),
            3 => i32::try_from(low).ok().map(Self::Killed),
            _ => None,
        }
    }
}

/// Bytes of a method and a target that a slot has room for.
const METHOD_MAX: usize = 16;
const TARGET_MAX: usize = 256;

/// More messages than a child can lose in its life: a slot may hold anything.
const LOST_MESSAGES_MAX: u64 = 1 << 20;

/// Words of a slot: a word for each number, then the text.
const TEXT: usize = 12;
const WORDS: usize = (TEXT + (METHOD_MAX + TARGET_MAX) / 8).next_multiple_of(8);

/// The numbers of a slot.
#[derive(Clone, Copy)]
enum Number {
    /// PID of the child proper of a double fork, once it is known.
    Child,
    /// Process group of the program that runs for the child.
    Group,
    Requests,
    BytesIn,
    BytesOut,
    Program,
    Status,
    /// The route that took the request, counted from 1.
    Route,
    Phase,
    MethodLength,
    TargetLength,
    /// Messages of the child that its log did not accept.
    LostMessages,
}

/// One connection's part of the shared mapping: atomic integers only, cleared when it is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot(&'static [AtomicU64; WORDS]);

impl Slot {
    fn load(self, number: Number) -> u64 {
        self.0[number as usize].load(Relaxed)
    }

    fn store(self, number: Number, value: u64) {
        self.0[number as usize].store(value, Relaxed);
    }

    fn add(self, number: Number, value: u64) {
        self.0[number as usize].fetch_add(value, Relaxed);
    }

    pub(crate) fn enter(self, phase: Phase) {
        self.store(Number::Phase, phase as u64);
    }

    pub(crate) fn phase(self) -> Phase {
        Phase::from_number(self.load(Number::Phase))
    }

    /// A request has been read: from here on the record can name it. Long targets are cut.
    pub(crate) fn set_request(self, method: &[u8], target: &[u8]) {
        self.forget_request();
        self.add(Number::Requests, 1);
        self.store(Number::MethodLength, self.store_text(self.method(), method));
        self.store(Number::TargetLength, self.store_text(self.target(), target));
    }

    /// The request is malformed: its first line stands for the target.
    pub(crate) fn set_malformed(self, line: &[u8]) {
        self.forget_request();
        self.store(Number::TargetLength, self.store_text(self.target(), line));
    }

    /// The record of a request must not show anything of an earlier one.
    fn forget_request(self) {
        use Number::*;
        for number in [Status, Program, Route, MethodLength, TargetLength] {
            self.store(number, 0);
        }
    }

    pub(crate) fn set_program(self, end: ProgramEnd) {
        self.store(Number::Program, end.to_word().into());
    }

    /// Which route of the service took the request, by its index.
    pub(crate) fn set_route(self, index: usize) {
        self.store(Number::Route, index as u64 + 1);
    }

    pub(crate) fn set_status(self, status: u16) {
        self.store(Number::Status, status.into());
    }

    pub(crate) fn add_bytes_in(self, count: usize) {
        self.add(Number::BytesIn, count as u64);
    }

    pub(crate) fn add_bytes_out(self, count: usize) {
        self.add(Number::BytesOut, count as u64);
    }

    /// The log did not accept a message of the child.
    pub(crate) fn add_lost_message(self) {
        self.add(Number::LostMessages, 1);
    }

    pub(crate) fn set_child(self, pid: i32) {
        self.store(Number::Child, pid.unsigned_abs().into());
    }

    /// The child proper of a double fork, once it is known.
    pub(crate) fn child(self) -> Option<i32> {
        i32::try_from(self.load(Number::Child)).ok().filter(|&pid| pid > 0)
    }

    /// The process group of the program that runs for this connection; 0 when none runs any more.
    pub(crate) fn set_group(self, group: i32) {
        self.store(Number::Group, group.unsigned_abs().into());
    }

    /// The process group of the program that ran when the child last wrote here.
    pub(crate) fn group(self) -> Option<i32> {
        i32::try_from(self.load(Number::Group)).ok().filter(|&group| group > 1)
    }

    /// Bytes that have moved so far, in both directions.
    pub(crate) fn bytes(self) -> u64 {
        self.load(Number::BytesIn).wrapping_add(self.load(Number::BytesOut))
    }

    /// A copy of what the child has written so far.
    pub(crate) fn read(self) -> Snapshot {
        Snapshot {
            phase: self.phase(),
            requests: self.load(Number::Requests),
            bytes_in: self.load(Number::BytesIn),
            bytes_out: self.load(Number::BytesOut),
            route: usize::try_from(self.load(Number::Route)).unwrap_or(0).checked_sub(1),
            status: u16::try_from(self.load(Number::Status)).ok().filter(|&status| status > 0),
            program: u32::try_from(self.load(Number::Program)).ok().and_then(ProgramEnd::from_word),
            method: load_text(self.method(), self.load(Number::MethodLength)),
            target: load_text(self.target(), self.load(Number::TargetLength)),
            lost_messages: self.load(Number::LostMessages).min(LOST_MESSAGES_MAX),
        }
    }

    fn method(self) -> &'static [AtomicU64] {
        &self.0[TEXT..TEXT + METHOD_MAX / 8]
    }

    fn target(self) -> &'static [AtomicU64] {
        &self.0[TEXT + METHOD_MAX / 8..TEXT + (METHOD_MAX + TARGET_MAX) / 8]
    }

    /// Stores what there is room for. Returns the whole length.
    fn store_text(self, words: &[AtomicU64], text: &[u8]) -> u64 {
        for (word, bytes) in words.iter().zip(text.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
        text.len() as u64
    }

    /// Makes the slot as good as new. The text needs no wiping: its length is zero.
    fn clear(self) {
        for number in &self.0[..TEXT] {
            number.store(0, Relaxed);
        }
    }
}

/// Text of a slot as a record shows it.
fn load_text(words: &[AtomicU64], length: u64) -> Option<String> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let cut = if length > bytes.len() { "..." } else { "" };
    (length > 0).then(|| escape_ascii(&bytes[..length.min(bytes.len())]) + cut)
}

/// A copy of what a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Index of the route of the last request.
    pub(crate) route: Option<usize>,
    /// Status of the last response, once it has begun.
    pub(crate) status: Option<u16>,
    /// The end of the program that was started for it.
    pub(crate) program: Option<ProgramEnd>,
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    /// Messages of the child that its log did not accept.
    pub(crate) lost_messages: u64,
}

/// All slots, and which are free.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    /// The last one that was freed is used first: its page is the most likely to be cached.
    free: Vec<Slot>,
    mapped: usize,
    in_use: usize,
    /// How many may be in use.
    room: usize,
}

impl Scoreboard {
    /// Maps slots for `count` connections at the same time.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let mut scoreboard = Self { free: Vec::new(), mapped: 0, in_use: 0, room: 0 };
        scoreboard.resize(count)?;
        Ok(scoreboard)
    }

    /// Changes how many slots may be in use. More are mapped when needed; fewer leave those in use alone.
    ///
    /// # Errors
    /// Those of mmap(2); the number has not changed then.
    pub(crate) fn resize(&mut self, room: usize) -> io::Result<()> {
        if room > self.mapped {
            let words = sys::map_shared_words((room - self.mapped) * WORDS)?;
            let (slots, _) = words.as_chunks::<WORDS>();
            self.free.reserve_exact(room - self.free.len());
            self.free.splice(0..0, slots.iter().rev().map(Slot));
            self.mapped = room;
        }
        self.room = room;
        Ok(())
    }

    /// A cleared slot, or none when all are in use.
    pub(crate) fn take(&mut self) -> Option<Slot> {
        if self.is_full() {
            return None;
        }
        let slot = self.free.pop()?;
        self.in_use += 1;
        slot.clear();
        Some(slot)
    }

    pub(crate) fn give_back(&mut self, slot: Slot) {
        self.in_use -= 1;
        self.free.push(slot);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.in_use >= self.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_cleared_when_it_is_taken_again() {
        let mut scoreboard = Scoreboard::new(1).unwrap();
        let slot = scoreboard.take().unwrap();
        assert!(scoreboard.is_full() && scoreboard.take().is_none());
        slot.set_request(b"GET", b"/a\n\xff\\\"b");
        slot.set_route(2);
        slot.set_status(200);
        slot.add_bytes_in(7);
        slot.enter(Phase::Writing);
        let snapshot = slot.read();
        assert_eq!(snapshot.method.as_deref(), Some("GET"));
        assert_eq!(snapshot.target.as_deref(), Some("/a\\x0a\\xff\\x5c\\x22b"));
        assert_eq!(
            (snapshot.phase, snapshot.status, snapshot.route, snapshot.bytes_in),
            (Phase::Writing, Some(200), Some(2), 7)
        );
        scoreboard.give_back(slot);
        let snapshot = scoreboard.take().unwrap().read();
        assert_eq!(
            (snapshot.phase, snapshot.requests, snapshot.method, snapshot.status),
            (Phase::Starting, 0, None, None)
        );
    }

    #[test]
    fn room_grows_and_shrinks_around_slots_in_use() {
        let mut scoreboard = Scoreboard::new(2).unwrap();
        let slots = [scoreboard.take().unwrap(), scoreboard.take().unwrap()];
        scoreboard.resize(3).unwrap();
        let third = scoreboard.take().unwrap();
        assert!(scoreboard.is_full() && scoreboard.take().is_none());
        scoreboard.resize(1).unwrap();
        scoreboard.give_back(third);
        scoreboard.give_back(slots[0]);
        assert!(scoreboard.take().is_none(), "one is still in use");
        scoreboard.give_back(slots[1]);
        assert!(scoreboard.take().is_some() && scoreboard.take().is_none());
        assert_eq!(scoreboard.in_use, 1);
    }

    #[test]
    fn long_requests_are_cut() {
        let mut scoreboard = Scoreboard::new(2).unwrap();
        let slot = scoreboard.take().unwrap();
        slot.set_request(&[b'M'; 40], &[b'/'; 5000]);
        let snapshot = slot.read();
        assert_eq!(snapshot.method.map(|m| m.len()), Some(METHOD_MAX + 3));
        assert_eq!(snapshot.target.map(|t| t.len()), Some(TARGET_MAX + 3));
    }
}
