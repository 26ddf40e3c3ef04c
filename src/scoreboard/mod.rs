//! The scoreboard: a memory file with a page for each connection. A child maps its own page, its slot, and no other. It
//! writes its progress there, and the supervisor reads the slot when the child is dead: a flight recorder that survives
//! SIGKILL. A child can write anything there, so the supervisor reports what it reads, and acts on what the kernel says.

#![forbid(unsafe_code)]

mod board;
mod slot;
mod text;

use std::fmt;
use std::time::Duration;

use crate::refusal::{HeaderError, RequestRefusal};

pub(crate) use board::Scoreboard;
pub(crate) use slot::Slot;
pub(crate) use text::describe_target;

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
    pub(crate) const ALL: [Self; 7] = {
        use Phase::*;
        [Starting, Reading, Handling, Writing, Closing, Idle, Program]
    };

    /// A slot may hold anything: what is no phase counts as the first.
    fn from_number(number: u64) -> Self {
        Self::ALL.into_iter().find(|&phase| phase as u64 == number).unwrap_or(Self::Starting)
    }
}

impl Phase {
    /// For the status: one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Reading => "reading",
            Self::Handling => "handling",
            Self::Writing => "writing",
            Self::Closing => "closing",
            Self::Idle => "idle",
            Self::Program => "program",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "running the program",
            phase => phase.word(),
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
    /// The user whose credentials were accepted for it.
    pub(crate) user: Option<String>,
    /// Why lsbaws has answered it with an error.
    pub(crate) error: Option<String>,
    /// Why the child has refused it.
    pub(crate) refusal: Option<RequestRefusal>,
    /// Messages of the child that its log did not accept.
    pub(crate) lost_messages: u64,
    /// Access lines that the child could not send.
    pub(crate) lost_lines: u64,
    /// A program of the child has left processes that ran, and that the child has terminated.
    pub(crate) has_orphans: bool,
    /// The client had disconnected when its request failed.
    pub(crate) is_client_gone: bool,
    /// Why the connection has no valid header of the PROXY protocol.
    pub(crate) header_error: Option<HeaderError>,
    /// The last line of the exception of an application, whose request failed.
    pub(crate) exception: Option<String>,
    /// The id that a proxy has given to the last request, or to the connection.
    pub(crate) request_id: Option<String>,
    /// The trace that the last request belongs to, as a proxy reports.
    pub(crate) trace_id: Option<String>,
    /// From the accept to the first byte of an application.
    pub(crate) first_byte: Option<Duration>,
}
