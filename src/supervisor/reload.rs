//! SIGHUP: new settings in place of the old ones, without touching the connections that are served. They keep what
//! they were forked with.

use std::sync::Arc;

use super::listeners::{Listeners, ServedListener};
use super::settings::Settings;
use crate::journal;
use crate::listen::{ListenTable, bind};
use crate::service::{Service, find_service};

/// What becomes of the listeners.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For each listener its name and service from now on, or none if it is given up.
    kept: Vec<Option<(Arc<str>, Arc<Service>)>>,
    added: Vec<ServedListener>,
}

impl Plan {
    /// Plans the listeners for new settings, and binds those that are missing. Changes nothing else, so that a failure
    /// leaves the daemon as it is.
    ///
    /// # Errors
    /// A listener that cannot be bound, or that leads to no service: a sentence.
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
        let mut kept = Vec::new();
        for entry in listeners.iter() {
            let name = find_name(entry, &settings.listen);
            kept.push(name.map(|name| find(&name).map(|service| (name, service))).transpose()?);
        }
        let mut added = Vec::new();
        for listener in bound {
            let service = find(&listener.name)?;
            added.push(ServedListener::new(listener, service));
        }
        Ok(Self { kept, added })
    }

    pub(crate) fn apply(self, listeners: &mut Listeners) {
        listeners.reassign(self.kept, self.added);
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
pub(crate) fn warn_of_restart(old: &Settings, new: &Settings, is_inherited: bool) {
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
