//! SIGHUP: a new configuration in place of the old one, without touching the connections that there are. They
//! keep what they were forked with.

use std::sync::Arc;

use super::children::Children;
use super::settings::{Process, Settings};
use super::{Entry, Supervisor};
use crate::child::session::RESPONSE_ROOM;
use crate::child::spare::Binding;
use crate::http::limits::Limits;
use crate::journal;
use crate::listen::address::Address;
use crate::listen::{ListenTable, bind};
use crate::service::find_service;

impl Supervisor {
    /// Reads the configuration and applies it; or keeps the old one, and says why.
    pub(super) fn reload(&mut self) {
        self.notifier.reloading();
        match (self.reload_settings)(self.children.count()).and_then(|settings| self.apply(settings)) {
            Ok(()) => {
                let addresses: Vec<_> = self.listeners.iter().map(Entry::describe).collect();
                journal::log_reloaded(&addresses.join(", "));
            }
            Err(error) => journal::log_reload_failed(&error),
        }
        self.notifier.ready(self.counts());
    }

    /// All or nothing. The process model and where records go stay as they are until the next start.
    fn apply(&mut self, settings: Settings) -> Result<(), String> {
        let find = |name: &str| find_service(&settings.services, name);
        let fail = |error: &dyn std::error::Error| error.to_string();
        // One that is given up, and whose file is gone, is not held: another takes its place.
        let is_gone = |entry: &Entry| {
            entry.is_retiring && matches!(entry.listener.configured(), Some(Address::Path(_)))
        };
        let kept = self.listeners.iter().filter(|entry| !is_gone(entry));
        let held: Vec<_> = kept.filter_map(|entry| entry.listener.configured()).collect();
        let bound = match self.is_inherited {
            true => Vec::new(),
            false => bind::bind_missing(&settings.listen, &held).map_err(|error| fail(&error))?,
        };
        // What becomes of each listener: the name that it has now, and the service of that name.
        let mut plans = Vec::new();
        for entry in &self.listeners {
            let listener = &entry.listener;
            let name = match listener.configured().filter(|_| !is_gone(entry)) {
                None if is_gone(entry) => None,
                None => Some(Arc::clone(&listener.name)),
                Some(address) => {
                    let table = settings.listen.iter().find(|table| table.addresses.contains(address));
                    table.map(|table| Arc::from(table.name.as_str()))
                }
            };
            plans.push(name.map(|name: Arc<str>| find(&name).map(|service| (name, service))).transpose()?);
        }
        let mut added = Vec::new();
        for listener in bound {
            let service = find(&listener.name)?;
            added.push(Entry::new(listener, service));
        }
        for warning in &settings.warnings {
            journal::log_wall_ahead(warning);
        }
        let process = Process { model: self.process.model, ..settings.process };
        self.children.reconfigure(settings.http, process).map_err(|error| fail(&error))?;
        if settings.admission.prefixes != self.children.rules.prefixes {
            self.children.sources.clear();
        }
        self.admission.set_prefixes(settings.admission.prefixes);
        self.children.rules = settings.admission;
        for (entry, plan) in self.listeners.iter_mut().zip(plans) {
            entry.is_retiring = plan.is_none();
            match plan {
                Some((name, service)) => {
                    (entry.listener.name, entry.service) = (name, service);
                }
                None => entry.listener.unlink(),
            }
        }
        self.listeners.extend(added);
        self.process = process;
        self.apply_bindings();
        journal::change(settings.log);
        for (key, is_changed) in [
            ("process.model", settings.process.model != process.model),
            ("log.target", settings.log.target != self.log.target),
            (
                "listen.NAME.backlog and mode",
                !self.is_inherited && has_other_terms(&settings.listen, &self.listen),
            ),
        ] {
            if is_changed {
                journal::log_warning(&format!("{key}: takes effect at the next start"));
            }
        }
        Ok(())
    }

    /// Lets spares know where connections may come from.
    pub(super) fn apply_bindings(&mut self) {
        let binding = |entry: &Entry| (Arc::clone(&entry.listener.name), Arc::clone(&entry.service));
        let bindings: Vec<Binding> = self.listeners.iter().map(binding).collect();
        self.children.spares.retire(bindings);
    }
}

/// Backlog or mode of a listener differ, which bind(2) and listen(2) have fixed.
fn has_other_terms(one: &[ListenTable], other: &[ListenTable]) -> bool {
    let terms = |tables: &[ListenTable]| -> Vec<_> {
        tables.iter().map(|table| (table.name.clone(), table.backlog, table.mode)).collect()
    };
    terms(one) != terms(other)
}

impl Children {
    /// What holds from the next fork on.
    fn reconfigure(&mut self, limits: Limits, process: Process) -> std::io::Result<()> {
        self.scoreboard.resize(process.max_connections + process.spares)?;
        let missing = process.max_connections.saturating_sub(self.by_pid.len());
        self.by_pid.reserve(missing);
        self.buffer.resize(limits.max_head_size + RESPONSE_ROOM, 0);
        (self.limits, self.process) = (limits, process);
        Ok(())
    }
}
