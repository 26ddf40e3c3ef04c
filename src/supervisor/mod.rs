//! The parent: one thread, one poll set. It accepts, counts, forks, reaps and records; it reads no byte
//! from the network, and waits for nothing but poll(2). (In the model `iterative`, and for a connection that
//! was handed in, the parent is its own child.)

#![forbid(unsafe_code)]

mod accept;
mod admission;
mod children;
mod ending;
mod lifecycle;
mod orphans;
mod refusals;
mod reload;
pub mod settings;
mod sources;
mod spares;
mod status;
mod verdicts;

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::child;
use crate::connection::Connection;
use crate::journal;
use crate::listen::{self, ListenTable, activation::Activation};
use crate::notify::{Counts, Notifier};
use crate::outcome::Outcome;
use crate::service::{Protocol, Service, find_service};
use crate::sys;
use accept::Entry;
use admission::Admission;
use children::Children;
use lifecycle::Life;
use settings::{Model, Process, Settings};

/// Connections accepted from one listener before the others, and ended children, get their turn.
const ACCEPT_BATCH: usize = 64;
/// What a drain asks of systemd again and again, once a second, while bytes still move.
const EXTENSION: Duration = Duration::from_secs(10);

/// Why the daemon could not start, or had to give up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] listen::Error),
    #[error("{0}")]
    NoService(String),
    #[error("unable to {action}: {source}")]
    System { action: &'static str, source: io::Error },
}

impl Error {
    /// What fits `map_err`: says what was tried.
    fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }
}

/// Reads the configuration again. The argument: connections that are served already.
pub type Reload = Box<dyn FnMut(usize) -> Result<Settings, String>>;

/// Serves what `activation` holds until told to stop. A single connection is served in this process. `reload_settings`
/// is what SIGHUP asks for.
pub fn run(settings: Settings, activation: Activation, reload_settings: Reload) -> Result<Outcome, Error> {
    // A parent process that ignores SIGCHLD would have left us without any child's status, and Rust's
    // handlers for a stack overflow would swallow a SIGSEGV that somebody sends.
    sys::reset_signals();
    let find = |name: &str| find_service(&settings.services, name).map_err(Error::NoService);
    let mut children = Children::new(settings.http, settings.process, settings.admission.clone())
        .map_err(Error::system("map the scoreboard"))?;
    let is_inherited = matches!(activation, Activation::Listeners(_));
    let bound = match activation {
        Activation::Connection { connection, .. } => {
            let service = find(&connection.identity.listener)?;
            return Ok(serve_single(&mut children, connection, &service));
        }
        Activation::Listeners(listeners) => listeners,
        Activation::None => listen::bind::bind_listeners(&settings.listen)?,
    };
    let mut listeners = Vec::new();
    for listener in bound {
        let service = find(&listener.name)?;
        listeners.push(Entry::new(listener, service));
    }
    sys::require_close_range().map_err(Error::system("use close_range(2), which Linux has since 5.9"))?;
    let mut supervisor = Supervisor {
        signals: take_signals().map_err(Error::system("take over signals"))?,
        admission: Admission::new(settings.admission.prefixes),
        life: Life::Serving,
        notifier: Notifier::from_environment(),
        process: settings.process,
        log: settings.log,
        listen: settings.listen,
        is_inherited,
        idle_since: Instant::now(),
        started: Instant::now(),
        reload_settings,
        shall_reload: false,
        batch: if settings.process.model == Model::Iterative { 1 } else { ACCEPT_BATCH },
        round: 0,
        children,
        listeners,
    };
    // Children of a double fork come to us, and what programs leave behind.
    prctl::set_child_subreaper(true).map_err(Error::system("become a subreaper"))?;
    if settings.process.model == Model::Iterative {
        supervisor.notifier.disable_watchdog();
    }
    for warning in &settings.warnings {
        journal::log_wall_ahead(warning);
    }
    supervisor.children.open_drain().map_err(Error::system("make a pair of sockets"))?;
    supervisor.apply_bindings();
    supervisor.run()?;
    Ok(Outcome::Served)
}

/// Serves a connection that was handed in: this process is its parent and its child. (A program gets one of its own, and
/// its limits there.)
fn serve_single(children: &mut Children, connection: Connection, service: &Arc<Service>) -> Outcome {
    let now = connection.identity.accepted_at;
    if let Err(reason) = children.admit(&connection.identity.peer, service, now) {
        let mut admission = Admission::new(children.rules.prefixes);
        admission.refuse(connection, service, &reason, now);
        admission.wait_for_refusals();
        return Outcome::Refused;
    }
    if let Protocol::Http(_) = service.protocol
        && let Err(outcome) = child::limit(&connection, service)
    {
        return outcome;
    }
    children.serve_here(connection, service).unwrap_or(Outcome::SystemError)
}

/// Signals become readable instead of interrupting: nothing is ever lost between two system calls.
fn take_signals() -> nix::Result<SignalFd> {
    let mask: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1]
        .into_iter()
        .collect();
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

struct Supervisor {
    listeners: Vec<Entry>,
    signals: SignalFd,
    children: Children,
    admission: Admission,
    life: Life,
    notifier: Notifier,
    process: Process,
    /// What a reload does not change.
    log: journal::Settings,
    listen: Vec<ListenTable>,
    /// systemd holds the listeners as well, and starts us again when somebody comes.
    is_inherited: bool,
    /// When a connection was last seen.
    idle_since: Instant,
    started: Instant,
    reload_settings: Reload,
    shall_reload: bool,
    /// Connections that one listener may take before the others have their turn.
    batch: usize,
    round: usize,
}

/// What one wait has found.
struct Ready {
    signals: bool,
    /// Indices of the listeners at which somebody waits.
    listeners: Vec<usize>,
}

impl Supervisor {
    fn run(&mut self) -> Result<(), Error> {
        let addresses: Vec<_> = self.listeners.iter().map(Entry::describe).collect();
        journal::log_ready(&addresses.join(", "));
        self.children.refill_spares(Instant::now());
        self.notifier.ready(self.counts());
        loop {
            let ready = self.wait().map_err(Error::system("wait for events"))?;
            let now = Instant::now();
            let reaped = ready.signals && self.handle_signal(now)?;
            self.admission.refresh(now, reaped);
            self.children.orphans.refresh(now);
            self.children.end_due(now);
            if self.life.is_accepting()
                && let Some((connection, service)) = self.admission.take_waiting(now, reaped)
            {
                self.serve(connection, &service);
            }
            if self.life.is_serving() {
                self.accept_from(ready.listeners);
                self.children.refill_spares(now);
                self.end_idleness(now);
                if mem::take(&mut self.shall_reload) {
                    self.reload();
                }
            }
            self.drain_listeners();
            if self.life.advance(&mut self.children, now) {
                self.notifier.extend_stop(EXTENSION);
            }
            if self.is_over() {
                self.admission.close(now);
                journal::log_stopped(self.counts().ended);
                return Ok(());
            }
            journal::refresh(now);
            self.tell_status(now);
        }
    }

    /// Waits for a signal, a connection or the next deadline, whichever comes first.
    fn wait(&self) -> nix::Result<Ready> {
        let mut fds = Vec::with_capacity(1 + self.listeners.len());
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        let mut polled = Vec::new();
        if self.is_accepting() {
            let has_room = |(_, entry): &(usize, &Entry)| {
                !entry.is_resting() && self.children.has_room_for(&entry.service)
            };
            for (index, entry) in self.listeners.iter().enumerate().filter(has_room) {
                fds.push(PollFd::new(entry.listener.as_fd(), PollFlags::POLLIN));
                polled.push(index);
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let listeners = polled.into_iter().zip(&fds[1..]).filter(|(_, fd)| is_ready(fd));
        let listeners = listeners.map(|(index, _)| index).collect();
        Ok(Ready { signals: is_ready(&fds[0]), listeners })
    }

    /// Until the nearest deadline, rounded up to the milliseconds of poll(2).
    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let deadlines = [
            self.notifier.next_tick(self.counts()),
            self.admission.next_event(),
            self.listeners.iter().filter_map(|entry| entry.resting_until.filter(|&until| until > now)).min(),
            self.children.orphans.next_event(),
            self.children.next_event(),
            self.life.next_event(),
            self.idle_end(),
            journal::next_event(),
        ];
        deadlines.into_iter().flatten().min().map_or(PollTimeout::NONE, |at| sys::poll_timeout(at, now))
    }

    /// Acts on one signal. True: children have ended, so that processes and memory are free again.
    fn handle_signal(&mut self, now: Instant) -> Result<bool, Error> {
        let Some(info) = self.signals.read_signal().map_err(Error::system("read a signal"))? else {
            return Ok(false);
        };
        match i32::try_from(info.ssi_signo).map(Signal::try_from) {
            Ok(Ok(Signal::SIGCHLD)) => {
                self.children.reap().map_err(Error::system("reap children"))?;
                return Ok(true);
            }
            Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => self.stop(now),
            // Later: what this round has found stands for the listeners as they are.
            Ok(Ok(Signal::SIGHUP)) => self.shall_reload = true,
            Ok(Ok(Signal::SIGUSR1)) => self.report_state(now),
            _ => {}
        }
        Ok(false)
    }

    /// The first time accepts nobody new and lets the children finish, the second time ends them.
    fn stop(&mut self, now: Instant) {
        if self.life.is_serving() {
            // systemd's sockets live on: who waits there is served by our successor. Who is in the backlog of
            // a socket that ends with us has been accepted in the eyes of the client: see
            // `drain_listeners`.
            self.listeners.retain_mut(|entry| {
                entry.listener.unlink();
                entry.is_retiring = true;
                entry.listener.is_owned()
            });
        } else {
            self.listeners.clear();
        }
        self.life.stop(&mut self.children, &self.process, now);
        self.notifier.stopping(self.counts());
    }

    /// Everything has come to its end after a stop.
    fn is_over(&self) -> bool {
        let is_drained = self.listeners.is_empty() && self.admission.is_idle();
        !self.life.is_serving() && self.children.is_alone() && (is_drained || !self.life.is_accepting())
    }

    fn is_accepting(&self) -> bool {
        self.life.is_accepting() && self.admission.is_open() && self.children.has_room()
    }

    /// Whoever has sockets that live on without it need not wait for connections itself.
    fn idle_end(&self) -> Option<Instant> {
        let timeout = self.process.idle_timeout.filter(|_| self.is_inherited && self.life.is_serving())?;
        let is_idle =
            self.children.count() == 0 && self.children.orphans.is_empty() && self.admission.is_idle();
        is_idle.then(|| self.idle_since + timeout)
    }

    /// Stops when nobody has come for `process.idle_timeout`. Who comes from now on waits in the backlog, and
    /// systemd starts a successor for them.
    fn end_idleness(&mut self, now: Instant) {
        match self.idle_end() {
            None => self.idle_since = now,
            Some(end) if now >= end => {
                journal::log_idle(self.process.idle_timeout.unwrap_or_default());
                self.stop(now);
            }
            Some(_) => {}
        }
    }

    /// Feeds the watchdog, and tells how many connections there are; while draining also what the oldest does.
    fn tell_status(&mut self, now: Instant) {
        let oldest = || self.children.describe_oldest(now);
        self.notifier.tick(now, self.counts(), oldest);
    }

    fn counts(&self) -> Counts {
        Counts {
            listeners: self.listeners.len(),
            connections: self.children.count(),
            ended: self.children.recorded() + self.admission.refused(),
            is_serving: self.life.is_serving(),
        }
    }
}
