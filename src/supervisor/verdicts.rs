//! Who may have a process: by the lists, by how many connections their source has, and by how those went that it
//! had before.

use std::time::Instant;

use super::children::Children;
use super::refusals::Reason;
use crate::connection::Peer;
use crate::journal;
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::Service;
use crate::source::Source;

impl Children {
    /// There is room for another connection of that service.
    pub fn has_room_for(&self, service: &Service) -> bool {
        service.max_connections.is_none_or(|most| self.count_of(service, None) < most)
    }

    /// Whether a connection may have a process, or why not. It counts as an arrival of its source.
    pub fn admit(&mut self, peer: &Peer, service: &Service, now: Instant) -> Result<(), Reason<'static>> {
        let rules = &self.rules;
        if !rules.access.admits(peer) || !service.access.admits(peer) {
            return Err(Reason::Denied);
        }
        let Some(source) = self.find_source(peer) else { return Ok(()) };
        self.sources.note_arrival(source, rules, now).map_err(Reason::TooMuch)?;
        self.check_share(service, source).or_else(|_| {
            // Whoever comes again at once comes before the end of its last child is known. An error comes again.
            let _ = self.reap();
            self.check_share(service, source)
        })
    }

    /// Whether a source may have one more connection.
    fn check_share(&self, service: &Service, source: Source) -> Result<(), Reason<'static>> {
        let most = self.rules.max_connections_per_source;
        if most > 0 && self.count_from(source) >= most as usize {
            return Err(Reason::Share(most, "limits.max_connections_per_source"));
        }
        if let Some(most) = service.max_connections_per_source
            && self.count_of(service, Some(source)) >= most as usize
        {
            return Err(Reason::Share(most, "max_connections_per_source of the service"));
        }
        Ok(())
    }

    /// What a connection of that peer came to counts for its source, or against it. Whoever leaves in the middle of a
    /// response has lost interest, like many a player of videos: that is no fault here.
    pub(super) fn note_verdict(&mut self, peer: &Peer, outcome: Option<Outcome>, phase: Phase) {
        let Some(source) = self.find_source(peer) else { return };
        match outcome {
            Some(Outcome::Served) => self.sources.note_served(source),
            Some(Outcome::ClientError) if phase != Phase::Writing => {
                if let Some(penalty) = self.sources.note_fault(source, &self.rules, Instant::now()) {
                    journal::log_punished(source, penalty.faults, penalty.time);
                }
            }
            _ => {}
        }
    }

    /// The source that a peer counts for, if it is not exempt.
    fn find_source(&self, peer: &Peer) -> Option<Source> {
        let source = Source::of(peer, self.rules.prefixes)?;
        (!self.rules.exempt.contains(peer)).then_some(source)
    }

    /// Connections of one source. They are counted when it matters rather than kept count of: nothing can be
    /// forgotten or counted twice, and there is nothing to write between two forks.
    fn count_from(&self, source: Source) -> usize {
        let is_from = |peer: &Peer| Source::of(peer, self.rules.prefixes) == Some(source);
        self.by_pid.iter().filter(|(_, child)| is_from(&child.identity.peer)).count()
    }

    /// Connections of one service, by its name: those from before a reload count as well.
    fn count_of(&self, service: &Service, source: Option<Source>) -> usize {
        let is_from = |peer: &Peer| source.is_none() || Source::of(peer, self.rules.prefixes) == source;
        let is_of = |child: &super::children::Child| child.service.name == service.name;
        self.by_pid.iter().filter(|(_, child)| is_of(child) && is_from(&child.identity.peer)).count()
    }
}
