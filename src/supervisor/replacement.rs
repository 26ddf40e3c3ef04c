//! Fork servers in place of others: at the start, by a reload, and when the path of a root leads elsewhere.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollTimeout;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::connections::Connections;
use super::failures::StartFailure;
use super::fork_server::{Shared, Template};
use super::fork_servers::ForkServers;
use super::handover::Launcher;
use super::reserves::Reserves;
use super::settings::{Model, Settings};
use crate::journal;
use crate::service::{Service, Services};

/// How long the start of the daemon waits for the file of access lines.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Fork servers that are to replace those that exist, once they are ready.
#[derive(Debug)]
pub(crate) struct Starting(pub(super) Vec<u32>);

impl Connections {
    /// Raises the limit of descriptors as far as this process may: it holds one for each connection.
    pub(crate) fn raise_open_files(&self) {
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard); // the limit stays
        }
    }

    /// Starts the fork servers of these services for new settings. [`Self::switch_to`] brings them into use.
    ///
    /// # Errors
    /// A sentence; nothing has changed then.
    pub(crate) fn start_fork_servers(
        &mut self,
        settings: &Settings,
        services: &Services,
    ) -> Result<Starting, String> {
        if self.launcher.serves_in_place() {
            return Ok(Starting(Vec::new()));
        }
        self.launcher.copy_text();
        self.orphans.open_list();
        let process = &settings.process;
        let template = Template {
            children: settings.children,
            forks_twice: process.model == Model::DoubleFork,
            spares: if process.model == Model::Fork { process.spares } else { 0 },
            log: journal::destination(),
            style: journal::style_by(settings.log), // they may become those of a reload
            open_files: self.open_files,
        };
        let (fork_servers, mut shared) = self.share();
        fork_servers.start_all(services, template, process.fork_servers, &mut shared).map(Starting)
    }

    /// The fork servers, and what they share with this process.
    pub(super) fn share(&mut self) -> (&mut ForkServers, Shared<'_>) {
        let Self { launcher, events, outputs, uplinks, .. } = self;
        let Launcher { fork_servers, scoreboard, text, .. } = launcher;
        let text = text.as_ref();
        (fork_servers, Shared { scoreboard, text, events, outputs, uplinks })
    }

    /// Whether these fork servers are ready.
    ///
    /// # Errors
    /// Why one of them cannot start.
    pub(crate) fn are_ready(&self, starting: &Starting) -> Result<bool, StartFailure> {
        match self.launcher.fork_servers.find_failure(&starting.0) {
            Some((service, StartFailure { sentence, details })) => {
                let sentence = format!("service {}: {sentence}", service.name);
                Err(StartFailure { sentence, details: details.clone() })
            }
            None => Ok(self.launcher.fork_servers.are_ready(&starting.0)),
        }
    }

    /// Lets the daemon start with applications among these that cannot be loaded.
    pub(crate) fn tolerate_applications(&mut self, starting: &Starting) {
        self.launcher.fork_servers.tolerate_applications(&starting.0, |_, _| true);
    }

    /// Lets a reload succeed with applications among these that are broken now, and still cannot be loaded.
    pub(crate) fn tolerate_broken(&mut self, starting: &Starting) {
        let is_broken = |own: &ForkServers, service: &Service| own.find_reason(service).is_some();
        self.launcher.fork_servers.tolerate_applications(&starting.0, is_broken);
    }

    /// Waits until these fork servers are ready. Calls `notify` about once a second.
    ///
    /// # Errors
    /// Why one of them cannot start.
    pub(crate) fn wait_for(&mut self, starting: &Starting, notify: impl Fn()) -> Result<(), String> {
        let mut next = Instant::now();
        while !self.are_ready(starting).map_err(|failure| failure.sentence)? {
            let second = EpollTimeout::try_from(Duration::from_secs(1)).unwrap_or(EpollTimeout::ZERO);
            let events = self.events.take(second).map_err(|errno| errno.desc().to_owned())?;
            let now = Instant::now();
            self.act_on_events(events, now);
            self.refresh(now, false);
            if now >= next {
                notify();
                next = now + Duration::from_secs(1);
            }
        }
        Ok(())
    }

    /// Opens the file of access lines, and waits until it is open: for a slow disk not longer than ten seconds.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) fn open_access_log(&mut self, settings: &Settings) -> Result<(), String> {
        if self.launcher.serves_in_place() {
            return self.access_log.open_own(settings.access.as_ref());
        }
        let end = Instant::now() + OPEN_TIMEOUT;
        self.access_log.change(settings.access.as_ref(), &self.events, Instant::now());
        while self.access_log.is_opening()? && Instant::now() < end {
            let second = EpollTimeout::try_from(Duration::from_secs(1)).unwrap_or(EpollTimeout::ZERO);
            let events = self.events.take(second).map_err(|errno| errno.desc().to_owned())?;
            self.act_on_events(events, Instant::now());
        }
        if self.access_log.is_opening()? {
            journal::log_warning(
                "serving without access lines until their file is open: its disk does not answer",
            );
        }
        self.access_log.begin();
        Ok(())
    }

    /// Opens the access lines of a process that serves a single connection itself.
    ///
    /// # Errors
    /// Why the file cannot be opened.
    pub(crate) fn open_own_access_log(&mut self, settings: &Settings) -> Result<(), String> {
        self.access_log.open_own(settings.access.as_ref())
    }

    /// Opens the file of access lines again.
    pub(crate) fn reopen_access_log(&mut self, now: Instant) {
        self.handle_events(now); // what is known by now
        self.access_log.reopen(&self.events, now);
    }

    /// Sends the access lines that wait.
    pub(crate) fn flush_access_log(&mut self, now: Instant) {
        self.access_log.flush(now);
    }

    /// Writes the last access lines.
    pub(crate) fn close_access_log(&mut self) {
        self.access_log.close();
    }

    /// Gives up fork servers that were to replace others.
    pub(crate) fn give_up(&mut self, starting: &Starting) {
        self.launcher.fork_servers.retire(&starting.0);
        self.close_retired();
    }

    /// Makes room for what new settings permit, in addition to what is in use.
    ///
    /// # Errors
    /// Those of ftruncate(2) and mmap(2), for a larger scoreboard; nothing has changed then.
    pub(crate) fn make_room(&mut self, settings: &Settings) -> io::Result<()> {
        self.launcher.scoreboard.resize(settings.process.max_connections.max(self.max))
    }

    /// Starts the fork servers of a service again, since its settings do not lead to the same files any more. Its
    /// connections wait until they are ready.
    pub(super) fn restart_fork_servers(&mut self, service: &Arc<Service>) {
        let (fork_servers, mut shared) = self.share();
        if let Err(sentence) = fork_servers.restart(service, &mut shared) {
            journal::log_warning(&sentence);
        }
    }

    /// Brings fork servers and settings into use. Connections that have a process keep what they were forked with.
    pub(crate) fn switch_to(&mut self, starting: &Starting, settings: &Settings) {
        self.launcher.fork_servers.replace(&starting.0);
        self.max = settings.process.max_connections;
        self.launcher.reconfigure(self.max, settings.children);
        self.admission.reconfigure(settings.admission.clone());
        self.access_log.change(settings.access.as_ref(), &self.events, Instant::now());
        self.reserves = Reserves::new(&settings.services);
        for name in settings.services.keys() {
            self.statistics.service(name); // from now on it has counters
        }
        self.close_retired();
    }

    /// Lets these fork servers take connections from now on.
    pub(super) fn take_over(&mut self, starting: &Starting) {
        self.launcher.fork_servers.replace(&starting.0);
    }

    /// Lets fork servers exit that have forked for all that was handed over to them.
    pub(super) fn close_retired(&mut self) {
        let Self { launcher: Launcher { fork_servers, .. }, children, .. } = self;
        fork_servers.close_retired(|server| children.awaits(server));
    }

    /// Lets the fork servers exit: no connection will come.
    pub(crate) fn retire_fork_servers(&mut self) {
        self.launcher.fork_servers.retire_all();
        self.close_retired();
    }
}
