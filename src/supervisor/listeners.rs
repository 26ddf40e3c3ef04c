//! The listeners: what is polled, which comes first, and which are given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::listen::Listener;
use crate::listen::address::Address;
use crate::service::Service;

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

/// All listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    entries: Vec<ServedListener>,
    round: usize,
}

impl Listeners {
    pub(crate) fn new(entries: Vec<ServedListener>) -> Self {
        Self { entries, round: 0 }
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
    }

    /// Gives up all, since the daemon stops. A socket that was handed in lives on, and the next daemon serves its
    /// backlog. The backlog of a socket that ends with this process is served here: to its clients those connections
    /// are accepted.
    pub(crate) fn retire_all(&mut self) {
        self.entries.retain_mut(|entry| {
            entry.retire();
            entry.listener.is_owned()
        });
    }

    /// Applies a reload: for each listener its name and service from now on, or none if it is given up; then `added`.
    pub(crate) fn reassign(
        &mut self,
        plans: Vec<Option<(Arc<str>, Arc<Service>)>>,
        added: Vec<ServedListener>,
    ) {
        for (entry, plan) in self.entries.iter_mut().zip(plans) {
            match plan {
                Some((name, service)) => {
                    entry.listener.rename(name);
                    entry.service = service;
                    entry.is_retiring = false;
                }
                None => entry.retire(),
            }
        }
        self.entries.extend(added);
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

    /// When the pause of a listener ends.
    pub(crate) fn next_event(&self, now: Instant) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.paused_until.filter(|&until| until > now)).min()
    }
}
