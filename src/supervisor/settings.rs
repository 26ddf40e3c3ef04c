//! The settings of the supervisor: built by the configuration, and handed in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::access;
use crate::capacity::Warning;
use crate::child::supplies::ChildSettings;
use crate::journal;
use crate::listen::ListenTable;
use crate::service::Services;
use crate::source::{AccessList, Networks, Prefixes};

/// Everything that the supervisor runs by. A reload brings another one.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What to bind when no sockets are handed in; never empty.
    pub(crate) listen: Vec<ListenTable>,
    /// How long a peer may be out of reach until the kernel resets its connection.
    pub(crate) peer_timeout: Duration,
    pub(crate) children: ChildSettings,
    pub(crate) admission: AdmissionRules,
    pub(crate) process: Process,
    pub(crate) log: journal::LogSettings,
    /// Where processes of the administrator get the status.
    pub(crate) status_socket: Option<PathBuf>,
    /// Access lines, if they are written.
    pub(crate) access: Option<access::Settings>,
    /// Never empty.
    pub(crate) services: Services,
    /// What an administrator should know about these settings on this system.
    pub(crate) warnings: Vec<Warning>,
    /// What the command line names to serve: a folder. Then messages have URLs.
    pub(crate) subject: Option<String>,
    /// What follows the URLs in the message.
    pub(crate) note: Option<String>,
}

/// How a connection gets its process: `process.model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// The fork server of the service forks the child, and the supervisor reaps it.
    Fork,
    /// The fork server forks an intermediate that forks the child and exits: the child is adopted.
    DoubleFork,
    /// No child: the supervisor itself serves one connection after another.
    Iterative,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fork => "fork",
            Self::DoubleFork => "double-fork",
            Self::Iterative => "iterative",
        })
    }
}

/// How connections get their processes, and how the daemon stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) model: Model,
    /// Children at the same time; more connections wait in the backlog.
    pub(crate) max_connections: usize,
    /// Fork servers of each service.
    pub(crate) fork_servers: usize,
    /// Children of each fork server that are forked ahead of their connections; only with the model `fork`.
    pub(crate) spares: usize,
    /// How long connections are still accepted after the stop signal, while the checks of balancers fail.
    pub(crate) drain_lead: Duration,
    /// How long the children may finish then.
    pub(crate) drain_timeout: Duration,
    /// The same for those whose bytes still move; never less.
    pub(crate) drain_timeout_max: Duration,
    /// A daemon whose sockets were handed in exits after this long without a connection.
    pub(crate) idle_timeout: Option<Duration>,
    /// Whether services may run as root without being told so one by one.
    pub(crate) allow_root: bool,
}

/// Which connections get a process, and how many of one source.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdmissionRules {
    /// Connections of one source at the same time; 0 is no limit.
    pub(crate) max_connections_per_source: u32,
    /// Connections of one source in a second; 0 is no limit.
    pub(crate) max_rate_per_source: u32,
    pub(crate) prefixes: Prefixes,
    /// Peers exempt from the per-source limits.
    pub(crate) exempt: Networks,
    pub(crate) access: AccessList,
    /// Failed connections of one source that bring it a penalty; 0 is never.
    pub(crate) penalty_after: u32,
    /// The first penalty; each further one is twice as long, up to `penalty_time_max`.
    pub(crate) penalty_time: Duration,
    pub(crate) penalty_time_max: Duration,
}
