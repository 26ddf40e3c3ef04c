//! The supervisor: one thread, one poll set. It accepts, admits, hands over, reaps and records; it forks no child and reads
//! no byte from the network, and waits for nothing but poll(2). (In the model `iterative`, and for a single connection that
//! was handed in, the supervisor is its own child.)

#![forbid(unsafe_code)]

mod access_log;
mod access_writer;
mod admission;
mod backpressure;
mod child;
mod children;
mod clients;
mod connections;
mod drain;
mod error;
mod events;
mod failures;
mod fork_server;
mod fork_servers;
mod handover;
mod health;
mod lifecycle;
mod line_budget;
mod lines;
mod listeners;
mod messages;
mod orphans;
mod outputs;
mod reap;
mod refusal;
mod reload;
mod renewal;
mod replacement;
mod report;
mod reports;
mod reserves;
mod room;
pub(crate) mod settings;
mod shedding;
mod single;
mod sources;
mod spare;
mod start;
mod statistics;
mod status;
mod status_socket;
mod tokens;
mod unreported;
mod unserved;
mod uplinks;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::journal;
use crate::notify::{Counts, Notifier};
use crate::sys;
use connections::Connections;
pub(crate) use error::Error;
use lifecycle::Lifecycle;
use listeners::Listeners;
use reload::Reloading;
use report::Reporter;
use settings::Settings;
pub(crate) use start::{hold_reopen_signal, run};
use status_socket::StatusSocket;

/// Connections accepted from one listener before the others, and children that have exited, get their turn.
const ACCEPT_BATCH: usize = 64;
/// How much more time a drain requests from systemd, once a second, while bytes still move; and a start.
const EXTENSION: Duration = Duration::from_secs(10);

/// Loads the settings again. The argument: connections that are served already. The error is a sentence.
pub(crate) type Reload = Box<dyn FnMut(usize) -> Result<Settings, String>>;

struct Supervisor {
    listeners: Listeners,
    connections: Connections,
    signals: SignalFd,
    lifecycle: Lifecycle,
    notifier: Notifier,
    /// What is in effect.
    settings: Settings,
    load_settings: Reload,
    /// systemd holds the listeners as well, and starts the daemon again for the next connection.
    is_inherited: bool,
    reload_requested: bool,
    reloading: Option<Reloading>,
    /// Reloads that were applied, and that failed.
    reloads: (u64, u64),
    reporter: Reporter,
    status_socket: Option<StatusSocket>,
    started: Instant,
    /// When a connection was last seen.
    idle_since: Instant,
    /// When to look whether connections wait because a limit is reached.
    next_look: Option<Instant>,
}

/// What one wait has found.
struct Ready {
    signals: bool,
    /// Processes have exited, or fork servers have reported.
    events: bool,
    /// A process wants the status.
    callers: bool,
    /// Indices of the listeners that have connections.
    listeners: Vec<usize>,
}

impl Supervisor {
    /// Takes over the signals of this process and prepares for children.
    fn new(
        listeners: Listeners,
        connections: Connections,
        settings: Settings,
        load_settings: Reload,
        is_inherited: bool,
        mut notifier: Notifier,
    ) -> Result<Self, Error> {
        let signals = take_signals().map_err(Error::system("take over signals"))?;
        if !connections.can_accept_batch() {
            notifier.disable_watchdog();
        }
        let now = Instant::now();
        Ok(Self {
            listeners,
            connections,
            signals,
            lifecycle: Lifecycle::Serving,
            notifier,
            settings,
            load_settings,
            is_inherited,
            reload_requested: false,
            reloading: None,
            reloads: (0, 0),
            reporter: Reporter::new(now),
            status_socket: None,
            started: now,
            idle_since: now,
            next_look: None,
        })
    }

    /// Serves until the daemon has stopped. The steps of a round have their order for a reason each.
    fn run(&mut self) -> Result<(), Error> {
        match &self.settings.subject {
            Some(subject) => {
                let note = self.settings.note.as_deref();
                journal::log_serving(subject, &self.listeners.list_urls(), note);
            }
            None => journal::log_ready(&self.listeners.describe()),
        }
        self.open_status_socket(Instant::now());
        self.notifier.ready(self.counts());
        loop {
            let ready = self.wait().map_err(Error::system("wait for events"))?;
            let now = Instant::now();
            self.connections.launcher.reports.is_health_current = false;
            // Signals first: a stop may end the accepting. Then the children that have exited: each frees the slot
            // that a later step may need.
            if ready.signals {
                self.handle_signal(now)?;
            }
            if self.lifecycle.is_drain_due(now) {
                self.drain(now);
            }
            let has_reaped = ready.events && self.connections.handle_events(now);
            // Then what is due, so that nothing below acts on a pause or a deadline that is over.
            self.connections.refresh(now, has_reaped);
            // The connection that waits for a process was accepted before those in the backlogs.
            match self.lifecycle.is_accepting() {
                true => self.connections.retry_waiting(now, has_reaped),
                false => self.connections.refuse_waiting(now),
            }
            if self.lifecycle.is_serving() {
                self.accept_from(ready.listeners);
                self.shed(now);
                self.stop_when_idle(now);
                // After accepting: what the wait has found are indices of the listeners as they were.
                if self.lifecycle.is_staying() {
                    self.advance_reload();
                }
            }
            // After a stop or a reload in this very round.
            self.drain_listeners();
            if self.lifecycle.advance(&mut self.connections, now) {
                self.notifier.extend_timeout(EXTENSION);
            }
            if self.is_over() {
                self.connections.end_outputs();
                self.connections.close_access_log();
                journal::log_stopped(self.connections.count_ended());
                return Ok(());
            }
            if ready.callers || self.status_socket.as_ref().is_some_and(|socket| socket.is_late(now)) {
                self.answer_callers(now);
            }
            // Last, since all report what the round has done.
            self.connections.flush_access_log(now);
            journal::flush(now);
            self.report_status(now);
        }
    }

    /// Waits for a signal, a connection or the next deadline.
    fn wait(&self) -> nix::Result<Ready> {
        let now = Instant::now();
        let mut fds = Vec::with_capacity(3 + self.listeners.count());
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(self.connections.events(), PollFlags::POLLIN));
        let mut polled = Vec::new();
        for (index, entry) in self.listeners.iter().enumerate() {
            // The others queue in the kernel's backlog.
            if self.can_accept_from(index, now) {
                fds.push(PollFd::new(entry.listener().as_fd(), PollFlags::POLLIN));
                polled.push(index);
            }
        }
        // Last: the indices of the listeners stay.
        let callers_start = fds.len();
        let sockets = self.status_socket.iter().flat_map(|socket| socket.polled(now));
        fds.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
        let callers_end = fds.len();
        let journal = journal::writable();
        if let Some(socket) = &journal {
            fds.push(PollFd::new(socket.as_fd(), PollFlags::POLLOUT));
        }
        let timeout = self.next_event(now).map_or(PollTimeout::NONE, |at| sys::poll_timeout(at, now));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let listeners = polled.into_iter().zip(&fds[2..]).filter(|(_, fd)| is_ready(fd));
        let listeners = listeners.map(|(index, _)| index).collect();
        let callers = fds[callers_start..callers_end].iter().any(is_ready);
        Ok(Ready { signals: is_ready(&fds[0]), events: is_ready(&fds[1]), callers, listeners })
    }

    /// The nearest deadline.
    fn next_event(&self, now: Instant) -> Option<Instant> {
        let events = [
            self.notifier.next_tick(self.counts()),
            self.connections.next_event(),
            self.listeners.next_event(now),
            self.lifecycle.next_event(),
            self.idle_end(),
            self.next_look.filter(|_| self.lifecycle.is_serving()),
            self.status_socket.as_ref().and_then(|socket| socket.next_event(now)),
            journal::next_event(),
        ];
        events.into_iter().flatten().min()
    }

    /// Acts on one signal.
    fn handle_signal(&mut self, now: Instant) -> Result<(), Error> {
        let Some(info) = self.signals.read_signal().map_err(Error::system("read a signal"))? else {
            return Ok(());
        };
        match i32::try_from(info.ssi_signo).map(Signal::try_from) {
            Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => self.stop(now),
            Ok(Ok(Signal::SIGHUP)) if self.lifecycle.is_staying() => self.reload_requested = true,
            Ok(Ok(Signal::SIGHUP)) => journal::log_warning("reload ignored: the daemon is stopping"),
            Ok(Ok(Signal::SIGUSR2)) => self.connections.reopen_access_log(now),
            Ok(Ok(Signal::SIGUSR1)) => {
                self.connections.handle_events(now); // what is known by now
                let verb = self.lifecycle.word();
                status::log_status(verb, self.started, &self.listeners, &self.connections, now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Accepts from the listeners that have connections.
    fn accept_from(&mut self, ready: Vec<usize>) {
        for index in self.listeners.take_turns(ready) {
            self.accept_batch(index);
        }
    }

    /// Accepts a batch of connections from one listener. True: its backlog is empty.
    fn accept_batch(&mut self, index: usize) -> bool {
        let batch = if self.connections.can_accept_batch() { ACCEPT_BATCH } else { 1 };
        for _ in 0..batch {
            if !self.can_accept_from(index, Instant::now()) {
                return false;
            }
            let entry = self.listeners.get(index);
            match entry.listener().accept() {
                Ok(Some(connection)) => {
                    let service = Arc::clone(entry.service());
                    self.prepare_report(&service, connection.identity.accepted_at);
                    self.connections.admit(connection, &service);
                }
                Ok(None) => return true,
                Err(error) => {
                    let name = Arc::clone(&entry.listener().name);
                    let until = self.connections.pause_accepting(&name, &error, Instant::now());
                    self.listeners.get_mut(index).pause(until);
                }
            }
        }
        false
    }

    fn can_accept_from(&self, index: usize, now: Instant) -> bool {
        let entry = self.listeners.get(index);
        self.lifecycle.is_accepting()
            && self.connections.has_room()
            && !entry.is_paused(now)
            && self.connections.has_room_for(entry.service())
    }

    /// Serves the backlogs of the listeners that are given up, and closes those that are empty.
    fn drain_listeners(&mut self) {
        if !self.lifecycle.is_accepting() {
            self.listeners.clear();
        }
        for index in self.listeners.list_retiring() {
            if self.accept_batch(index) {
                self.listeners.remove(index);
            }
        }
        if !self.lifecycle.is_serving() && self.listeners.count() == 0 && !self.connections.has_waiting() {
            self.connections.retire_fork_servers();
        }
    }

    /// Feeds the watchdog and shows the number of connections; while draining also the oldest one.
    fn report_status(&mut self, now: Instant) {
        let children = self.connections.children();
        self.notifier.tick(now, self.counts(), || status::describe_oldest(children, now));
    }

    fn counts(&self) -> Counts {
        Counts {
            listeners: self.listeners.count(),
            connections: self.connections.children().count(),
            ended: self.connections.count_ended(),
            stage: self.lifecycle.stage(),
        }
    }
}

/// Signals become readable instead of interrupting: none is lost between two system calls.
fn take_signals() -> nix::Result<SignalFd> {
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
    let mask: SigSet = signals.into_iter().collect();
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}
