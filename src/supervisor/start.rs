//! From settings and sockets to a running supervisor, or to the one connection that was handed in.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};

use super::connections::Connections;
use super::error::Error;
use super::handover::Reports;
use super::listeners::{Listeners, ServedListener};
use super::settings::Settings;
use super::unserved::Unserved;
use super::{EXTENSION, Reload, Supervisor, single};
use crate::child;
use crate::connection::Connection;
use crate::journal::{self, ChildLog};
use crate::listen::{self, activation::Activation, keepalive};
use crate::notify::Notifier;
use crate::outcome::Outcome;
use crate::service::{Service, find_service};
use crate::sys;

/// Keeps SIGUSR2 until the supervisor takes over the signals: logrotate can send it while the daemon starts.
pub(crate) fn hold_reopen_signal() {
    let _ = SigSet::from(Signal::SIGUSR2).thread_block(); // cannot fail
}

/// Serves what `activation` holds until a stop signal. A single connection is served in this process. SIGHUP calls
/// `load_settings`.
///
/// # Errors
/// The daemon could not start, or a system call failed that it cannot do without: see [`Error`].
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
    let is_inherited = matches!(activation, Activation::Listeners(..));
    let (bound, unusable) = match activation {
        Activation::Connection { connection, .. } => {
            let service = find(&connection.identity.listener)?;
            if !keepalive::is_foreign(&connection.socket) {
                keepalive::set_peer_timeout(&connection.socket, settings.peer_timeout);
            }
            connections.launcher.reports = Reports::of_single();
            connections.open_own_access_log(&settings).map_err(Error::AccessLog)?;
            return match service.python() {
                Some(_) => single::serve_application(&mut connections, connection, &service, &settings),
                None => serve_single(&mut connections, connection, &service),
            };
        }
        Activation::Listeners(listeners, unusable) => (listeners, unusable),
        Activation::None => (listen::bind::bind_listeners(&settings.listen)?, Vec::new()),
    };
    let (mut entries, mut unserved, mut missing) = (Vec::new(), Unserved::new(unusable), None);
    for listener in bound {
        match find(&listener.name) {
            Ok(service) => entries.push(ServedListener::new(listener, service)),
            Err(error) => {
                missing.get_or_insert(error);
                unserved.add(listener);
            }
        }
    }
    if let Some(error) = missing.filter(|_| entries.is_empty() || !is_inherited) {
        return Err(error);
    }
    single::prepare_process()?;
    for warning in &settings.warnings {
        journal::log_system_limit_low(warning);
    }
    // After the last descriptor that others hold a copy of: a process of the same user could take it, or read the memory
    // of this one (PR_SET_DUMPABLE(2const)).
    prctl::set_dumpable(false).map_err(Error::system("protect the process from others of its user"))?;
    connections.raise_open_files();
    connections.open_access_log(&settings).map_err(Error::AccessLog)?;
    let starting =
        connections.start_fork_servers(&settings, &settings.services).map_err(Error::ForkServer)?;
    connections.tolerate_applications(&starting);
    let notifier = Notifier::from_environment();
    // An import may take longer than the unit allows, and has a time of its own: `start_timeout`.
    connections.wait_for(&starting, || notifier.extend_timeout(EXTENSION)).map_err(Error::ForkServer)?;
    connections.switch_to(&starting, &settings);
    let listeners = Listeners::new(entries, unserved);
    listeners.log_gaps(&settings.services);
    listeners.set_peer_timeout(settings.peer_timeout);
    let mut supervisor =
        Supervisor::new(listeners, connections, settings, load_settings, is_inherited, notifier)?;
    sys::wipe_environment(); // it has been read
    supervisor.run()?;
    Ok(Outcome::Served)
}

/// Serves a connection that was handed in: this process is its supervisor and its child. A program gets a child of its
/// own, and its limits there.
fn serve_single(
    connections: &mut Connections,
    connection: Connection,
    service: &Arc<Service>,
) -> Result<Outcome, Error> {
    let Some(connection) = connections.admit_single(connection, service) else {
        return Ok(Outcome::Refused);
    };
    journal::open_for_children(journal::destination(), false).map_err(Error::system("open the journal"))?;
    // There is no fork server to do it once for many.
    for gap in service.confine(connection.socket.as_raw_fd())? {
        journal::log_not_confined(&service.name, &gap.sentence);
    }
    if !service.is_program()
        && let journal = ChildLog::new(&connection.identity, &service.name, None)
        && let Err(error) = child::apply_limits(service)
    {
        return Ok(error.log(&journal));
    }
    Ok(connections.serve_in_place(connection, service).outcome(&service.protocol))
}
