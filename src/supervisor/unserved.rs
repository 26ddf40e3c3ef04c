//! Sockets that were handed in and are not served: no service has their name, or lsbaws serves no socket of their kind.
//! They are left alone, so that a reload can bring a service for what waits in their backlogs.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::journal;
use crate::listen::activation::NO_NAME;
use crate::listen::{Listener, Unusable, unit};
use crate::service::{Service, Services, find_service};

/// Sockets that are not served.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    listeners: Vec<Listener>,
    unusable: Vec<Unusable>,
}

impl Unserved {
    pub(crate) fn new(unusable: Vec<Unusable>) -> Self {
        Self { listeners: Vec::new(), unusable }
    }

    pub(crate) fn add(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    /// For each listener the service that has its name now.
    pub(crate) fn find_services(&self, services: &Services) -> Vec<Option<Arc<Service>>> {
        let find = |listener: &Listener| find_service(services, &listener.name).ok().map(Arc::clone);
        self.listeners.iter().map(find).collect()
    }

    /// Takes the listeners out that have a service now: those of [`Self::find_services`].
    pub(crate) fn take(&mut self, found: Vec<Option<Arc<Service>>>) -> Vec<(Listener, Arc<Service>)> {
        let mut taken = Vec::new();
        for (listener, service) in std::mem::take(&mut self.listeners).into_iter().zip(found) {
            match service {
                Some(service) => taken.push((listener, service)),
                None => self.listeners.push(listener),
            }
        }
        taken
    }

    /// Whether a connection waits there. systemd would start the daemon for it at once if it stopped.
    pub(crate) fn has_waiting(&self) -> bool {
        let listeners = self.listeners.iter().map(AsFd::as_fd);
        let sockets = listeners.chain(self.unusable.iter().map(AsFd::as_fd));
        let mut fds: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
        !fds.is_empty() && poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Writes an error entry for each.
    pub(crate) fn log(&self, services: &Services) {
        for listener in &self.listeners {
            if let Err(problem) = find_service(services, &listener.name) {
                let subject = format!("socket \"{}\" ({})", listener.name, listener.address);
                log(&listener.name, &subject, &problem);
            }
        }
        for socket in &self.unusable {
            log(&socket.name, &socket.subject, &socket.problem);
        }
    }
}

fn log(name: &str, subject: &str, problem: &str) {
    let origin = match unit::find_socket_unit(Path::new("/"), name) {
        _ if name.ends_with(".socket") => format!("its unit {name} has no FileDescriptorName="),
        _ if name == NO_NAME => "it came without a name".to_owned(),
        Some(unit) => format!("its unit {unit} has FileDescriptorName={name}"),
        None => "its unit is not known; the name is the FileDescriptorName= there".to_owned(),
    };
    journal::log_socket_not_served(name, &format!("{subject} is not served: {problem}; {origin}"), problem);
}
