//! The parent: one thread, one poll set. It accepts, counts, forks, reaps and records; it reads no byte
//! from the network, and waits for nothing but poll(2).

mod admission;
mod children;
mod lifecycle;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::child::outcome::Outcome;
use crate::config::{Config, Model};
use crate::connection::Connection;
use crate::handler::Service;
use crate::journal;
use crate::listen::{self, Listener, activation::Activation};
use crate::notify::{Counts, Notifier};
use crate::sys;
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
    #[error(
        "listener \"{listener}\" leads to no service: there is no [service.{listener}], and several others ({services})"
    )]
    NoService { listener: String, services: String },
    #[error("unable to {action}: {source}")]
    System { action: &'static str, source: io::Error },
}

impl Error {
    /// What fits `map_err`: says what was tried.
    fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }
}

/// A listener and the service that its name leads to.
#[derive(Debug)]
struct Door {
    listener: Listener,
    service: Arc<Service>,
}

/// Serves what `activation` holds until told to stop. A single connection is served in this process.
pub fn run(config: Config, activation: Activation) -> Result<Outcome, Error> {
    let services: BTreeMap<String, Arc<Service>> =
        config.services.into_iter().map(|(name, service)| (name, Arc::new(service))).collect();
    let listeners = match activation {
        Activation::Connection { connection, .. } => {
            let service = find_service(&connection.identity.listener, &services)?;
            let limits = crate::config::Limits { max_connections: 1, ..config.limits };
            let mut children =
                Children::new(limits, Model::Iterative).map_err(Error::system("map the scoreboard"))?;
            return Ok(serve_one(&mut children, connection, &service));
        }
        Activation::Listeners(listeners) => listeners,
        Activation::None => listen::bind::bind_listeners(&config.listen)?,
    };
    let mut doors = Vec::new();
    for listener in listeners {
        let service = find_service(&listener.name, &services)?;
        doors.push(Door { listener, service });
    }
    let mut supervisor = Supervisor {
        signals: take_signals().map_err(Error::system("take over signals"))?,
        children: Children::new(config.limits, config.model).map_err(Error::system("map the scoreboard"))?,
        admission: Admission::default(),
        life: Life::Serving,
        notifier: Notifier::from_environment(),
        drain_timeout: config.drain_timeout,
        doors,
    };
    match config.model {
        Model::DoubleFork => {
            prctl::set_child_subreaper(true).map_err(Error::system("become a subreaper"))?;
        }
        Model::Iterative => supervisor.notifier.disable_watchdog(),
        Model::Fork => {}
    }
    supervisor.run()?;
    Ok(Outcome::Served)
}

fn serve_one(children: &mut Children, connection: Connection, service: &Arc<Service>) -> Outcome {
    match children.take_slot() {
        Some(slot) => children.serve_here(connection, service, slot),
        None => Outcome::System,
    }
}

/// The service of a listener: the one of its name, or the only one there is. systemd names a socket
/// without `FileDescriptorName=` after its unit, `web.socket`.
fn find_service(listener: &str, services: &BTreeMap<String, Arc<Service>>) -> Result<Arc<Service>, Error> {
    let name = listener.strip_suffix(".socket").unwrap_or(listener);
    let only = services.values().next().filter(|_| services.len() == 1);
    services.get(name).or(only).map(Arc::clone).ok_or_else(|| {
        let services: Vec<_> = services.keys().map(String::as_str).collect();
        Error::NoService { listener: name.to_owned(), services: services.join(", ") }
    })
}

/// Signals become readable instead of interrupting: nothing is ever lost between two system calls.
fn take_signals() -> nix::Result<SignalFd> {
    // A parent process that ignores SIGCHLD would have left us without any child's status.
    sys::reset_signal(Signal::SIGCHLD);
    let mask: SigSet =
        [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

#[derive(Debug)]
struct Supervisor {
    doors: Vec<Door>,
    signals: SignalFd,
    children: Children,
    admission: Admission,
    life: Life,
    notifier: Notifier,
    drain_timeout: Duration,
}

/// What one wait has found.
struct Ready {
    signals: bool,
    /// Indices of the doors at which somebody waits.
    doors: Vec<usize>,
}

impl Supervisor {
    fn run(&mut self) -> Result<(), Error> {
        let addresses: Vec<_> = self.doors.iter().map(|door| door.listener.address.as_str()).collect();
        journal::note_ready(&addresses.join(", "));
        self.notifier.ready(self.counts());
        loop {
            let ready = self.wait().map_err(Error::system("wait for events"))?;
            let now = Instant::now();
            let reaped = ready.signals && self.handle_signal(now)?;
            self.admission.refresh(now, reaped);
            if let Some((connection, service)) = self.admission.take_waiting(now, reaped) {
                self.serve(connection, &service);
            }
            for index in ready.doors {
                self.accept_from(index)?;
            }
            self.life = self.life.advance(&mut self.children, now);
            if !self.life.is_serving() && self.children.count() == 0 {
                journal::note_stopped(self.children.recorded());
                return Ok(());
            }
            self.notifier.tick(now, self.counts());
        }
    }

    /// Waits for a signal, a connection or the next deadline, whichever comes first.
    fn wait(&self) -> nix::Result<Ready> {
        let doors: &[Door] = if self.is_accepting() { &self.doors } else { &[] };
        let mut fds = Vec::with_capacity(1 + doors.len());
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        fds.extend(doors.iter().map(|door| PollFd::new(door.listener.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let doors =
            fds[1..].iter().enumerate().filter(|(_, fd)| is_ready(fd)).map(|(index, _)| index).collect();
        Ok(Ready { signals: is_ready(&fds[0]), doors })
    }

    /// Until the nearest deadline, rounded up to the milliseconds of poll(2).
    fn timeout(&self) -> PollTimeout {
        let deadlines =
            [self.notifier.next_tick(self.counts()), self.admission.next_event(), self.life.next_event()];
        deadlines.into_iter().flatten().min().map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now());
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
            Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => self.stop(now)?,
            Ok(Ok(Signal::SIGHUP)) => {
                journal::note_warning(
                    "reload by SIGHUP is not available yet: restart to apply a new configuration",
                );
            }
            _ => {}
        }
        Ok(false)
    }

    /// The first time accepts no more and lets the children finish, the second time ends them.
    fn stop(&mut self, now: Instant) -> Result<(), Error> {
        if self.life.is_serving() {
            // Who is in the backlog of a socket that dies with us has been accepted in the eyes of the
            // client. systemd's sockets live on: who waits there is served by our successor.
            for index in 0..self.doors.len() {
                while self.doors[index].listener.is_owned()
                    && self.is_accepting()
                    && self.accept_from(index)?
                {}
            }
            self.doors.clear();
            self.admission.close(now);
        }
        self.life = self.life.stop(&mut self.children, self.drain_timeout, now);
        self.notifier.stopping(self.counts());
        Ok(())
    }

    fn is_accepting(&self) -> bool {
        self.life.is_serving() && self.admission.is_open() && self.children.has_room()
    }

    /// Accepts a batch of connections from one listener. True: there may be more.
    fn accept_from(&mut self, index: usize) -> Result<bool, Error> {
        for _ in 0..ACCEPT_BATCH {
            if !self.is_accepting() {
                return Ok(false);
            }
            let door = &self.doors[index];
            match door.listener.accept() {
                Ok(Some(connection)) => {
                    let service = Arc::clone(&door.service);
                    self.admission.note_accepted();
                    self.serve(connection, &service);
                }
                Ok(None) => return Ok(false),
                Err(error) if admission::is_exhaustion(&error) => {
                    self.admission.rest(&door.listener.name, &error, Instant::now());
                    return Ok(false);
                }
                Err(source) => {
                    return Err(Error::System { action: "accept connections", source });
                }
            }
        }
        Ok(true)
    }

    fn serve(&mut self, connection: Connection, service: &Arc<Service>) {
        match self.children.serve(connection, service) {
            Ok(()) => self.admission.note_forked(),
            Err((connection, error)) => {
                self.admission.hold(connection, Arc::clone(service), error, Instant::now());
            }
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            listeners: self.doors.len(),
            connections: self.children.count(),
            ended: self.children.recorded(),
            is_serving: self.life.is_serving(),
        }
    }
}
