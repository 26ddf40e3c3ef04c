//! The verdict of a child. Its exit code is an interface: the parent, the journal and an administrator's
//! scripts read it.

use std::fmt;

/// How a connection went, by the child's own judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Every request that came was answered.
    Served = 0,
    /// The client's fault: malformed, too slow, gone.
    Client = 1,
    /// The handler's fault: an application that failed.
    Handler = 2,
    /// Refused by policy.
    Refused = 3,
    /// A bug of lsbaws (`EX_SOFTWARE` of sysexits.h).
    Bug = 70,
    /// The system refused something: processes, memory, descriptors (`EX_OSERR`).
    System = 71,
    /// The configuration cannot work (`EX_CONFIG`).
    Config = 78,
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Served, Self::Client, Self::Handler, Self::Refused, Self::Bug, Self::System, Self::Config];

    pub fn code(self) -> u8 {
        self as u8
    }

    /// The outcome that an exit code stands for, if it is one of ours.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.code() == code)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Client => "client",
            Self::Handler => "handler",
            Self::Refused => "refused",
            Self::Bug => "bug",
            Self::System => "system",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_as_the_outcome_they_were() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        }
        assert_eq!(Outcome::from_code(42), None);
    }
}
