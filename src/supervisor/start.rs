//! From settings and sockets to a running supervisor, or to the one connection that was handed in.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::Supervisor;
use super::connections::Connections;
use super::lifecycle::Lifecycle;
use super::listeners::{Listeners, ServedListener};
use super::settings::{Model, Settings};
use crate::child;
use crate::connection::Connection;
use crate::journal::{self, ChildLog};
use crate::listen::{self, activation::Activation};
use crate::notify::Notifier;
use crate::outcome::Outcome;
use crate::service::{Protocol, Service, find_service};
use crate::sys;

/// Why the daemon could not start, or had to give up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Listen(#[from] listen::Error),
    #[error("{0}")]
    NoService(String),
    #[error("unable to {action}: {source}")]
    System { action: &'static str, source: io::Error },
}

impl Error {
    /// For `map_err`: names what was tried.
    pub(super) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }
}

/// Loads the settings again. The argument: connections that are served already. The error is a sentence.
pub(crate) type Reload = Box<dyn FnMut(usize) -> Result<Settings, String>>;

/// Serves what `activation` holds until a stop signal. A single connection is served in this process. SIGHUP calls
/// `load_settings`.
pub(crate) fn run(
    settings: Settings,
    activation: Activation,
    load_settings: Reload,
) -> Result<Outcome, Error> {
    // A parent process that ignores SIGCHLD would leave the supervisor without any child's status, and Rust's handlers for a
    // stack overflow would swallow a SIGSEGV that is sent.
    sys::reset_signals();
    let find = |name: &str| find_service(&settings.services, name).map(Arc::clone).map_err(Error::NoService);
    let mut connections = Connections::new(&settings).map_err(Error::system("map the scoreboard"))?;
    let is_inherited = matches!(activation, Activation::Listeners(_));
    let bound = match activation {
        Activation::Connection { connection, .. } => {
            let service = find(&connection.identity.listener)?;
            return Ok(serve_single(&mut connections, connection, &service));
        }
        Activation::Listeners(listeners) => listeners,
        Activation::None => listen::bind::bind_listeners(&settings.listen)?,
    };
    let mut entries = Vec::new();
    for listener in bound {
        let service = find(&listener.name)?;
        entries.push(ServedListener::new(listener, service));
    }
    sys::require_close_range().map_err(Error::system("use close_range(2), which Linux has since 5.9"))?;
    let signals = take_signals().map_err(Error::system("take over signals"))?;
    // Children of a double fork become the supervisor's, and so do orphans of programs.
    prctl::set_child_subreaper(true).map_err(Error::system("become a subreaper"))?;
    let mut notifier = Notifier::from_environment();
    if settings.process.model == Model::Iterative {
        notifier.disable_watchdog();
    }
    for warning in &settings.warnings {
        journal::log_system_limit_low(warning);
    }
    let listeners = Listeners::new(entries);
    connections.open_drain().map_err(Error::system("make a pair of sockets"))?;
    connections.set_bindings(listeners.bindings());
    let now = Instant::now();
    let mut supervisor = Supervisor {
        listeners,
        connections,
        signals,
        lifecycle: Lifecycle::Serving,
        notifier,
        settings,
        load_settings,
        is_inherited,
        reload_requested: false,
        started: now,
        idle_since: now,
    };
    supervisor.run()?;
    Ok(Outcome::Served)
}

/// Serves a connection that was handed in: this process is its supervisor and its child. A program gets a child of its
/// own, and its limits there.
fn serve_single(connections: &mut Connections, connection: Connection, service: &Arc<Service>) -> Outcome {
    let Some(connection) = connections.admit_single(connection, service) else {
        return Outcome::Refused;
    };
    if let Protocol::Http(_) = service.protocol
        && let journal = ChildLog::new(&connection.identity, &service.name, None)
        && let Err(outcome) = child::apply_limits(service, &journal)
    {
        return outcome;
    }
    connections.serve_in_place(connection, service).outcome(&service.protocol)
}

/// Signals become readable instead of interrupting: none is lost between two system calls.
fn take_signals() -> nix::Result<SignalFd> {
    let mask: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1]
        .into_iter()
        .collect();
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}
