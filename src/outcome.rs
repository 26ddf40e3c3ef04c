//! The outcome of a child: its own judgement of the connection that it served. The exit code that carries it
//! is an interface: the supervisor, the journal and an administrator's scripts read it.

#![forbid(unsafe_code)]

use std::fmt;

/// How a connection went, as the child itself judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// Every request was answered.
    Served = 0,
    /// The client sent something malformed, was too slow, or disconnected early.
    ClientError = 1,
    /// The handler, such as an application, failed.
    HandlerError = 2,
    /// Refused by policy.
    Refused = 3,
    /// A bug in lsbaws (`EX_SOFTWARE` of sysexits.h).
    Bug = 70,
    /// The system refused something: processes, memory, descriptors (`EX_OSERR`).
    SystemError = 71,
    /// The configuration cannot work (`EX_CONFIG`).
    ConfigError = 78,
}

impl Outcome {
    pub(crate) const ALL: [Self; 7] = [
        Self::Served,
        Self::ClientError,
        Self::HandlerError,
        Self::Refused,
        Self::Bug,
        Self::SystemError,
        Self::ConfigError,
    ];

    /// The exit code of a child with this outcome.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The outcome that an exit code stands for, if it is one of lsbaws.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.code() == code)
    }

    /// The value of `LSBAWS_OUTCOME`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::ClientError => "client-error",
            Self::HandlerError => "handler-error",
            Self::Refused => "refused",
            Self::Bug => "bug",
            Self::SystemError => "system-error",
            Self::ConfigError => "config-error",
        }
    }
}

/// Why lsbaws itself terminated a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TerminatedBy {
    /// The connection lasted longer than `max_duration`.
    Deadline,
    /// No byte moved for the service's `idle_timeout`.
    Idle,
    /// What `on_fork` of its application names has not returned within `start_timeout`.
    Start,
    /// The drain lasted longer than `process.drain_timeout`.
    Drain,
    /// A second stop signal arrived.
    Stop,
}

impl fmt::Display for TerminatedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::Start => "start",
            Self::Drain => "drain",
            Self::Stop => "stop",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_for_one_outcome() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        }
        assert_eq!(Outcome::from_code(42), None);
    }
}
