//! The parent: one thread, one poll set. It accepts, counts, forks, reaps and records; it reads no byte
//! from the network, and waits for nothing but poll(2). (In the model `iterative`, and for a connection that
//! was handed in, the parent is its own child.)

mod admission;
mod children;
mod lifecycle;
mod orphans;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::child::{self, outcome::Outcome};
use crate::config::{Config, Model, find_service};
use crate::connection::Connection;
use crate::handler::{Protocol, Service};
use crate::journal;
use crate::listen::{self, Listener, activation::Activation};
use crate::notify::{Counts, Notifier};
use crate::sys;
use crate::walls;
use admission::Admission;
use children::Children;
use lifecycle::Life;

/// Connections accepted from one listener before the others, and ended children, get their turn.
const ACCEPT_BATCH: usize = 64;

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

/// Serves what `activation` holds until told to stop. A single connection is served in this process.
pub fn run(config: Config, activation: Activation) -> Result<Outcome, Error> {
    // A parent process that ignores SIGCHLD would have left us without any child's status, and Rust's
    // handlers for a stack overflow would swallow a SIGSEGV that somebody sends.
    sys::reset_signals();
    let find = |name: &str| find_service(&config.services, name).map_err(Error::NoService);
    let mut children =
        Children::new(config.limits, config.model).map_err(Error::system("map the scoreboard"))?;
    let bound = match activation {
        Activation::Connection { connection, .. } => {
            let service = find(&connection.identity.listener)?;
            // This process is the child. (A program gets one of its own, and its limits there.)
            if let Protocol::Http(_) = service.protocol
                && let Err(outcome) = child::limit(&connection, &service)
            {
                return Ok(outcome);
            }
            return Ok(children.serve_here(connection, &service).unwrap_or(Outcome::System));
        }
        Activation::Listeners(listeners) => listeners,
        Activation::None => listen::bind::bind_listeners(&config.listen)?,
    };
    let mut listeners = Vec::new();
    for listener in bound {
        let service = find(&listener.name)?;
        listeners.push((listener, service));
    }
    sys::require_close_range().map_err(Error::system("use close_range(2), which Linux has since 5.9"))?;
    let mut supervisor = Supervisor {
        signals: take_signals().map_err(Error::system("take over signals"))?,
        admission: Admission::default(),
        life: Life::Serving,
        notifier: Notifier::from_environment(),
        drain_timeout: config.drain_timeout,
        batch: if config.model == Model::Iterative { 1 } else { ACCEPT_BATCH },
        round: 0,
        children,
        listeners,
    };
    // Children of a double fork come to us, and what programs leave behind.
    prctl::set_child_subreaper(true).map_err(Error::system("become a subreaper"))?;
    if config.model == Model::Iterative {
        supervisor.notifier.disable_watchdog();
    }
    for warning in walls::find_warnings(&config, 0) {
        journal::note_wall_ahead(&warning);
    }
    supervisor.children.open_drain().map_err(Error::system("make a pair of sockets"))?;
    supervisor.run()?;
    Ok(Outcome::Served)
}

/// Signals become readable instead of interrupting: nothing is ever lost between two system calls.
fn take_signals() -> nix::Result<SignalFd> {
    let mask: SigSet =
        [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

#[derive(Debug)]
struct Supervisor {
    /// Each with the service that its name leads to.
    listeners: Vec<(Listener, Arc<Service>)>,
    signals: SignalFd,
    children: Children,
    admission: Admission,
    life: Life,
    notifier: Notifier,
    drain_timeout: Duration,
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
        let addresses: Vec<_> =
            self.listeners.iter().map(|(listener, _)| listener.address.as_str()).collect();
        journal::note_ready(&addresses.join(", "));
        self.notifier.ready(self.counts());
        loop {
            let ready = self.wait().map_err(Error::system("wait for events"))?;
            let now = Instant::now();
            let reaped = ready.signals && self.handle_signal(now)?;
            self.admission.refresh(now, reaped);
            self.children.orphans.refresh(now);
            if self.life.is_accepting()
                && let Some((connection, service)) = self.admission.take_waiting(now, reaped)
            {
                self.serve(connection, &service);
            }
            if self.life.is_serving() {
                self.accept_from(ready.listeners);
            } else {
                self.drain_listeners();
            }
            self.life = self.life.advance(&mut self.children, now);
            if self.is_over() {
                self.admission.close(now);
                journal::note_stopped(self.counts().ended);
                return Ok(());
            }
            self.notifier.tick(now, self.counts());
        }
    }

    /// Waits for a signal, a connection or the next deadline, whichever comes first.
    fn wait(&self) -> nix::Result<Ready> {
        let mut fds = Vec::with_capacity(1 + self.listeners.len());
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        if self.is_accepting() {
            fds.extend(
                self.listeners.iter().map(|(listener, _)| PollFd::new(listener.as_fd(), PollFlags::POLLIN)),
            );
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let listeners = (0..fds.len() - 1).filter(|index| is_ready(&fds[1 + index])).collect();
        Ok(Ready { signals: is_ready(&fds[0]), listeners })
    }

    /// Until the nearest deadline, rounded up to the milliseconds of poll(2).
    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let deadlines = [
            self.notifier.next_tick(self.counts()),
            self.admission.next_event(),
            self.children.orphans.next_event(now),
            self.life.next_event(),
        ];
        deadlines.into_iter().flatten().min().map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(now);
            PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        })
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
            Ok(Ok(Signal::SIGHUP)) => {
                journal::note_warning(
                    "reload by SIGHUP is not available yet: restart to apply a new configuration",
                );
            }
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
            self.listeners.retain_mut(|(listener, _)| {
                listener.unlink();
                listener.is_owned()
            });
        } else {
            self.listeners.clear();
        }
        self.life = self.life.stop(&mut self.children, self.drain_timeout, now);
        self.notifier.stopping(self.counts());
    }

    /// Everything has come to its end after a stop.
    fn is_over(&self) -> bool {
        let is_drained = self.listeners.is_empty() && self.admission.is_idle();
        let is_alone = self.children.count() == 0 && self.children.orphans.is_empty();
        !self.life.is_serving() && is_alone && (is_drained || !self.life.is_accepting())
    }

    fn is_accepting(&self) -> bool {
        self.life.is_accepting() && self.admission.is_open() && self.children.has_room()
    }

    /// Accepts from the listeners at which somebody waits. Each round begins with another one, so that a busy
    /// listener cannot take every slot from the others.
    fn accept_from(&mut self, mut ready: Vec<usize>) {
        self.round = self.round.wrapping_add(1);
        if !ready.is_empty() {
            let first = self.round % ready.len();
            ready.rotate_left(first);
        }
        for index in ready {
            self.accept_batch(index);
        }
    }

    /// Accepts a batch of connections from one listener. True: nobody waits there any more.
    fn accept_batch(&mut self, index: usize) -> bool {
        for _ in 0..self.batch {
            if !self.is_accepting() {
                return false;
            }
            let (listener, service) = &self.listeners[index];
            match listener.accept() {
                Ok(Some(connection)) => {
                    let service = Arc::clone(service);
                    self.serve(connection, &service);
                }
                Ok(None) => return true,
                Err(error) => self.admission.defer_accepting(&listener.name, &error, Instant::now()),
            }
        }
        false
    }

    /// While draining, accepts who was in the backlog of our own sockets before, and closes those where
    /// nobody waits any more.
    fn drain_listeners(&mut self) {
        for index in (0..self.listeners.len()).rev() {
            if self.accept_batch(index) {
                self.listeners.remove(index);
            }
        }
    }

    fn serve(&mut self, connection: Connection, service: &Arc<Service>) {
        match self.children.serve(connection, service) {
            Ok(()) => self.admission.note_forked(),
            Err((connection, error)) => {
                self.admission.defer_connection(connection, Arc::clone(service), error, Instant::now());
            }
        }
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
