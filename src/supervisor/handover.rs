//! Hands a connection over: takes a slot for it, and gives it to a fork server of its service. The supervisor keeps its copy
//! of the connection until its process is known, so that a handover that fails loses nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::child::Child;
use super::fork_servers::ForkServers;
use super::settings::{Model, Settings};
use crate::child::in_place::{self, End};
use crate::child::supplies::{ChildSettings, Supplies};
use crate::child::work::Work;
use crate::connection::Connection;
use crate::scoreboard::{Scoreboard, Slot};
use crate::service::Service;
use crate::sys;

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
    /// What connections of services that show the status of the daemon get.
    pub(super) status: Option<Arc<OwnedFd>>,
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
            status: None,
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
    ) -> Result<Child, (Connection, io::Error)> {
        let Some(slot) = self.scoreboard.take() else {
            return Err((connection, io::Error::from_raw_os_error(libc::EAGAIN)));
        };
        let status = self.status.as_deref().filter(|_| service.shows_status());
        match self.fork_servers.hand_over(&connection, service, slot, status.map(AsFd::as_fd)) {
            Ok(taker) => Ok(Child::new(connection, service, slot, taker)),
            Err(error) => {
                self.scoreboard.give_back(slot);
                Err((connection, error))
            }
        }
    }

    /// Serves a connection in this very process: the model `iterative`, and a single connection that was handed in. Needs
    /// [`Self::has_slot`].
    pub(crate) fn serve_in_place(&mut self, connection: Connection, service: &Arc<Service>) -> (Child, End) {
        let slot = self.scoreboard.take().unwrap_or_else(|| unreachable!("callers check `has_slot`"));
        let supplies = self.supplies.get_or_insert_with(|| Supplies::new(self.settings, None));
        let status = self.status.as_deref().filter(|_| service.shows_status()).map(AsFd::as_fd);
        let end = in_place::serve(&mut Work {
            connection: &connection,
            service,
            kit: supplies.kit(slot, None, status),
        });
        let Connection { socket, identity } = connection;
        drop(socket); // the client need not wait for the record
        (Child::in_place(identity, service, slot, end.terminated_by), end)
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
