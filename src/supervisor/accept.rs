//! The listeners, and how connections are taken from them: each is served, refused, or kept for a moment.

use std::sync::Arc;
use std::time::Instant;

use super::Supervisor;
use crate::connection::Connection;
use crate::listen::Listener;
use crate::service::Service;

/// A listener and the service that its name leads to.
#[derive(Debug)]
pub struct Entry {
    pub listener: Listener,
    pub service: Arc<Service>,
    /// It is not configured any more: whoever is in its backlog is served still, then it is closed.
    pub is_retiring: bool,
    /// It is left alone until then: it cannot be accepted from.
    pub resting_until: Option<Instant>,
}

impl Entry {
    pub fn new(listener: Listener, service: Arc<Service>) -> Self {
        Self { listener, service, is_retiring: false, resting_until: None }
    }

    pub fn is_resting(&self) -> bool {
        self.resting_until.is_some_and(|until| Instant::now() < until)
    }

    /// The listener's address and where it leads to.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.listener.address, self.service.name)
    }
}

impl Supervisor {
    /// Accepts from the listeners at which somebody waits. Each round begins with another one, so that a busy
    /// listener cannot take every slot from the others.
    pub(super) fn accept_from(&mut self, mut ready: Vec<usize>) {
        self.round = self.round.wrapping_add(1);
        if !ready.is_empty() {
            let first = self.round % ready.len();
            ready.rotate_left(first);
        }
        for index in ready {
            self.accept_batch(index);
        }
    }

    /// Accepts a batch of connections from one listener. True: nobody waits there any more.
    fn accept_batch(&mut self, index: usize) -> bool {
        for _ in 0..self.batch {
            let Entry { listener, service, .. } = &self.listeners[index];
            if !self.is_accepting()
                || self.listeners[index].is_resting()
                || !self.children.has_room_for(service)
            {
                return false;
            }
            match listener.accept() {
                Ok(Some(connection)) => {
                    let service = Arc::clone(service);
                    self.admit(connection, &service);
                }
                Ok(None) => return true,
                Err(error) => {
                    let until = self.admission.defer_accepting(&listener.name, &error, Instant::now());
                    self.listeners[index].resting_until = until;
                }
            }
        }
        false
    }

    /// Accepts who was in the backlog of those of our own sockets that shall be closed, and closes them when
    /// nobody waits there any more.
    pub(super) fn drain_listeners(&mut self) {
        if !self.life.is_accepting() {
            self.listeners.clear();
        }
        for index in (0..self.listeners.len()).rev() {
            if self.listeners[index].is_retiring && self.accept_batch(index) {
                self.listeners.remove(index);
            }
        }
    }

    /// Serves a connection that has just been accepted, or refuses it.
    fn admit(&mut self, connection: Connection, service: &Arc<Service>) {
        let now = connection.identity.accepted_at;
        match self.children.admit(&connection.identity.peer, service, now) {
            Ok(()) => self.serve(connection, service),
            Err(reason) => self.admission.refuse(connection, service, &reason, now),
        }
    }

    pub(super) fn serve(&mut self, connection: Connection, service: &Arc<Service>) {
        match self.children.serve(connection, service) {
            Ok(()) => self.admission.note_forked(),
            Err((connection, error)) => {
                self.admission.defer_connection(connection, Arc::clone(service), error, Instant::now());
            }
        }
    }
}
