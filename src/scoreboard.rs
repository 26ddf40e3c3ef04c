//! The scoreboard: one shared mapping with a slot for each connection. The child writes into its slot
//! how far it has come, and the parent reads that when the child is dead: the black box that survives
//! SIGKILL. What stands there is a child's testimony, so the parent takes it as data, never as truth.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::sys;

/// How far a child has come with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Forked, nothing done yet.
    Starting,
    /// Waiting for a request, or reading one.
    Reading,
    /// A handler is at work on a request.
    Handling,
    /// Sending the response.
    Writing,
    /// The last response is sent; waiting for the peer to take it.
    Closing,
    /// A response is sent; waiting for another request.
    Idle,
    /// The child has become a program.
    Program,
}

impl Phase {
    fn from_byte(byte: u8) -> Self {
        const ALL: [Phase; 7] = {
            use Phase::*;
            [Starting, Reading, Handling, Writing, Closing, Idle, Program]
        };
        ALL.into_iter().find(|&phase| phase as u8 == byte).unwrap_or(Self::Starting)
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

/// How a program has ended that a handler has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramEnd {
    /// It has not: it was still running when the child ended.
    Running,
    Exited(u8),
    /// By the signal of this number.
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

const METHOD_MAX: usize = 16;
const TARGET_MAX: usize = 256;

/// One connection's part of the shared mapping: integer atomics only, cleared when it is taken.
/// The fields that every connection writes stand together in one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Slot {
    /// PID of the child proper of a double fork, once there is one.
    child: AtomicI32,
    /// Process group of the program that runs for the child.
    group: AtomicI32,
    requests: AtomicU32,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    program: AtomicU32,
    status: AtomicU16,
    route: AtomicU16,
    phase: AtomicU8,
    method_length: AtomicU16,
    target_length: AtomicU16,
    method: [AtomicU8; METHOD_MAX],
    target: [AtomicU8; TARGET_MAX],
}

impl Slot {
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub fn phase(&self) -> Phase {
        Phase::from_byte(self.phase.load(Relaxed))
    }

    /// A request has been read: from here on the record can name it. Long targets are cut.
    pub fn note_request(&self, method: &[u8], target: &[u8]) {
        self.forget_request();
        self.requests.fetch_add(1, Relaxed);
        self.method_length.store(store_bytes(&self.method, method), Relaxed);
        self.target_length.store(store_bytes(&self.target, target), Relaxed);
    }

    /// Nothing of an earlier request shall be told of a later one.
    fn forget_request(&self) {
        self.status.store(0, Relaxed);
        self.program.store(0, Relaxed);
        self.route.store(0, Relaxed);
        self.method_length.store(0, Relaxed);
        self.target_length.store(0, Relaxed);
    }

    /// What came was no request: its first line stands for the target.
    pub fn note_malformed(&self, line: &[u8]) {
        self.forget_request();
        self.target_length.store(store_bytes(&self.target, line), Relaxed);
    }

    pub fn note_program(&self, end: ProgramEnd) {
        self.program.store(end.to_word(), Relaxed);
    }

    /// Which route of the service took the request, counted from 1.
    pub fn note_route(&self, index: usize) {
        self.route.store(u16::try_from(index + 1).unwrap_or(u16::MAX), Relaxed);
    }

    pub fn note_status(&self, status: u16) {
        self.status.store(status, Relaxed);
    }

    pub fn add_bytes_in(&self, count: usize) {
        self.bytes_in.fetch_add(count as u64, Relaxed);
    }

    pub fn add_bytes_out(&self, count: usize) {
        self.bytes_out.fetch_add(count as u64, Relaxed);
    }

    pub fn set_child(&self, pid: i32) {
        self.child.store(pid, Relaxed);
    }

    /// The child proper of a double fork, once there is one.
    pub fn child(&self) -> Option<i32> {
        Some(self.child.load(Relaxed)).filter(|&pid| pid > 0)
    }

    /// A program runs for this connection, in that process group; 0: none does any more.
    pub fn set_group(&self, group: i32) {
        self.group.store(group, Relaxed);
    }

    /// The process group of the program that ran when the child was last heard of.
    pub fn group(&self) -> Option<i32> {
        Some(self.group.load(Relaxed)).filter(|&group| group > 1)
    }

    /// Bytes that have moved so far, in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes_in.load(Relaxed).wrapping_add(self.bytes_out.load(Relaxed))
    }

    /// What the child has told so far.
    pub fn read(&self) -> Testimony {
        let status = self.status.load(Relaxed);
        Testimony {
            phase: self.phase(),
            requests: self.requests.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            route: usize::from(self.route.load(Relaxed)).checked_sub(1),
            status: (status > 0).then_some(status),
            program: ProgramEnd::from_word(self.program.load(Relaxed)),
            method: load_text(&self.method, self.method_length.load(Relaxed).into()),
            target: load_text(&self.target, self.target_length.load(Relaxed).into()),
        }
    }

    /// Makes the slot as good as new. The text needs no wiping: its length is zero.
    fn clear(&self) {
        self.child.store(0, Relaxed);
        self.group.store(0, Relaxed);
        self.requests.store(0, Relaxed);
        self.bytes_in.store(0, Relaxed);
        self.bytes_out.store(0, Relaxed);
        self.status.store(0, Relaxed);
        self.program.store(0, Relaxed);
        self.phase.store(0, Relaxed);
        self.route.store(0, Relaxed);
        self.method_length.store(0, Relaxed);
        self.target_length.store(0, Relaxed);
    }
}

/// Stores what there is room for. Returns the whole length.
fn store_bytes(cells: &[AtomicU8], bytes: &[u8]) -> u16 {
    for (cell, byte) in cells.iter().zip(bytes) {
        cell.store(*byte, Relaxed);
    }
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

/// Text for a record: printable ASCII as it is, every other byte as `\xNN`, and so quotes and
/// backslashes: nothing in it can pose as another line or field.
fn load_text(cells: &[AtomicU8], length: usize) -> Option<String> {
    use std::fmt::Write;
    if length == 0 {
        return None;
    }
    let mut text = String::with_capacity(length.min(cells.len()));
    for cell in cells.iter().take(length) {
        match cell.load(Relaxed) {
            byte @ b' '..=b'~' if byte != b'\\' && byte != b'"' => text.push(char::from(byte)),
            byte => _ = write!(text, "\\x{byte:02x}"), // into a String: never fails
        }
    }
    if length > cells.len() {
        text.push_str("...");
    }
    Some(text)
}

/// A copy of what a slot said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Testimony {
    pub phase: Phase,
    pub requests: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Index of the route that took the last request.
    pub route: Option<usize>,
    /// Status of the last response, once it was decided.
    pub status: Option<u16>,
    /// The end of the program that was started for it.
    pub program: Option<ProgramEnd>,
    pub method: Option<String>,
    pub target: Option<String>,
}

/// All slots, and which are free.
#[derive(Debug)]
pub struct Scoreboard {
    /// Last freed, first used: its page is the one most likely to be at hand.
    free: Vec<&'static Slot>,
    mapped: usize,
    in_use: usize,
    /// So many may be in use.
    room: usize,
}

impl Scoreboard {
    /// Maps slots for `count` connections at the same time.
    pub fn new(count: usize) -> io::Result<Self> {
        let mut scoreboard = Self { free: Vec::new(), mapped: 0, in_use: 0, room: 0 };
        scoreboard.resize(count)?;
        Ok(scoreboard)
    }

    /// Changes how many slots may be in use. More are mapped when needed; fewer leave those in use alone.
    pub fn resize(&mut self, room: usize) -> io::Result<()> {
        if room > self.mapped {
            let slots = sys::map_slots(room - self.mapped)?;
            self.free.reserve_exact(room - self.free.len());
            self.free.splice(0..0, slots.iter().rev());
            self.mapped = room;
        }
        self.room = room;
        Ok(())
    }

    /// A cleared slot, or none when all are in use.
    pub fn take(&mut self) -> Option<&'static Slot> {
        if self.is_full() {
            return None;
        }
        let slot = self.free.pop()?;
        self.in_use += 1;
        slot.clear();
        Some(slot)
    }

    pub fn give_back(&mut self, slot: &'static Slot) {
        self.in_use -= 1;
        self.free.push(slot);
    }

    pub fn is_full(&self) -> bool {
        self.in_use >= self.room
    }

    /// Slots in use.
    pub fn in_use(&self) -> usize {
        self.in_use
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_tells_what_was_noted_and_nothing_after_it_is_taken_again() {
        let mut scoreboard = Scoreboard::new(1).unwrap();
        let slot = scoreboard.take().unwrap();
        assert!(scoreboard.is_full() && scoreboard.take().is_none());
        slot.note_request(b"GET", b"/a\n\xff\\\"b");
        slot.note_route(2);
        slot.note_status(200);
        slot.add_bytes_in(7);
        slot.enter(Phase::Writing);
        let told = slot.read();
        assert_eq!(told.method.as_deref(), Some("GET"));
        assert_eq!(told.target.as_deref(), Some("/a\\x0a\\xff\\x5c\\x22b"));
        assert_eq!(
            (told.phase, told.status, told.route, told.bytes_in),
            (Phase::Writing, Some(200), Some(2), 7)
        );
        scoreboard.give_back(slot);
        let told = scoreboard.take().unwrap().read();
        assert_eq!((told.phase, told.requests, told.method, told.status), (Phase::Starting, 0, None, None));
    }

    #[test]
    fn room_grows_and_shrinks_around_what_is_in_use() {
        let mut scoreboard = Scoreboard::new(2).unwrap();
        let slots = [scoreboard.take().unwrap(), scoreboard.take().unwrap()];
        scoreboard.resize(3).unwrap();
        let third = scoreboard.take().unwrap();
        assert!(scoreboard.is_full() && scoreboard.take().is_none());
        scoreboard.resize(1).unwrap();
        scoreboard.give_back(third);
        scoreboard.give_back(slots[0]);
        assert!(scoreboard.take().is_none(), "one is in use still");
        scoreboard.give_back(slots[1]);
        assert!(scoreboard.take().is_some() && scoreboard.take().is_none());
        assert_eq!(scoreboard.in_use(), 1);
    }

    #[test]
    fn long_requests_are_cut_to_their_room() {
        let mut scoreboard = Scoreboard::new(2).unwrap();
        let slot = scoreboard.take().unwrap();
        slot.note_request(&[b'M'; 40], &[b'/'; 5000]);
        let told = slot.read();
        assert_eq!(told.method.map(|m| m.len()), Some(METHOD_MAX + 3));
        assert_eq!(told.target.map(|t| t.len()), Some(TARGET_MAX + 3));
    }
}
