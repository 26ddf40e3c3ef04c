//! What a process asks of the daemon by its status socket. Each request is answered by a report, which shows its effect.

/// A request: one word, and the end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlRequest {
    Status,
    /// Announces a drain to balancers.
    Drain,
    /// Ends that.
    Undrain,
}

impl ControlRequest {
    const ALL: [Self; 3] = [Self::Status, Self::Drain, Self::Undrain];

    pub(crate) fn line(self) -> &'static str {
        match self {
            Self::Status => "status\n",
            Self::Drain => "drain\n",
            Self::Undrain => "undrain\n",
        }
    }

    /// `None`: it is none.
    pub(crate) fn from_line(line: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.line().as_bytes() == line)
    }
}
