//! What systemd is told (sd_notify(3)): readiness, status, watchdog, stopping. Without `NOTIFY_SOCKET`
//! all of it does nothing.

#![forbid(unsafe_code)]

use std::env;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The status line changes with every connection; systemd is told at most this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Wait before what the service manager has not taken is sent again.
const RETRY: Duration = Duration::from_millis(100);

/// What the status line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub listeners: usize,
    /// Connections that have a process now.
    pub connections: usize,
    /// Connections that have ended since the start.
    pub ended: u64,
    pub is_serving: bool,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, connections, ended, .. } = self;
        match self.is_serving {
            true => {
                write!(f, "Serving: listeners {listeners}, connections {connections}, ended {ended}")
            }
            false => write!(f, "Draining: connections left {connections}, ended {ended}"),
        }
    }
}

/// The service manager's view of this daemon.
#[derive(Debug)]
pub struct Notifier {
    manager: Option<Manager>,
    /// What the manager must know and has not taken yet.
    owed: Vec<NotifyState<'static>>,
    next_retry: Instant,
    /// How often the watchdog is fed, if there is one: twice in its period (sd_watchdog_enabled(3)).
    watchdog_interval: Option<Duration>,
    next_watchdog: Instant,
    told: Option<Counts>,
    next_status: Instant,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_environment() -> Self {
        let now = Instant::now();
        let watchdog_interval = sd_notify::watchdog_enabled()
            .map(|period| period / 2)
            .filter(|&interval| interval >= Duration::from_millis(1)); // 0 is none
        Self {
            manager: Manager::from_environment(),
            owed: Vec::new(),
            next_retry: now,
            watchdog_interval,
            next_watchdog: now,
            told: None,
            next_status: now,
        }
    }

    /// Every listener is armed.
    pub fn ready(&mut self, counts: Counts) {
        // Once is enough, however often it was reloaded.
        self.owed.retain(|state| !matches!(state, NotifyState::Ready));
        self.insist(NotifyState::Ready, counts);
    }

    pub fn stopping(&mut self, counts: Counts) {
        self.insist(NotifyState::Stopping, counts);
    }

    /// The configuration is being read anew (systemd.service(5), `notify-reload`); [`Self::ready`] ends that.
    pub fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(&[NotifyState::Reloading, now]);
        }
    }

    /// The stop takes longer than the unit allows, for good reason: at least for that long again.
    pub fn extend_stop(&self, time: Duration) {
        self.send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
    }

    /// Switches the watchdog off: the parent of the model `iterative` serves connections itself, for
    /// longer than a watchdog may wait.
    pub fn disable_watchdog(&mut self) {
        if self.watchdog_interval.take().is_some() {
            self.owed.push(NotifyState::WatchdogUsec(0)); // goes with what is told first
        }
    }

    /// Feeds the watchdog, tells the status (while draining also what the `oldest` connection does) and what is
    /// owed, if it is time for that. Of what the manager does not take, the status is soon an old one; the rest
    /// is tried again.
    pub fn tick(&mut self, now: Instant, counts: Counts, oldest: impl FnOnce() -> Option<String>) {
        if !self.owed.is_empty() && now >= self.next_retry {
            self.tell_owed(now, counts);
        }
        if let Some(interval) = self.watchdog_interval
            && now >= self.next_watchdog
        {
            let is_taken = self.send(&[NotifyState::Watchdog]);
            self.next_watchdog = now + if is_taken { interval } else { interval.min(RETRY) };
        }
        if now >= self.next_status && (self.told != Some(counts) || !counts.is_serving) {
            let oldest = if counts.is_serving { None } else { oldest() };
            let status = oldest.map_or(counts.to_string(), |oldest| format!("{counts}; oldest: {oldest}"));
            if self.send(&[NotifyState::Status(&status)]) {
                self.told = Some(counts);
            }
            self.next_status = now + STATUS_INTERVAL;
        }
    }

    /// When [`Notifier::tick`] has something to do.
    pub fn next_tick(&self, counts: Counts) -> Option<Instant> {
        let owed = (!self.owed.is_empty()).then_some(self.next_retry);
        let watchdog = self.watchdog_interval.map(|_| self.next_watchdog);
        let status = (self.told != Some(counts)).then_some(self.next_status);
        [owed, watchdog, status].into_iter().flatten().min()
    }

    fn insist(&mut self, state: NotifyState<'static>, counts: Counts) {
        self.owed.push(state);
        self.tell_owed(Instant::now(), counts);
    }

    /// Sends all that is owed, in one message with the status.
    fn tell_owed(&mut self, now: Instant, counts: Counts) {
        let status = counts.to_string();
        let mut states: Vec<NotifyState<'_>> = self.owed.clone();
        states.push(NotifyState::Status(&status));
        if self.send(&states) {
            self.owed.clear();
            self.told = Some(counts);
        } else {
            self.next_retry = now + RETRY;
        }
    }

    /// False: the manager has not taken it yet. Where there is none, or none any more, it never will.
    fn send(&self, states: &[NotifyState<'_>]) -> bool {
        let result = self.manager.as_ref().map(|manager| manager.send(states));
        let errno = result.and_then(|result| result.err()?.raw_os_error());
        !matches!(errno, Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
    }
}

/// Where the service manager listens. The socket of the sd-notify crate would wait for a manager that does
/// not.
#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// None: nobody wants to be told, or nobody can be.
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
