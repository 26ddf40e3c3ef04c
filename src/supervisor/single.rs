//! A single connection that was handed in, for a service with applications: a fork server loads them for it alone, as CGI starts
//! a program for each request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollTimeout;
use nix::sys::prctl;

use super::connections::Connections;
use super::error::Error;
use super::settings::Settings;
use crate::connection::Connection;
use crate::outcome::Outcome;
use crate::service::{Service, Services};
use crate::sys;

/// Serves the connection. If the applications cannot be loaded, it is refused.
///
/// # Errors
/// No fork server can be started.
pub(super) fn serve_application(
    connections: &mut Connections,
    connection: Connection,
    service: &Arc<Service>,
    settings: &Settings,
) -> Result<Outcome, Error> {
    let Some(connection) = connections.admit_single(connection, service) else {
        return Ok(Outcome::Refused);
    };
    prepare_process()?;
    let own = Services::from([(service.name.clone(), Arc::clone(service))]);
    let starting = connections.start_fork_servers(settings, &own).map_err(Error::ForkServer)?;
    connections.tolerate_applications(&starting);
    connections.wait_for(&starting, || ()).map_err(Error::ForkServer)?;
    connections.take_over(&starting);
    connections.start(connection, Arc::clone(service), Instant::now());
    while !connections.is_idle() {
        wait(connections)?;
    }
    connections.retire_fork_servers();
    while !connections.is_over() {
        wait(connections)?;
    }
    connections.end_outputs();
    connections.close_access_log();
    Ok(Outcome::Served)
}

/// Prepares this process for fork servers.
pub(super) fn prepare_process() -> Result<(), Error> {
    sys::require_close_range().map_err(Error::system("use close_range(2), which Linux has since 5.9"))?;
    // Children of a double fork become the supervisor's, and so do orphans of programs.
    prctl::set_child_subreaper(true).map_err(Error::system("become a subreaper"))
}

/// Waits for what processes do, or for what is due, and acts on it.
fn wait(connections: &mut Connections) -> Result<(), Error> {
    let due = connections.next_event().map(|due| due.saturating_duration_since(Instant::now()));
    let time = due.unwrap_or(Duration::MAX).min(Duration::from_secs(1)) + Duration::from_millis(1);
    let timeout = EpollTimeout::try_from(time).unwrap_or(EpollTimeout::ZERO);
    let events = connections.events.take(timeout).map_err(Error::system("wait for events"))?;
    let now = Instant::now();
    connections.act_on_events(events, now);
    connections.refresh(now, true);
    connections.retry_waiting(now, true);
    connections.flush_access_log(now);
    Ok(())
}
