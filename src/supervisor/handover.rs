//! Hands a connection over: takes a slot for it, and gives it to a fork server of its service. The supervisor keeps its copy
//! of the connection until its process is known, so that a handover that fails loses nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::child::Child;
use super::fork_servers::ForkServers;
use super::settings::{Model, Settings};
use crate::child::in_place::{self, End};
use crate::child::supplies::{ChildSettings, Supplies};
use crate::child::work::Work;
use crate::clients::{Decide, Gate};
use crate::connection::Connection;
use crate::handover::Supplements;
use crate::scoreboard::{Scoreboard, Slot};
use crate::service::Service;
use crate::status::health::HealthReport;
use crate::sys;

/// The two ends of the channel by which the child of this connection reports clients, if its peer is a trusted proxy.
fn open_reports(
    connection: &Connection,
    service: &Service,
) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !service.trusts(&connection.identity.peer) {
        return Ok((None, None));
    }
    let (ours, theirs) = sys::open_channel()?;
    Ok((Some(ours), Some(theirs)))
}

/// What connections get that show the status of the daemon, or answer checks. A connection that had to wait gets the last one.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) status: Option<Arc<OwnedFd>>,
    pub(super) health: Option<OwnedFd>,
    /// `health` is of this round of the supervisor.
    pub(super) is_health_current: bool,
}

impl Reports {
    /// Those of a process that serves a single connection, and has no limit but its own.
    pub(super) fn of_single() -> Self {
        Self { health: HealthReport::SINGLE.write().ok(), ..Self::default() }
    }

    /// No check gets a report of a daemon that did not drain: rather none.
    pub(super) fn forget_health(&mut self) {
        (self.health, self.is_health_current) = (None, false);
    }

    /// The report for a connection of this service.
    fn find_for(&self, service: &Service) -> Option<BorrowedFd<'_>> {
        match (service.shows_status(), service.answers_checks()) {
            (true, _) => self.status.as_ref().map(AsFd::as_fd),
            (false, true) => self.health.as_ref().map(AsFd::as_fd),
            (false, false) => None,
        }
    }
}

/// Gives connections a slot and a fork server.
#[derive(Debug)]
pub(crate) struct Launcher {
    model: Model,
    settings: ChildSettings,
    pub(crate) scoreboard: Scoreboard,
    /// The text of this program in huge pages, for fork servers. None: see [`sys::copy_text`].
    pub(crate) text: Option<OwnedFd>,
    pub(crate) fork_servers: ForkServers,
    /// For connections that this process serves itself.
    supplies: Option<Supplies>,
    pub(super) reports: Reports,
    /// Slots of connections that have left processes behind, which may have them mapped.
    withheld: Vec<Slot>,
}

impl Launcher {
    /// # Errors
    /// Those of memfd_create(2) and mmap(2), for the scoreboard.
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            model: settings.process.model,
            settings: settings.children,
            scoreboard: Scoreboard::new(settings.process.max_connections)?,
            text: None,
            fork_servers: ForkServers::new(),
            supplies: None,
            reports: Reports::default(),
            withheld: Vec::new(),
        })
    }

    /// What holds from now on, and fits on the scoreboard. The process model stays.
    pub(crate) fn reconfigure(&mut self, max_connections: usize, settings: ChildSettings) {
        let _ = self.scoreboard.resize(max_connections); // nothing is mapped for it
        self.settings = settings;
        self.supplies = None;
    }

    /// Prepares the text for fork servers, where that is possible.
    pub(crate) fn copy_text(&mut self) {
        if self.text.is_none() {
            self.text = sys::copy_text().ok(); // slower, without
        }
    }

    pub(crate) fn has_slot(&self) -> bool {
        !self.scoreboard.is_full()
    }

    /// Connections are served in this process: the model `iterative`.
    pub(crate) fn serves_in_place(&self) -> bool {
        self.model == Model::Iterative
    }

    /// Hands a connection over to a fork server. Needs [`Self::has_slot`].
    ///
    /// # Errors
    /// No fork server can take it now; the connection is given back.
    pub(crate) fn hand_over(
        &mut self,
        connection: Connection,
        service: &Arc<Service>,
    ) -> Result<Child, Box<(Connection, io::Error)>> {
        let Some(slot) = self.scoreboard.take(self.fork_servers.own_scoreboard(service)) else {
            return Err(Box::new((connection, io::Error::from_raw_os_error(libc::EAGAIN))));
        };
        let status = self.reports.find_for(service);
        let fork_servers = &mut self.fork_servers;
        let handed_over = open_reports(&connection, service).and_then(|(ours, theirs)| {
            let supplements = Supplements { status, reports: theirs.as_ref().map(AsFd::as_fd) };
            Ok((fork_servers.hand_over(&connection, service, slot, supplements)?, ours))
        });
        match handed_over {
            Ok((taker, reports)) => {
                Ok(Child::new(connection, service, slot, taker, reports, self.max_reports()))
            }
            Err(error) => {
                self.scoreboard.give_back(slot);
                Err(Box::new((connection, error)))
            }
        }
    }

    /// Serves a connection in this very process: the model `iterative`, and a single connection that was handed in.
    /// `is_draining`: each response announces that the connection closes after it. Needs [`Self::has_slot`].
    pub(crate) fn serve_in_place(
        &mut self,
        connection: Connection,
        service: &Arc<Service>,
        is_draining: bool,
        decide: &Decide<'_>,
    ) -> (Child, End) {
        let slot = self.scoreboard.take(None).unwrap_or_else(|| unreachable!("callers check `has_slot`"));
        if is_draining {
            slot.announce_close();
        }
        let supplies = self.supplies.get_or_insert_with(|| Supplies::new(self.settings, None, None));
        let status = self.reports.find_for(service);
        let kit = supplies.kit(slot, None, status);
        let end = in_place::serve(&mut Work::new(&connection, service, kit, Gate::Own(decide)));
        let Connection { socket, identity } = connection;
        drop(socket); // the client need not wait for the record
        (Child::in_place(identity, service, slot, end.terminated_by), end)
    }

    /// Clients that a child may report: one for each request, and one for the connection. So many access lines as well.
    pub(crate) fn max_reports(&self) -> u64 {
        self.settings.http.max_requests.saturating_add(1)
    }

    /// Takes back the slot of a connection that has ended. `has_orphans`: a process of some connection still runs that may
    /// have the slot mapped.
    pub(crate) fn release(&mut self, slot: Slot, has_orphans: bool) {
        if has_orphans {
            self.withheld.push(slot);
        } else {
            self.scoreboard.give_back(slot);
        }
    }

    /// No process of a connection that has ended runs any more.
    pub(crate) fn release_withheld(&mut self) {
        for slot in self.withheld.drain(..) {
            self.scoreboard.give_back(slot);
        }
    }
}
