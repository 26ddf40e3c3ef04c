//! Making room for connections that wait because a limit is reached: see [`super::shedding`] for the choice.

use std::time::{Duration, Instant};

use super::Supervisor;
use super::connections::Connections;
use super::shedding::choose;
use crate::service::Service;

/// How often the supervisor looks, while the limit is reached, whether connections wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Asks children to make room for the connections that wait because a limit is reached. The listeners are not polled
    /// then, so this looks at them from time to time.
    pub(super) fn shed(&mut self, now: Instant) {
        if self.next_look.is_some_and(|at| now < at) {
            return;
        }
        let mut is_full = false;
        for entry in self.listeners.iter().filter(|entry| !entry.is_paused(now)) {
            if !self.connections.is_full_for(entry.service()) {
                continue;
            }
            is_full = true;
            let waiting = entry.listener().count_waiting();
            if waiting > 0 {
                self.connections.shed_for(entry.service(), waiting, now);
            }
        }
        self.next_look = is_full.then(|| now + LOOK_INTERVAL);
    }
}

impl Connections {
    /// Whether the limits keep connections of the service waiting, and nothing else does.
    fn is_full_for(&self, service: &Service) -> bool {
        self.backpressure.is_open() && !(self.has_room() && self.has_room_for(service))
    }

    /// Asks children to make room for `waiting` connections of the service: its own ones, and unless its own limit is
    /// reached those of services that have more than they keep.
    fn shed_for(&mut self, service: &Service, waiting: usize, now: Instant) {
        let Self { children, admission, reserves, .. } = self;
        let mut services = vec![service.name.as_str()];
        if admission.has_room(service, children) {
            services.extend(reserves.find_exceeded(|name| children.count_of_service(name)));
        }
        let is_asked = |service: &Service| service.is_http() && services.contains(&service.name.as_str());
        let asked: Vec<_> = children.iter().filter(|child| is_asked(child.service())).collect();
        let candidates: Vec<_> = asked.iter().map(|child| child.as_candidate(now)).collect();
        let slots: Vec<_> = asked.iter().map(|child| child.slot().index()).collect();
        for (index, request) in choose(&candidates, waiting) {
            children.make_room(slots[index], request);
        }
    }
}
