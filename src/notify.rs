//! What systemd is told (sd_notify(3)): readiness, status, watchdog, stopping. Without `NOTIFY_SOCKET`
//! all of it does nothing.

use std::fmt;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The status line changes with every connection; systemd is told at most this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

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
    /// How often the watchdog is fed, if there is one: twice in its period (sd_watchdog_enabled(3)).
    watchdog_interval: Option<Duration>,
    next_watchdog: Instant,
    told: Option<Counts>,
    next_status: Instant,
}

impl Notifier {
    /// Reads `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_environment() -> Self {
        let now = Instant::now();
        let watchdog_interval = sd_notify::watchdog_enabled()
            .map(|period| period / 2)
            .filter(|&interval| interval >= Duration::from_millis(1)); // 0 is none
        Self { watchdog_interval, next_watchdog: now, told: None, next_status: now }
    }

    /// Every listener is armed.
    pub fn ready(&mut self, counts: Counts) {
        send(&[NotifyState::Ready, NotifyState::Status(&counts.to_string())]);
        self.told = Some(counts);
    }

    pub fn stopping(&mut self, counts: Counts) {
        send(&[NotifyState::Stopping, NotifyState::Status(&counts.to_string())]);
        self.told = Some(counts);
    }

    /// The configuration is being read anew (systemd.service(5), `notify-reload`); [`Self::ready`] ends that.
    pub fn reloading(&mut self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            send(&[NotifyState::Reloading, now]);
        }
    }

    /// The stop takes longer than the unit allows, for good reason: at least for that long again.
    pub fn extend_stop(&mut self, time: Duration) {
        send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
    }

    /// Switches the watchdog off: the parent of the model `iterative` serves connections itself, for
    /// longer than a watchdog may wait.
    pub fn disable_watchdog(&mut self) {
        if self.watchdog_interval.take().is_some() {
            send(&[NotifyState::WatchdogUsec(0)]);
        }
    }

    /// Feeds the watchdog and tells the status, if it is time for that; while draining also what the `oldest`
    /// connection does.
    pub fn tick(&mut self, now: Instant, counts: Counts, oldest: impl FnOnce() -> Option<String>) {
        if let Some(interval) = self.watchdog_interval
            && now >= self.next_watchdog
        {
            send(&[NotifyState::Watchdog]);
            self.next_watchdog = now + interval;
        }
        if now >= self.next_status && (self.told != Some(counts) || !counts.is_serving) {
            let oldest = if counts.is_serving { None } else { oldest() };
            let status =
                oldest.map_or(counts.to_string(), |oldest| format!("{counts}; the oldest: {oldest}"));
            send(&[NotifyState::Status(&status)]);
            self.told = Some(counts);
            self.next_status = now + STATUS_INTERVAL;
        }
    }

    /// When [`Notifier::tick`] has something to do.
    pub fn next_tick(&self, counts: Counts) -> Option<Instant> {
        let watchdog = self.watchdog_interval.map(|_| self.next_watchdog);
        let status = (self.told != Some(counts)).then_some(self.next_status);
        [watchdog, status].into_iter().flatten().min()
    }
}

/// A manager that does not listen is no reason to stop serving.
fn send(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
