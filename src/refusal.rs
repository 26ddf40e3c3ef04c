//! Why a client is refused, as it reads it: by the supervisor, before a process has its connection, or by a child, after a
//! proxy has named the client.

#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// By access lists.
    Denied,
    /// It has too many connections.
    PerSourceLimit,
    Rate,
    Penalty,
    NoProcess,
    /// Its application cannot be loaded.
    NotLoaded,
    /// No supervisor has decided about it in time.
    Undecided,
}

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) cause: Cause,
    /// Seconds after which another try is worthwhile.
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    /// The status of the response, for a client that speaks HTTP.
    pub(crate) fn status(self) -> u16 {
        if self.cause == Cause::Denied { 403 } else { 503 }
    }

    /// The sentence for the client.
    pub(crate) fn sentence(self) -> &'static str {
        match self.cause {
            Cause::Denied => "this address is not allowed to connect",
            Cause::PerSourceLimit => "too many connections from this address",
            Cause::Rate => "too many connections in a short time",
            Cause::Penalty => "too many bad requests",
            Cause::NoProcess => "the server cannot start another process",
            Cause::NotLoaded => "the application is not available",
            Cause::Undecided => "the server is not ready",
        }
    }
}

/// Why a child has refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestRefusal {
    /// By the access lists of its route.
    Denied,
    UnknownUser,
    WrongPassword,
    /// The user is not in `auth_require`.
    NotRequired,
    /// Too many passwords are being verified.
    Logins,
    /// See [`Cause::Undecided`].
    Undecided,
    /// It is no valid request.
    Invalid,
    /// It did not arrive in time.
    Late,
}

impl RequestRefusal {
    const ALL: [Self; 8] = [
        Self::Denied,
        Self::UnknownUser,
        Self::WrongPassword,
        Self::NotRequired,
        Self::Logins,
        Self::Undecided,
        Self::Invalid,
        Self::Late,
    ];

    /// Never 0, which stands for none.
    pub(crate) fn to_number(self) -> u64 {
        self as u64 + 1
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.to_number() == number)
    }

    /// The value of `LSBAWS_REASON`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::NotRequired => "auth_require",
            Self::Logins => "logins",
            Self::Undecided => "undecided",
            Self::Invalid => "invalid_request",
            Self::Late => "timeout",
        }
    }
}

/// Why a connection has no valid header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Missing,
    Malformed,
    TooLong,
    /// It did not arrive in time.
    Late,
    /// The client has disconnected before its end.
    Gone,
}

impl HeaderError {
    const ALL: [Self; 5] = [Self::Missing, Self::Malformed, Self::TooLong, Self::Late, Self::Gone];

    /// Never 0, which stands for none.
    pub(crate) fn to_number(self) -> u64 {
        self as u64 + 1
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.to_number() == number)
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no PROXY protocol header",
            Self::Malformed => "invalid PROXY protocol header",
            Self::TooLong => "PROXY protocol header too long",
            Self::Late => "PROXY protocol header not complete in time",
            Self::Gone => "PROXY protocol header not complete",
        })
    }
}
