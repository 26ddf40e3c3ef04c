//! SIGHUP: new settings in place of the old ones, without touching the connections that are served. They keep what
//! they were forked with. The old fork servers take connections until the new ones are ready.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::Supervisor;
use super::failures::StartFailure;
use super::listeners::{Fate, Listeners, ServedListener};
use super::replacement::Starting;
use super::settings::{Process, Settings};
use crate::journal;
use crate::listen::{ListenTable, bind};
use crate::service::{Service, find_service};

/// New settings, whose fork servers are being started.
#[derive(Debug)]
pub(crate) struct Reloading {
    settings: Settings,
    plan: Plan,
    starting: Starting,
}

impl Supervisor {
    /// Begins a reload that was requested, and ends one whose fork servers are ready.
    pub(super) fn advance_reload(&mut self) {
        if self.reloading.is_none() && mem::take(&mut self.reload_requested) {
            self.notifier.reloading();
            let children = self.connections.children().count();
            match (self.load_settings)(children).and_then(|settings| self.begin_reload(settings)) {
                Ok(reloading) => self.reloading = Some(reloading),
                Err(sentence) => self.end_reload(Err(StartFailure { sentence, details: String::new() })),
            }
        }
        let Some(reloading) = self.reloading.take() else { return };
        match self.connections.are_ready(&reloading.starting) {
            Ok(false) => self.reloading = Some(reloading),
            Ok(true) => {
                self.apply(reloading);
                self.end_reload(Ok(()));
            }
            Err(error) => {
                self.connections.give_up(&reloading.starting);
                self.end_reload(Err(error));
            }
        }
    }

    /// Gives up the reload that has begun, if one has.
    pub(super) fn give_up_reload(&mut self) {
        self.reload_requested = false;
        if let Some(reloading) = self.reloading.take() {
            self.connections.give_up(&reloading.starting);
        }
    }

    fn end_reload(&mut self, result: Result<(), StartFailure>) {
        match result {
            Ok(()) => {
                self.reloads.0 += 1;
                journal::log_reloaded(&self.listeners.describe());
            }
            Err(StartFailure { sentence, details }) => {
                self.reloads.1 += 1;
                journal::log_reload_failed(&sentence, &details);
            }
        }
        self.notifier.ready(self.counts());
    }

    /// Prepares all that new settings need. Changes nothing that is in use.
    fn begin_reload(&mut self, new: Settings) -> Result<Reloading, String> {
        let plan = Plan::new(&new, &self.listeners, self.is_inherited)?;
        // The process model and the target of the log stay as they are until the next start.
        let process = Process { model: self.settings.process.model, ..new.process };
        let settings = Settings { process, ..new };
        self.connections
            .make_room(&settings)
            .map_err(|error| format!("unable to enlarge the scoreboard: {error}"))?;
        let starting = self.connections.start_fork_servers(&settings, &settings.services)?;
        self.connections.tolerate_broken(&starting);
        Ok(Reloading { settings, plan, starting })
    }

    fn apply(&mut self, Reloading { settings: new, plan, starting }: Reloading) {
        self.connections.switch_to(&starting, &new);
        plan.apply(&mut self.listeners);
        self.listeners.set_peer_timeout(new.peer_timeout);
        journal::change(new.log);
        for warning in &new.warnings {
            journal::log_system_limit_low(warning);
        }
        warn_of_restart(&self.settings, &new, self.is_inherited);
        let log = journal::LogSettings { target: self.settings.log.target, ..new.log };
        let listen = mem::take(&mut self.settings.listen);
        self.settings = Settings { log, listen, ..new };
        self.listeners.log_gaps(&self.settings.services);
        self.open_status_socket(Instant::now());
    }
}

/// What becomes of the listeners.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For each listener.
    fates: Vec<Fate>,
    /// For each socket that is not served: its service from now on, if one has its name.
    regained: Vec<Option<Arc<Service>>>,
    added: Vec<ServedListener>,
}

impl Plan {
    /// Plans the listeners for new settings, and binds those that are missing. Changes nothing else, so that a failure
    /// leaves the daemon as it is.
    ///
    /// # Errors
    /// A listener that cannot be bound, or no service for any: a sentence.
    pub(crate) fn new(
        settings: &Settings,
        listeners: &Listeners,
        is_inherited: bool,
    ) -> Result<Self, String> {
        let find = |name: &str| find_service(&settings.services, name).map(Arc::clone);
        let bound = match is_inherited {
            true => Vec::new(),
            false => {
                let kept = listeners.iter().filter(|entry| !entry.is_gone());
                let held: Vec<_> = kept.filter_map(|entry| entry.listener().configured()).collect();
                bind::bind_missing(&settings.listen, &held).map_err(|error| error.to_string())?
            }
        };
        let (mut fates, mut missing) = (Vec::new(), None);
        for entry in listeners.iter() {
            fates.push(match find_name(entry, &settings.listen).map(|name| (find(&name), name)) {
                None => Fate::Retire,
                Some((Ok(service), name)) => Fate::Serve(name, service),
                Some((Err(error), _)) => {
                    missing.get_or_insert(error);
                    Fate::Leave
                }
            });
        }
        let regained = listeners.unserved().find_services(&settings.services);
        let mut added = Vec::new();
        for listener in bound {
            let service = find(&listener.name)?;
            added.push(ServedListener::new(listener, service));
        }
        let is_any = fates.iter().any(|fate| matches!(fate, Fate::Serve(..)))
            || regained.iter().any(Option::is_some)
            || !added.is_empty();
        match missing {
            Some(error) if !is_any || !is_inherited => Err(error),
            _ => Ok(Self { fates, regained, added }),
        }
    }

    pub(crate) fn apply(self, listeners: &mut Listeners) {
        listeners.reassign(self.fates, self.regained, self.added);
    }
}

/// The name that a listener has by new settings; `None` if they do not have it.
fn find_name(entry: &ServedListener, tables: &[ListenTable]) -> Option<Arc<str>> {
    if entry.is_gone() {
        return None;
    }
    match entry.listener().configured() {
        None => Some(Arc::clone(&entry.listener().name)),
        Some(address) => {
            let table = tables.iter().find(|table| table.addresses.contains(address))?;
            Some(table.name.as_str().into())
        }
    }
}

/// Warns about changes that only a restart brings into effect. `old` keeps what is in effect.
fn warn_of_restart(old: &Settings, new: &Settings, is_inherited: bool) {
    let warn = |key: &str| journal::log_warning(&format!("a change of {key} takes effect at the next start"));
    if new.process.model != old.process.model {
        warn("process.model");
    }
    if new.log.target != old.log.target {
        warn("log.target");
    }
    // bind(2) and listen(2) have fixed these; systemd sets them for the sockets that it passes.
    for table in new.listen.iter().filter(|_| !is_inherited) {
        let Some(before) = old.listen.iter().find(|before| before.name == table.name) else { continue };
        if table.backlog != before.backlog {
            warn(&format!("listen.{}.backlog", table.name));
        }
        if table.mode != before.mode {
            warn(&format!("listen.{}.mode", table.name));
        }
    }
}
