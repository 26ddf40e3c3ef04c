//! Notifications to the service manager (sd_notify(3)): readiness, status, watchdog, stopping. Without
//! `NOTIFY_SOCKET` they do nothing.

#![forbid(unsafe_code)]

use std::env;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The status line changes with every connection; it is sent at most this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before a message that the service manager did not take is sent again.
const RETRY: Duration = Duration::from_millis(100);

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    /// It serves, and checks of balancers fail.
    Announcing,
    /// It accepts no new connections, and is about to exit.
    Draining,
}

/// What the status line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) listeners: usize,
    /// Connections that have a process now.
    pub(crate) connections: usize,
    /// Connections that have ended since the start.
    pub(crate) ended: u64,
    pub(crate) stage: Stage,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, connections, ended, .. } = self;
        match self.stage {
            Stage::Serving => {
                write!(f, "Serving: listeners {listeners}, connections {connections}, ended {ended}")
            }
            Stage::Announcing => {
                let served = format_args!("connections {connections}, ended {ended}");
                write!(f, "Draining, still serving: listeners {listeners}, {served}")
            }
            Stage::Draining => write!(f, "Draining: connections left {connections}, ended {ended}"),
        }
    }
}

/// The service manager's view of this daemon.
#[derive(Debug)]
pub(crate) struct Notifier {
    manager: Option<Manager>,
    /// What the manager must know and has not taken yet.
    pending: Vec<NotifyState<'static>>,
    next_retry: Instant,
    /// How often the watchdog is fed, if one is set: twice in its period (sd_watchdog_enabled(3)).
    watchdog_interval: Option<Duration>,
    next_watchdog: Instant,
    sent: Option<Counts>,
    next_status: Instant,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_environment() -> Self {
        let now = Instant::now();
        let watchdog_interval = sd_notify::watchdog_enabled()
            .map(|period| period / 2)
            .filter(|&interval| interval >= Duration::from_millis(1)); // 0 is none
        Self {
            manager: Manager::from_environment(),
            pending: Vec::new(),
            next_retry: now,
            watchdog_interval,
            next_watchdog: now,
            sent: None,
            next_status: now,
        }
    }

    /// Every listener is armed.
    pub(crate) fn ready(&mut self, counts: Counts) {
        // Once is enough, also after several reloads.
        self.pending.retain(|state| !matches!(state, NotifyState::Ready));
        self.require(NotifyState::Ready, counts);
    }

    pub(crate) fn stopping(&mut self, counts: Counts) {
        self.require(NotifyState::Stopping, counts);
    }

    /// The configuration is being reloaded (systemd.service(5), `notify-reload`); [`Self::ready`] ends that.
    pub(crate) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(&[NotifyState::Reloading, now]);
        }
    }

    /// Asks for more time to start or to stop than the unit allows: at least `time` from now.
    pub(crate) fn extend_timeout(&self, time: Duration) {
        self.send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
    }

    /// Switches the watchdog off: the supervisor of the model `iterative` serves connections itself, for longer than
    /// a watchdog may wait.
    pub(crate) fn disable_watchdog(&mut self) {
        if self.watchdog_interval.take().is_some() {
            self.pending.push(NotifyState::WatchdogUsec(0)); // goes with the first message
        }
    }

    /// Feeds the watchdog, and sends the status (while draining with the `oldest` connection) and what is pending, if
    /// it is time for that. A status that the manager does not take is soon outdated; the rest is sent again.
    pub(crate) fn tick(&mut self, now: Instant, counts: Counts, oldest: impl FnOnce() -> Option<String>) {
        if !self.pending.is_empty() && now >= self.next_retry {
            self.send_pending(now, counts);
        }
        if let Some(interval) = self.watchdog_interval
            && now >= self.next_watchdog
        {
            let is_taken = self.send(&[NotifyState::Watchdog]);
            self.next_watchdog = now + if is_taken { interval } else { interval.min(RETRY) };
        }
        if now >= self.next_status && (self.sent != Some(counts) || counts.stage == Stage::Draining) {
            let oldest = if counts.stage == Stage::Draining { oldest() } else { None };
            let status = oldest.map_or(counts.to_string(), |oldest| format!("{counts}; oldest: {oldest}"));
            if self.send(&[NotifyState::Status(&status)]) {
                self.sent = Some(counts);
            }
            self.next_status = now + STATUS_INTERVAL;
        }
    }

    /// When [`Notifier::tick`] has something to do.
    pub(crate) fn next_tick(&self, counts: Counts) -> Option<Instant> {
        let pending = (!self.pending.is_empty()).then_some(self.next_retry);
        let watchdog = self.watchdog_interval.map(|_| self.next_watchdog);
        let status = (self.sent != Some(counts)).then_some(self.next_status);
        [pending, watchdog, status].into_iter().flatten().min()
    }

    fn require(&mut self, state: NotifyState<'static>, counts: Counts) {
        self.pending.push(state);
        self.send_pending(Instant::now(), counts);
    }

    /// Sends all that is pending, in one message with the status.
    fn send_pending(&mut self, now: Instant, counts: Counts) {
        let status = counts.to_string();
        let mut states: Vec<NotifyState<'_>> = self.pending.clone();
        states.push(NotifyState::Status(&status));
        if self.send(&states) {
            self.pending.clear();
            self.sent = Some(counts);
        } else {
            self.next_retry = now + RETRY;
        }
    }

    /// False: the manager has not taken it yet. True also where no manager listens: it never will.
    fn send(&self, states: &[NotifyState<'_>]) -> bool {
        let result = self.manager.as_ref().map(|manager| manager.send(states));
        let errno = result.and_then(|result| result.err()?.raw_os_error());
        !matches!(errno, Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
    }
}

/// The service manager's socket. The sd-notify crate renders the messages; its own socket blocks when the manager
/// does not read.
#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// `None` when no manager listens.
    fn from_environment() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        let (address, socket) = (address.ok()?, UnixDatagram::unbound().ok()?);
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, address })
    }

    fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.socket.send_to_addr(message.as_bytes(), &self.address).map(drop)
    }
}
