//! SIGHUP: a new configuration in place of the old one, without touching the connections that there are. They
//! keep what they were forked with.

use std::sync::Arc;

use super::children::Children;
use super::{Entry, Supervisor};
use crate::child::spare::Way;
use crate::config::{Address, Config, Limits, Process, find_service};
use crate::http::connection::RESPONSE_ROOM;
use crate::journal;
use crate::listen::bind;
use crate::walls;

impl Supervisor {
    /// Reads the configuration and applies it; or keeps the old one, and says why.
    pub(super) fn reload(&mut self) {
        self.notifier.reloading();
        match (self.reread)().and_then(|config| self.apply(config)) {
            Ok(()) => {
                let addresses: Vec<_> = self.listeners.iter().map(Entry::describe).collect();
                journal::note_reloaded(&addresses.join(", "));
            }
            Err(error) => journal::note_reload_failed(&error),
        }
        self.notifier.ready(self.counts());
    }

    /// All or nothing. The process model and where records go stay as they are until the next start.
    fn apply(&mut self, config: Config) -> Result<(), String> {
        let find = |name: &str| find_service(&config.services, name);
        let fail = |error: &dyn std::error::Error| error.to_string();
        // One that is given up, and whose file is gone, is not held: another takes its place.
        let is_gone = |entry: &Entry| {
            entry.is_retiring && matches!(entry.listener.configured(), Some(Address::Path(_)))
        };
        let kept = self.listeners.iter().filter(|entry| !is_gone(entry));
        let held: Vec<_> = kept.filter_map(|entry| entry.listener.configured()).collect();
        let bound = match self.is_inherited {
            true => Vec::new(),
            false => bind::bind_missing(&config.listen, &held).map_err(|error| fail(&error))?,
        };
        // What becomes of each listener: the name that it has now, and the service of that name.
        let mut plans = Vec::new();
        for entry in &self.listeners {
            let listener = &entry.listener;
            let name = match listener.configured().filter(|_| !is_gone(entry)) {
                None if is_gone(entry) => None,
                None => Some(Arc::clone(&listener.name)),
                Some(address) => {
                    let table = config.listen.iter().find(|table| table.addresses.contains(address));
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
        for warning in walls::find_warnings(&config, self.children.count()) {
            journal::note_wall_ahead(&warning);
        }
        let process = Process { model: self.process.model, ..config.process };
        self.children.reconfigure(config.limits, process).map_err(|error| fail(&error))?;
        if config.admission.prefixes != self.children.rules.prefixes {
            self.children.sources.clear();
        }
        self.admission.set_prefixes(config.admission.prefixes);
        let terms = config.listen_terms();
        self.children.rules = config.admission;
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
        self.apply_ways();
        journal::change(config.log_level, config.log_max_rate);
        for (key, is_changed) in [
            ("process.model", config.process.model != process.model),
            ("log.target", config.log_target != self.log_target),
            ("listen.NAME.backlog and mode", !self.is_inherited && terms != self.listen_terms),
        ] {
            if is_changed {
                journal::note_warning(&format!("{key}: takes effect at the next start"));
            }
        }
        Ok(())
    }

    /// Lets spares know where connections may come from.
    pub(super) fn apply_ways(&mut self) {
        let way = |entry: &Entry| (Arc::clone(&entry.listener.name), Arc::clone(&entry.service));
        let ways: Vec<Way> = self.listeners.iter().map(way).collect();
        self.children.spares.retire(ways);
    }
}

impl Children {
    /// What holds from the next fork on.
    fn reconfigure(&mut self, limits: Limits, process: Process) -> std::io::Result<()> {
        self.scoreboard.resize(limits.max_connections + process.spares)?;
        let missing = limits.max_connections.saturating_sub(self.by_pid.len());
        self.by_pid.reserve(missing);
        self.buffer.resize(limits.max_head_size + RESPONSE_ROOM, 0);
        (self.limits, self.process) = (limits, process);
        Ok(())
    }
}
