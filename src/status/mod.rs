//! What is going on: the report that the supervisor makes of itself, its services and its connections. It is JSON in a
//! sealed memory file, which its readers get by a descriptor: see the status socket in `supervisor`. What clients have
//! sent, such as the target of a request, is escaped as in records.

#![forbid(unsafe_code)]

pub(crate) mod control;
pub(crate) mod format;
pub(crate) mod health;
pub(crate) mod prometheus;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use health::{DrainCause, ServiceHealth};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Where the status socket is in the runtime directory.
pub(crate) const SOCKET_NAME: &str = "status.sock";
/// What comes with the descriptor.
pub(crate) const GREETING: &[u8] = b"lsbaws status\n";
/// Bytes of the largest report that is read: hundreds of connections with long targets.
const REPORT_MAX: u64 = 16 << 20;

/// The state of the daemon at one moment. Durations are in seconds, and times in seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    pub(crate) time: f64,
    pub(crate) daemon: DaemonStatus,
    pub(crate) connections: Places,
    pub(crate) rates: Rates,
    pub(crate) services: Vec<ServiceStatus>,
    pub(crate) listeners: Vec<ListenerStatus>,
    /// Limits of the configuration and of the system.
    pub(crate) limits: Vec<LimitStatus>,
    /// Sources with the most connections, and penalized ones.
    pub(crate) sources: Vec<SourceStatus>,
    /// The oldest connections, the oldest first.
    pub(crate) oldest: Vec<ConnectionStatus>,
    /// Connections that are not in `oldest`.
    pub(crate) omitted: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DaemonStatus {
    /// The name of the host.
    pub(crate) host: String,
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// `serving`, `draining` or `stopping`.
    pub(crate) state: String,
    /// Why checks of balancers fail, if they do.
    pub(crate) drain: Option<DrainCause>,
    pub(crate) model: String,
    pub(crate) started: f64,
    pub(crate) uptime: f64,
    pub(crate) reloads: u64,
    pub(crate) failed_reloads: u64,
    /// Processes that programs had left behind.
    pub(crate) orphans_reaped: u64,
    pub(crate) penalized_sources: usize,
}

/// Connections that have a process, and those that wait for one in the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Places {
    pub(crate) now: usize,
    pub(crate) max: usize,
    pub(crate) spares: usize,
}

/// What has happened in each second, on average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates {
    pub(crate) last_10s: Rate,
    pub(crate) last_60s: Rate,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Connections accepted, refused ones included.
    pub(crate) accepted: f64,
    pub(crate) refused: f64,
    pub(crate) requests: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceStatus {
    pub(crate) name: String,
    /// `http`, `exec` or `agent-check`; empty for a service that a reload has removed.
    pub(crate) protocol: String,
    pub(crate) now: usize,
    /// Its own limit, if it has one.
    pub(crate) max: Option<usize>,
    pub(crate) spares: usize,
    #[serde(flatten)]
    pub(crate) health: ServiceHealth,
    /// Connections now, by phase: every phase is here.
    pub(crate) phases: BTreeMap<String, usize>,
    /// Connections since the start of the daemon.
    pub(crate) accepted: u64,
    /// By outcome: every outcome is here.
    pub(crate) ended: BTreeMap<String, u64>,
    /// By reason: every reason is here.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Processor time of the children that have ended.
    pub(crate) cpu: f64,
    pub(crate) durations: Histogram,
}

impl ServiceStatus {
    pub(crate) fn count_ended(&self) -> u64 {
        self.ended.values().sum()
    }

    /// Connections with an outcome that is neither good nor the fault of the client.
    pub(crate) fn count_failed(&self) -> u64 {
        let is_failure = |word: &str| !["served", "client-error", "refused"].contains(&word);
        self.ended.iter().filter(|(word, _)| is_failure(word)).map(|(_, count)| count).sum()
    }

    pub(crate) fn count_refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// How long the connections lasted that have ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// For each bound how many lasted at most that long.
    pub(crate) buckets: Vec<(f64, u64)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ListenerStatus {
    pub(crate) address: String,
    pub(crate) service: String,
    /// Connections in the backlog; of a Unix socket at most 1 is counted.
    pub(crate) waiting: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LimitStatus {
    pub(crate) name: String,
    /// `connections`, `processes`, `bytes` or `descriptors`.
    pub(crate) unit: String,
    pub(crate) used: u64,
    pub(crate) max: u64,
    /// What raises it.
    pub(crate) raise: String,
}

impl LimitStatus {
    /// `full`, or `near` if four fifths are used.
    pub(crate) fn mark(&self) -> Option<&'static str> {
        let is_near = u128::from(self.used) * 5 >= u128::from(self.max) * 4;
        if self.used >= self.max { Some("full") } else { is_near.then_some("near") }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceStatus {
    pub(crate) source: String,
    pub(crate) now: usize,
    /// For how long it is still penalized.
    pub(crate) penalized: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionStatus {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) peer: String,
    /// The client that a trusted proxy has named.
    pub(crate) client: Option<String>,
    /// None: its process has not started.
    pub(crate) pid: Option<i32>,
    pub(crate) phase: String,
    pub(crate) age: f64,
    pub(crate) requests: u64,
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl ConnectionStatus {
    /// The client that a trusted proxy has named, or the peer.
    pub(crate) fn client(&self) -> &str {
        self.client.as_ref().unwrap_or(&self.peer)
    }
}

impl StatusReport {
    /// Writes it to a memory file that nothing can change.
    ///
    /// # Errors
    /// Those of memfd_create(2) and write(2).
    pub(crate) fn write(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(sys::create_memory_file(c"lsbaws-status")?);
        file.write_all(&serde_json::to_vec(self)?)?;
        sys::seal(file.as_fd())?;
        Ok(file.into())
    }

    /// # Errors
    /// Those of pread(2); `InvalidData` for what is no report.
    pub(crate) fn read(file: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(serde_json::from_slice(&read_text(file)?)?)
    }
}

/// The JSON of a report. Its readers share the offset of the file, which is not used.
///
/// # Errors
/// Those of pread(2); `InvalidData` for a file that is too large.
pub(crate) fn read_text(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let file = File::from(file.try_clone_to_owned()?);
    let size = file.metadata()?.len();
    if size > REPORT_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut text, 0)?;
    Ok(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_written_and_cannot_be_changed() {
        let report = example();
        let file = report.write().unwrap();
        for _ in 0..2 {
            assert_eq!(StatusReport::read(file.as_fd()).unwrap(), report, "readers share no offset");
        }
        let file = File::from(file);
        let error = file.write_at(b"x", 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    /// A report in which everything is hostile that can be.
    pub(crate) fn example() -> StatusReport {
        let hostile = "<script>\x1b[2J\n\"&'".to_owned();
        let rate = || Rate { accepted: 1.5, ..Rate::default() };
        let connection = ConnectionStatus {
            id: "1-2".into(),
            service: "web".into(),
            peer: "192.0.2.7:1234".into(),
            client: None,
            pid: Some(77),
            phase: "handling".into(),
            age: 61.5,
            requests: 3,
            method: Some("GET".into()),
            target: Some(hostile.clone()),
            status: Some(200),
            bytes_in: 100,
            bytes_out: 2048,
        };
        StatusReport {
            time: 1_800_000_000.0,
            daemon: DaemonStatus {
                host: hostile.clone(),
                version: "1.2.3".into(),
                pid: 1,
                state: "serving".into(),
                drain: None,
                model: "fork".into(),
                started: 1_799_996_400.0,
                uptime: 3600.0,
                reloads: 2,
                failed_reloads: 1,
                orphans_reaped: 4,
                penalized_sources: 1,
            },
            connections: Places { now: 1, max: 512, spares: 3 },
            rates: Rates { last_10s: rate(), last_60s: rate() },
            services: vec![ServiceStatus {
                name: "web".into(),
                protocol: "http".into(),
                now: 1,
                max: Some(10),
                spares: 3,
                health: ServiceHealth { busy: 1, available: 9, has_failed: false, is_internal: false },
                phases: [("handling".to_owned(), 1), ("idle".to_owned(), 0)].into(),
                accepted: 9,
                ended: [("served".to_owned(), 6), ("killed".to_owned(), 1)].into(),
                refused: [("denied".to_owned(), 1)].into(),
                requests: 20,
                bytes_in: 3000,
                bytes_out: 4000,
                cpu: 0.25,
                durations: Histogram { count: 7, sum: 1.5, buckets: vec![(0.001, 5), (1.0, 7)] },
            }],
            listeners: vec![ListenerStatus { address: "[::]:80".into(), service: "web".into(), waiting: 2 }],
            limits: vec![LimitStatus {
                name: "pids.max of /a.service".into(),
                unit: "processes".into(),
                used: 80,
                max: 100,
                raise: "TasksMax=".into(),
            }],
            sources: vec![SourceStatus { source: "192.0.2.7".into(), now: 1, penalized: Some(8.5) }],
            oldest: vec![connection],
            omitted: 5,
        }
    }
}
