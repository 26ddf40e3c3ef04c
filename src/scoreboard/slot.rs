//! One page of the scoreboard.

mod requests;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::unistd::Pid;

use super::text::{TARGET_MAX, load_bytes, load_text, store_text};
use super::{Phase, ProgramEnd, Snapshot};
use crate::refusal::{HeaderError, RequestRefusal};
use crate::sys::{self, PAGE};

/// Bytes of a method, a user, the reason of an error and an exception that a slot has room for.
const METHOD_MAX: usize = 16;
const USER_MAX: usize = 64;
const ERROR_MAX: usize = 128;
const EXCEPTION_MAX: usize = 256;
/// Of the ids that a proxy gives to a request.
const REQUEST_ID_MAX: usize = 128;
const TRACE_ID_MAX: usize = 32;

/// More messages than a child can lose in its life: a slot may hold anything.
const LOST_MESSAGES_MAX: u64 = 1 << 20;

/// Where the text begins, after a word for each number.
const TEXT: usize = Number::Forked as usize + 1;
/// Words of a slot: a page, since a page is what a process maps.
pub(super) const WORDS: usize = PAGE / size_of::<AtomicU64>();

/// The numbers of a slot.
#[derive(Clone, Copy)]
enum Number {
    /// The supervisor asks the child to begin no further request.
    CloseAsked,
    /// Milliseconds from the accept to the wait for the current request, or to its first byte.
    Since,
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
    UserLength,
    ErrorLength,
    /// Why the child has refused the request.
    Refusal,
    /// Messages of the child that its log did not accept.
    LostMessages,
    /// Access lines that the child could not send.
    LostLines,
    /// 1: a program has left processes, which the child has terminated.
    Orphans,
    /// 1: the client had disconnected when its request failed.
    ClientGone,
    /// What is wrong with the header of the PROXY protocol.
    HeaderError,
    ExceptionLength,
    RequestIdLength,
    TraceIdLength,
    /// Microseconds from the accept to the first byte of an application.
    FirstByte,
    /// The process that was forked for the connection. The last number.
    Forked,
}

/// One connection's page: atomic integers only, cleared when it is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    words: &'static [AtomicU64; WORDS],
    index: u32,
}

impl Slot {
    /// The slots of the pages that are mapped in `words`, of which the first has the number `first`.
    pub(super) fn all(
        words: &'static [AtomicU64],
        first: usize,
    ) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        let (pages, _) = words.as_chunks::<WORDS>();
        pages
            .iter()
            .enumerate()
            .map(move |(at, words)| Self { words, index: u32::try_from(first + at).unwrap_or(u32::MAX) })
    }

    /// Maps one slot of a scoreboard.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(crate) fn map(scoreboard: BorrowedFd<'_>, index: u32) -> io::Result<Self> {
        let words = sys::map_shared_words(scoreboard, index as usize, 1)?;
        let slot = Self::all(words, index as usize).next();
        slot.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// Records which process was forked for the connection with this slot, for the supervisor: it may die before it reports.
    /// To map the slot in the fork server takes longer. (A child that ends before this call may have given up its slot: then
    /// the next connection has a pid that is no child's, until its own is recorded.)
    ///
    /// # Errors
    /// Those of pwrite(2).
    pub(crate) fn set_forked(scoreboard: BorrowedFd<'_>, index: u32, pid: Pid) -> io::Result<()> {
        let offset = index as usize * PAGE + Number::Forked as usize * size_of::<AtomicU64>();
        rustix::io::pwrite(scoreboard, &u64::from(pid.as_raw().unsigned_abs()).to_ne_bytes(), offset as u64)?;
        Ok(())
    }

    /// See [`Self::set_forked`].
    pub(crate) fn forked(self) -> Option<Pid> {
        i32::try_from(self.load(Number::Forked)).ok().filter(|&pid| pid > 0).map(Pid::from_raw)
    }

    /// A slot with these bytes in its page, as a hostile child leaves it.
    #[cfg(fuzzing)]
    pub(crate) fn with_bytes(bytes: &[u8]) -> Self {
        static PAGE: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
        let mut words = bytes.chunks(8);
        for word in &PAGE {
            let mut whole = [0; 8];
            let part = words.next().unwrap_or_default();
            whole[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
        Self { words: &PAGE, index: 0 }
    }

    /// Its number in the scoreboard.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    fn load(self, number: Number) -> u64 {
        self.words[number as usize].load(Relaxed)
    }

    fn store(self, number: Number, value: u64) {
        self.words[number as usize].store(value, Relaxed);
    }

    fn add(self, number: Number, value: u64) {
        self.words[number as usize].fetch_add(value, Relaxed);
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
        self.store(Number::MethodLength, store_text(self.method(), method));
        self.store(Number::TargetLength, store_text(self.target(), target));
    }

    /// The request is malformed: its first line stands for the target.
    pub(crate) fn set_malformed(self, line: &[u8]) {
        self.forget_request();
        self.store(Number::TargetLength, store_text(self.target(), line));
    }

    /// The record of a request must not show anything of an earlier one.
    fn forget_request(self) {
        use Number::*;
        for number in [
            Status,
            Program,
            Route,
            MethodLength,
            TargetLength,
            UserLength,
            ErrorLength,
            ExceptionLength,
            RequestIdLength,
            TraceIdLength,
            Refusal,
        ] {
            self.store(number, 0);
        }
    }

    /// See [`Self::set_user`]: up to 64 bytes. Empty: none.
    pub(crate) fn user_name(self) -> Vec<u8> {
        load_bytes(self.user(), self.load(Number::UserLength))
    }

    /// See [`Self::set_error`]: up to 128 bytes. Empty: none.
    pub(crate) fn error_reason(self) -> Vec<u8> {
        load_bytes(self.error(), self.load(Number::ErrorLength))
    }

    /// The user whose credentials were accepted for the request, or the name of those that were not: with the status 401. A
    /// long name is cut.
    pub(crate) fn set_user(self, user: &[u8]) {
        self.store(Number::UserLength, store_text(self.user(), user));
    }

    /// The reason for the status of an error response that lsbaws itself makes. A long one is cut.
    pub(crate) fn set_error(self, reason: &[u8]) {
        self.store(Number::ErrorLength, store_text(self.error(), reason));
    }

    /// An application has failed: the last line of its exception.
    pub(crate) fn set_exception(self, line: &[u8]) {
        self.store(Number::ExceptionLength, store_text(self.exception(), line));
    }

    /// The id that a proxy has given to the request, or to its connection.
    pub(crate) fn set_request_id(self, id: &[u8]) {
        self.store(Number::RequestIdLength, store_text(self.request_id(), id));
    }

    /// The trace that the request belongs to, as a proxy reports.
    pub(crate) fn set_trace_id(self, id: &[u8]) {
        self.store(Number::TraceIdLength, store_text(self.trace_id(), id));
    }

    /// An application has begun its first response, so long after the accept.
    pub(crate) fn set_first_byte(self, time: Duration) {
        if self.load(Number::FirstByte) == 0 {
            self.store(Number::FirstByte, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// The child refuses the request.
    pub(crate) fn set_refusal(self, refusal: RequestRefusal) {
        self.store(Number::Refusal, refusal.to_number());
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

    /// The line of a request could not be sent.
    pub(crate) fn add_lost_line(self) {
        self.add(Number::LostLines, 1);
    }

    /// The status of the last response, if one has begun.
    pub(crate) fn status(self) -> Option<u16> {
        u16::try_from(self.load(Number::Status)).ok().filter(|&status| status > 0)
    }

    /// A program has left processes that ran, and they were terminated.
    pub(crate) fn set_orphans(self) {
        self.store(Number::Orphans, 1);
    }

    /// The client had disconnected, so that its request failed.
    pub(crate) fn set_client_gone(self) {
        self.store(Number::ClientGone, 1);
    }

    /// The connection has no valid header of the PROXY protocol.
    pub(crate) fn set_header_error(self, error: HeaderError) {
        self.store(Number::HeaderError, error.to_number());
    }

    /// Records when the wait for a request, or its head, has begun, from the accept on. To be called before the phase is
    /// entered.
    pub(crate) fn set_since(self, time: Duration) {
        self.store(Number::Since, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// See [`Self::set_since`]. Zero for the first request.
    pub(crate) fn since(self) -> Duration {
        Duration::from_millis(self.load(Number::Since))
    }

    /// Bytes that have moved so far, in both directions.
    pub(crate) fn bytes(self) -> u64 {
        self.load(Number::BytesIn).wrapping_add(self.load(Number::BytesOut))
    }

    /// Requests, bytes received and bytes sent so far.
    pub(crate) fn traffic(self) -> (u64, u64, u64) {
        (self.load(Number::Requests), self.load(Number::BytesIn), self.load(Number::BytesOut))
    }

    /// A copy of what the child has written so far.
    pub(crate) fn read(self) -> Snapshot {
        Snapshot {
            phase: self.phase(),
            requests: self.load(Number::Requests),
            bytes_in: self.load(Number::BytesIn),
            bytes_out: self.load(Number::BytesOut),
            route: usize::try_from(self.load(Number::Route)).unwrap_or(0).checked_sub(1),
            status: self.status(),
            program: u32::try_from(self.load(Number::Program)).ok().and_then(ProgramEnd::from_word),
            method: load_text(self.method(), self.load(Number::MethodLength)),
            target: load_text(self.target(), self.load(Number::TargetLength)),
            // With 401, it is a name that the client has claimed.
            user: load_text(self.user(), self.load(Number::UserLength))
                .filter(|_| self.status() != Some(401)),
            error: load_text(self.error(), self.load(Number::ErrorLength)),
            refusal: RequestRefusal::from_number(self.load(Number::Refusal)),
            lost_messages: self.load(Number::LostMessages).min(LOST_MESSAGES_MAX),
            lost_lines: self.load(Number::LostLines).min(LOST_MESSAGES_MAX),
            has_orphans: self.load(Number::Orphans) != 0,
            is_client_gone: self.load(Number::ClientGone) != 0,
            header_error: HeaderError::from_number(self.load(Number::HeaderError)),
            exception: load_text(self.exception(), self.load(Number::ExceptionLength)),
            request_id: load_text(self.request_id(), self.load(Number::RequestIdLength)),
            trace_id: load_text(self.trace_id(), self.load(Number::TraceIdLength)),
            first_byte: Some(self.load(Number::FirstByte))
                .filter(|&time| time > 0)
                .map(Duration::from_micros),
        }
    }

    fn method(self) -> &'static [AtomicU64] {
        &self.words[TEXT..TEXT + METHOD_MAX / 8]
    }

    fn target(self) -> &'static [AtomicU64] {
        &self.words[TEXT + METHOD_MAX / 8..TEXT + (METHOD_MAX + TARGET_MAX) / 8]
    }

    fn user(self) -> &'static [AtomicU64] {
        let start = TEXT + (METHOD_MAX + TARGET_MAX) / 8;
        &self.words[start..start + USER_MAX / 8]
    }

    fn error(self) -> &'static [AtomicU64] {
        let start = TEXT + (METHOD_MAX + TARGET_MAX + USER_MAX) / 8;
        &self.words[start..start + ERROR_MAX / 8]
    }

    fn exception(self) -> &'static [AtomicU64] {
        let start = TEXT + (METHOD_MAX + TARGET_MAX + USER_MAX + ERROR_MAX) / 8;
        &self.words[start..start + EXCEPTION_MAX / 8]
    }

    fn request_id(self) -> &'static [AtomicU64] {
        let start = TEXT + (METHOD_MAX + TARGET_MAX + USER_MAX + ERROR_MAX + EXCEPTION_MAX) / 8;
        &self.words[start..start + REQUEST_ID_MAX / 8]
    }

    fn trace_id(self) -> &'static [AtomicU64] {
        let others = METHOD_MAX + TARGET_MAX + USER_MAX + ERROR_MAX + EXCEPTION_MAX + REQUEST_ID_MAX;
        &self.words[TEXT + others / 8..TEXT + (others + TRACE_ID_MAX) / 8]
    }

    /// Makes the slot as good as new. The text needs no wiping: its length is zero.
    pub(super) fn clear(self) {
        for number in &self.words[..TEXT] {
            number.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
