//! The log of the supervisor: its sink, the rate limiter in front of it, and the count of what was lost.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::line::Destination;
use super::message_id::CONNECTIONS_SUPPRESSED;
use super::queue::Queue;
use super::ratelimit::{Kind, RateLimiter, Tally};
use super::settings::{Level, LogSettings};
use super::stderr::Stderr;
use crate::connection::Peer;
use crate::sys;

/// How long [`Log::close`] waits for a log that accepts none of the last entries.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for a slow one: less than a unit has to stop.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Where entries go.
#[derive(Debug)]
enum Sink {
    Journal(Queue<Loss>),
    Stderr(Stderr),
}

/// What an entry is, and so what is counted if it is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Record(Kind, Level),
    /// The number of suppressed records.
    Suppressed(Kind, Tally),
    Message,
    AccessLine,
    /// The number of lost access lines.
    LostLines(u64),
    /// The number of lost messages.
    LostMessages(u64),
}

/// Where access lines go, opened when the first comes.
#[derive(Debug, Default)]
struct AccessSinks {
    journal: Option<Queue<Loss>>,
    /// None: that of the log, if entries go there as well.
    stderr: Option<Stderr>,
}

/// The log of the supervisor. Only [`Log::close`] waits.
#[derive(Debug)]
pub(super) struct Log {
    level: Level,
    sink: Sink,
    limiter: RateLimiter,
    /// Messages other than records that the log did not accept.
    lost_messages: u64,
    lost_lines: u64,
    access: AccessSinks,
    /// The encoded entry for the journal.
    bytes: Vec<u8>,
}

impl Log {
    /// # Errors
    /// Those of socket(2).
    pub(super) fn to_journal(level: Level, max_rate: u32) -> io::Result<Self> {
        Ok(Self::new(level, max_rate, Sink::Journal(Queue::open()?)))
    }

    pub(super) fn to_stderr(level: Level, max_rate: u32) -> Self {
        Self::new(level, max_rate, Sink::Stderr(Stderr::open()))
    }

    fn new(level: Level, max_rate: u32, sink: Sink) -> Self {
        let limiter = RateLimiter::new(max_rate);
        Self {
            level,
            sink,
            limiter,
            lost_messages: 0,
            lost_lines: 0,
            access: AccessSinks::default(),
            bytes: Vec::new(),
        }
    }

    pub(super) fn change(&mut self, settings: LogSettings) {
        self.level = settings.level;
        self.limiter.set_max_rate(settings.max_rate);
    }

    pub(super) fn destination(&self) -> Destination {
        match &self.sink {
            Sink::Journal(_) => Destination::Journal,
            Sink::Stderr(_) => Destination::Stderr,
        }
    }

    fn is_journal(&self) -> bool {
        matches!(self.sink, Sink::Journal(_))
    }

    /// Writes the record of a connection of `peer`, or counts it. `now`: when it is recorded.
    pub(super) fn record(
        &mut self,
        (kind, level): (Kind, Level),
        peer: &Peer,
        now: Instant,
        entry: impl FnOnce() -> Entry,
    ) {
        // Records below the level are neither written nor counted.
        if level > self.level {
            return;
        }
        self.refresh(now);
        if self.limiter.admit(kind, level, peer) {
            self.write(&entry(), Loss::Record(kind, level));
        }
    }

    /// Writes a message other than a record, or counts it.
    pub(super) fn message(&mut self, entry: &Entry) {
        if entry.level() <= self.level {
            self.write(entry, Loss::Message);
        }
    }

    /// Counts messages that were lost elsewhere.
    pub(super) fn add_lost_messages(&mut self, count: u64) {
        self.lost_messages = self.lost_messages.saturating_add(count);
    }

    /// Sends an access line to the journal, or counts it. It has a queue of its own, so that it takes no room from others.
    pub(super) fn access_entry(&mut self, entry: &Entry) {
        if self.access.journal.is_none() {
            self.access.journal = Queue::open().ok();
        }
        self.bytes.clear();
        entry.encode_for_journal(&mut self.bytes);
        let sent = self
            .access
            .journal
            .as_mut()
            .is_some_and(|queue| queue.push(&self.bytes, Loss::AccessLine).is_ok());
        self.add_lost_lines(u64::from(!sent));
    }

    /// Writes an access line to standard error, or counts it.
    pub(super) fn access_line(&mut self, line: &str) {
        let written = self.stderr().write_line(format!("{line}\n").as_bytes());
        self.add_lost_lines(u64::from(written.is_err()));
    }

    /// Bytes of the longest access line that [`Self::access_line`] does not cut.
    pub(super) fn access_room(&mut self) -> usize {
        self.stderr().line_max() - 1 // its end
    }

    /// The one of the entries, if they go there: a terminal may owe the rest of one.
    fn stderr(&mut self) -> &mut Stderr {
        match &mut self.sink {
            Sink::Stderr(stderr) => stderr,
            Sink::Journal(_) => self.access.stderr.get_or_insert_with(Stderr::open),
        }
    }

    /// Counts access lines that were lost elsewhere.
    pub(super) fn add_lost_lines(&mut self, count: u64) {
        self.lost_lines = self.lost_lines.saturating_add(count);
    }

    fn write(&mut self, entry: &Entry, loss: Loss) {
        let result = match &mut self.sink {
            Sink::Journal(queue) => {
                self.bytes.clear();
                entry.encode_for_journal(&mut self.bytes);
                queue.push(&self.bytes, loss)
            }
            Sink::Stderr(stderr) => stderr.write_entry(entry).map_err(|_| loss),
        };
        if let Err(loss) = result {
            self.lose(loss);
        }
    }

    fn lose(&mut self, loss: Loss) {
        match loss {
            Loss::Record(kind, level) => self.limiter.count(kind, Tally::of_unaccepted(level)),
            Loss::Suppressed(kind, tally) => self.limiter.count(kind, tally),
            Loss::Message => self.add_lost_messages(1),
            Loss::LostMessages(count) => self.add_lost_messages(count),
            Loss::AccessLine => self.add_lost_lines(1),
            Loss::LostLines(count) => self.add_lost_lines(count),
        }
    }

    /// Sends what waits for the journal, and writes the counts of a second that is over.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.flush_queue(now);
        if self.limiter.advance(now) {
            self.write_counts();
        }
    }

    fn flush_queue(&mut self, now: Instant) {
        let mut lost = Vec::new();
        self.queues_mut().for_each(|queue| queue.flush(now, |loss| lost.push(loss)));
        lost.into_iter().for_each(|loss| self.lose(loss));
    }

    /// That of entries, and that of access lines.
    fn queues(&self) -> impl Iterator<Item = &Queue<Loss>> {
        let own = if let Sink::Journal(queue) = &self.sink { Some(queue) } else { None };
        own.into_iter().chain(&self.access.journal)
    }

    fn queues_mut(&mut self) -> impl Iterator<Item = &mut Queue<Loss>> {
        let own = if let Sink::Journal(queue) = &mut self.sink { Some(queue) } else { None };
        own.into_iter().chain(&mut self.access.journal)
    }

    /// Writes what is counted. What the log does not accept stays counted.
    fn write_counts(&mut self) {
        let sink = self.sink_name();
        for kind in Kind::all() {
            if let Some(tally) = self.limiter.take(kind) {
                self.write(&describe_suppressed(kind, &tally, sink), Loss::Suppressed(kind, tally));
            }
        }
        let count = std::mem::take(&mut self.lost_messages);
        if count > 0 {
            let message = format_args!("lost {count} other messages, not accepted by {sink}");
            self.write(&Entry::without_id(Level::Warn, message), Loss::LostMessages(count));
        }
        let count = std::mem::take(&mut self.lost_lines);
        if count > 0 {
            let message = format_args!("lost {count} access lines");
            self.write(&Entry::without_id(Level::Warn, message), Loss::LostLines(count));
        }
    }

    fn sink_name(&self) -> &'static str {
        if self.is_journal() { "the journal" } else { "standard error" }
    }

    /// The socket to poll for POLLOUT while entries wait for the journal.
    pub(super) fn writable(&self) -> Option<Arc<UnixDatagram>> {
        // Both lead to the same journal.
        self.queues().find_map(|queue| queue.writable().cloned())
    }

    /// When [`Log::refresh`] has something to do.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let has_counts = self.lost_messages > 0 || self.lost_lines > 0 || !self.limiter.is_empty();
        let counts = self.limiter.second_end().filter(|_| has_counts);
        self.queues().filter_map(Queue::next_event).chain(counts).min()
    }

    /// Writes everything now, and waits for a log that does not accept it at once. Returns the number of lost entries
    /// as a sentence, if any is lost.
    pub(super) fn close(&mut self) -> Option<String> {
        let end = Instant::now() + CLOSE_MAX;
        let (mut deadline, mut is_last) = (Instant::now() + CLOSE_TIMEOUT, false);
        loop {
            let before = self.count_waiting();
            self.flush_queue(Instant::now());
            if self.count_waiting() < before {
                deadline = (Instant::now() + CLOSE_TIMEOUT).min(end);
            }
            self.write_counts();
            if self.is_settled() {
                return None;
            }
            if is_last || !self.wait_for_room(deadline) {
                break;
            }
            // Standard error may be writable and fail, for example if a disk is full.
            is_last = !self.is_journal() || Instant::now() >= deadline;
        }
        let lost: Vec<_> = self.queues_mut().flat_map(Queue::take_all).collect();
        lost.into_iter().for_each(|loss| self.lose(loss));
        Some(self.last_words())
    }

    /// Entries that wait for the journal.
    fn count_waiting(&self) -> usize {
        self.queues().map(Queue::count).sum()
    }

    /// Everything is written.
    fn is_settled(&self) -> bool {
        self.count_waiting() == 0
            && self.lost_messages == 0
            && self.lost_lines == 0
            && self.limiter.is_empty()
    }

    /// False: it has not become writable by then.
    fn wait_for_room(&self, deadline: Instant) -> bool {
        match self.writable() {
            Some(socket) => sys::wait_writable(&socket, deadline),
            None if self.is_journal() => false,
            None => sys::wait_writable(&io::stderr(), deadline),
        }
    }

    fn last_words(&mut self) -> String {
        let sink = self.sink_name().trim_start_matches("the ");
        let records: Vec<_> = Kind::all()
            .filter_map(|kind| Some(format!("{} {}", kind.word(), self.limiter.take(kind)?.count())))
            .collect();
        let mut words = Vec::new();
        if !records.is_empty() || self.lost_messages > 0 {
            words.push(format!("{sink} unavailable"));
            if !records.is_empty() {
                words.push(format!("lost records: {}", records.join(", ")));
            }
            words.push(format!("other messages: {}", self.lost_messages));
        }
        if self.lost_lines > 0 {
            words.push(format!("lost access lines: {}", self.lost_lines));
        }
        words.join("; ")
    }
}

fn describe_suppressed(kind: Kind, tally: &Tally, sink: &str) -> Entry {
    let (count, word, Tally { over_rate, unaccepted, level }) = (tally.count(), kind.word(), *tally);
    let message = format_args!(
        "suppressed {count} records ({word}): {over_rate} over log.max_rate, {unaccepted} not accepted by {sink}"
    );
    Entry::new(level, CONNECTIONS_SUPPRESSED, message)
        .text("LSBAWS_END", "suppressed")
        .text("LSBAWS_OUTCOME", word)
        .field("LSBAWS_COUNT", count)
}
