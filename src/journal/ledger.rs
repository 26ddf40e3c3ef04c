//! The ledger of the records: each record of a connection is either written or counted here, by its kind, so
//! that the records and the counts always add up to the connections accepted. What is counted becomes one
//! record for each kind as soon as the second is over and the log takes it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use super::{CONNECTIONS_FOLDED, is_written, sink_name};
use crate::outcome::Outcome;

/// Budgets are for whole seconds, and counts are written, or tried again, once in each.
const SECOND: Duration = Duration::from_secs(1);

/// One for the process: records come from several modules, and one thread.
static LEDGER: Mutex<Ledger> = Mutex::new(Ledger::new());

/// What records are counted by: the verdict of the child, or that it had none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ended(Outcome),
    Killed,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Ended(Outcome::Served),
        Self::Ended(Outcome::ClientError),
        Self::Ended(Outcome::HandlerError),
        Self::Ended(Outcome::Refused),
        Self::Ended(Outcome::Bug),
        Self::Ended(Outcome::SystemError),
        Self::Ended(Outcome::ConfigError),
        Self::Killed,
    ];

    /// As LSBAWS_OUTCOME has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ended(outcome) => outcome.word(),
            Self::Killed => "killed",
        }
    }
}

/// The records of one kind.
#[derive(Debug, Clone, Copy)]
struct Tally {
    /// Records written, or tried to, in this second.
    tried: u32,
    /// Records over the budget since the last that was written of them.
    folded: u64,
    /// Records that the log did not take.
    untaken: u64,
    /// The most important of those.
    level: Level,
}

impl Tally {
    const NEW: Self = Self { tried: 0, folded: 0, untaken: 0, level: Level::TRACE };

    fn count(&self) -> u64 {
        self.folded + self.untaken
    }
}

/// What is counted instead of written.
#[derive(Debug)]
pub struct Ledger {
    /// Records of one kind in one second.
    max_rate: u32,
    /// When this second is over. None: nothing has been recorded yet.
    second_end: Option<Instant>,
    tallies: [Tally; Kind::ALL.len()],
    /// Messages that are no record of a connection, and that the log did not take.
    messages: u64,
}

impl Ledger {
    const fn new() -> Self {
        Self { max_rate: u32::MAX, second_end: None, tallies: [Tally::NEW; Kind::ALL.len()], messages: 0 }
    }

    /// Writes a record by `write`, which gives its whole event, or counts it.
    fn record(&mut self, kind: Kind, level: Level, now: Instant, write: impl FnOnce()) {
        self.refresh(now);
        let index = Kind::ALL.iter().position(|&other| other == kind).unwrap_or_default();
        let tally = &mut self.tallies[index];
        if tally.tried >= self.max_rate {
            tally.folded += 1;
        } else {
            tally.tried += 1;
            if is_written(write) {
                return;
            }
            tally.untaken += 1;
        }
        tally.level = tally.level.min(level); // the more important, the less
    }

    /// Begins another second, if this one is over, and writes what was counted.
    fn refresh(&mut self, now: Instant) {
        if self.second_end.is_none_or(|end| now >= end) {
            self.second_end = Some(now + SECOND);
            self.write_counts();
        }
    }

    /// Writes what is counted. What the log does not take stays counted.
    fn write_counts(&mut self) {
        for (kind, tally) in Kind::ALL.iter().zip(&mut self.tallies) {
            tally.tried = 0;
            if tally.count() > 0 && is_written(|| write_count(*kind, tally)) {
                *tally = Tally::NEW;
            }
        }
        let messages = self.messages;
        let write = || tracing::warn!("messages lost, besides the records of connections: {messages}");
        if messages > 0 && is_written(write) {
            self.messages = 0;
        }
    }

    fn is_empty(&self) -> bool {
        self.messages == 0 && self.tallies.iter().all(|tally| tally.count() == 0)
    }
}

/// What could not be told.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has not taken the records of connections:", sink_name())?;
        for (kind, tally) in Kind::ALL.iter().zip(&self.tallies).filter(|(_, tally)| tally.count() > 0) {
            write!(f, " {} {},", kind.word(), tally.count())?;
        }
        write!(f, " nor other messages: {}", self.messages)
    }
}

fn write_count(kind: Kind, tally: &Tally) {
    // The level is part of a call site, so each level has its own.
    macro_rules! write_record {
        ($level:expr) => {
            tracing::event!(
                $level,
                MESSAGE_ID = CONNECTIONS_FOLDED,
                LSBAWS_END = "folded",
                LSBAWS_OUTCOME = kind.word(),
                LSBAWS_COUNT = tally.count(),
                "{} more connections ({}), not written one by one: over log.max_rate {}, not taken by {} {}",
                tally.count(),
                kind.word(),
                tally.folded,
                sink_name(),
                tally.untaken
            )
        };
    }
    match tally.level {
        Level::ERROR => write_record!(Level::ERROR),
        Level::WARN => write_record!(Level::WARN),
        _ => write_record!(Level::INFO),
    }
}

fn lock() -> MutexGuard<'static, Ledger> {
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner) // a panic has ended the process
}

/// At most so many records of one kind are written in a second; 0 is no limit.
pub fn set_max_rate(max_rate: u32) {
    lock().max_rate = if max_rate == 0 { u32::MAX } else { max_rate };
}

/// Writes the one record of a connection by `write`, or counts it. `now`: when it is recorded.
pub fn record(kind: Kind, level: Level, now: Instant, write: impl FnOnce()) {
    // What nobody wants to read is not to be counted either.
    if level <= LevelFilter::current() {
        lock().record(kind, level, now, write);
    }
}

/// Writes a message that is no record of a connection, by `write`, or counts it.
pub fn tell(write: impl FnOnce()) {
    if !is_written(write) {
        lock().messages += 1;
    }
}

/// Writes the counts of a second that is over.
pub fn refresh(now: Instant) {
    lock().refresh(now);
}

/// When [`refresh`] has something to write.
pub fn next_event() -> Option<Instant> {
    let ledger = lock();
    ledger.second_end.filter(|_| !ledger.is_empty())
}

/// Writes all counts now. The last words about what the log does not take even now, nor after `wait`.
pub fn close(wait: impl FnOnce()) -> Option<String> {
    let mut ledger = lock();
    ledger.write_counts();
    if !ledger.is_empty() {
        wait();
        ledger.write_counts();
    }
    (!ledger.is_empty()).then(|| ledger.to_string())
}
