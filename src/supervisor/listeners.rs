//! The listeners: what is polled, which comes first, and which are given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::unserved::Unserved;
use crate::journal;
use crate::listen::Listener;
use crate::listen::address::Address;
use crate::service::{Service, Services, describe_unreached};
use crate::status::ListenerStatus;

/// A listener and the service that its name leads to.
#[derive(Debug)]
pub(crate) struct ServedListener {
    listener: Listener,
    service: Arc<Service>,
    /// It is not configured any more: the connections in its backlog are served, then it is closed.
    is_retiring: bool,
    /// accept(2) has failed there: it is left alone until then.
    paused_until: Option<Instant>,
}

impl ServedListener {
    pub(crate) fn new(listener: Listener, service: Arc<Service>) -> Self {
        Self { listener, service, is_retiring: false, paused_until: None }
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub(crate) fn report(&self) -> ListenerStatus {
        ListenerStatus {
            address: self.listener.address.clone(),
            service: self.service.name.clone(),
            waiting: self.listener.count_waiting(),
        }
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    pub(crate) fn pause(&mut self, until: Option<Instant>) {
        self.paused_until = until;
    }

    /// It is a Unix socket that is given up, and whose file is gone: another listener may take its place.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_retiring && matches!(self.listener.configured(), Some(Address::Path(_)))
    }

    /// Gives the listener up: new clients cannot find a Unix socket, and the backlog is still served.
    fn retire(&mut self) {
        self.listener.unlink();
        self.is_retiring = true;
    }
}

/// All listeners, and the sockets that are not served.
#[derive(Debug)]
pub(crate) struct Listeners {
    entries: Vec<ServedListener>,
    unserved: Unserved,
    round: usize,
}

/// What becomes of a listener by a reload.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It has this name and service from now on.
    Serve(Arc<str>, Arc<Service>),
    /// It was bound here, and is given up.
    Retire,
    /// It was handed in, and no service is for it any more: connections stay in its backlog.
    Leave,
}

impl Listeners {
    pub(crate) fn new(entries: Vec<ServedListener>, unserved: Unserved) -> Self {
        Self { entries, unserved, round: 0 }
    }

    pub(crate) fn unserved(&self) -> &Unserved {
        &self.unserved
    }

    /// Whether a connection waits at a socket that is not served.
    pub(crate) fn has_unserved_waiting(&self) -> bool {
        self.unserved.has_waiting()
    }

    /// Writes an entry for each socket that is not served, and for each service that no listener leads to.
    pub(crate) fn log_gaps(&self, services: &Services) {
        self.unserved.log(services);
        let is_reached = |name: &String| {
            self.entries.iter().any(|entry| !entry.is_retiring && entry.service.name == *name)
        };
        for name in services.keys().filter(|name| !is_reached(name)) {
            journal::log_service_unreached(name, &describe_unreached(name));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServedListener> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, index: usize) -> &ServedListener {
        &self.entries[index]
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut ServedListener {
        &mut self.entries[index]
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Orders indices so that each round begins with another listener: a busy one cannot take every slot from the
    /// others.
    pub(crate) fn take_turns(&mut self, mut ready: Vec<usize>) -> Vec<usize> {
        self.round = self.round.wrapping_add(1);
        if !ready.is_empty() {
            let first = self.round % ready.len();
            ready.rotate_left(first);
        }
        ready
    }

    /// Those that are given up, the last first: removing one moves none of the others.
    pub(crate) fn list_retiring(&self) -> Vec<usize> {
        (0..self.entries.len()).rev().filter(|&index| self.entries[index].is_retiring).collect()
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.entries.remove(index);
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.unserved = Unserved::default();
    }

    /// Gives up all, since the daemon stops. A socket that was handed in lives on, and the next daemon serves its
    /// backlog. The backlog of a socket that ends with this process is served here: to its clients those connections
    /// are accepted.
    pub(crate) fn retire_all(&mut self) {
        self.unserved = Unserved::default();
        self.entries.retain_mut(|entry| {
            entry.retire();
            entry.listener.is_owned()
        });
    }

    /// Applies a reload: what becomes of each listener, the service of each socket that was not served, if it has one
    /// now, and new listeners.
    pub(crate) fn reassign(
        &mut self,
        fates: Vec<Fate>,
        regained: Vec<Option<Arc<Service>>>,
        added: Vec<ServedListener>,
    ) {
        let regained = self.unserved.take(regained);
        for (mut entry, fate) in std::mem::take(&mut self.entries).into_iter().zip(fates) {
            match fate {
                Fate::Serve(name, service) => {
                    entry.listener.rename(name);
                    entry.service = service;
                    entry.is_retiring = false;
                }
                Fate::Retire => entry.retire(),
                Fate::Leave => {
                    self.unserved.add(entry.listener);
                    continue;
                }
            }
            self.entries.push(entry);
        }
        let regained = regained.into_iter().map(|(listener, service)| ServedListener::new(listener, service));
        self.entries.extend(regained.chain(added));
    }

    /// See [`Listener::set_peer_timeout`].
    pub(crate) fn set_peer_timeout(&self, timeout: Duration) {
        self.entries.iter().for_each(|entry| entry.listener.set_peer_timeout(timeout));
    }

    /// The addresses, each with its service, without listeners that are given up.
    pub(crate) fn describe(&self) -> String {
        let kept = self.entries.iter().filter(|entry| !entry.is_retiring);
        let describe =
            |entry: &ServedListener| format!("{} ({})", entry.listener.address, entry.service.name);
        kept.map(describe).collect::<Vec<_>>().join(", ")
    }

    /// Where clients of HTTP find them.
    pub(crate) fn list_urls(&self) -> Vec<String> {
        self.entries.iter().flat_map(|entry| entry.listener.list_urls()).collect()
    }

    /// When the pause of a listener ends.
    pub(crate) fn next_event(&self, now: Instant) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.paused_until.filter(|&until| until > now)).min()
    }
}
