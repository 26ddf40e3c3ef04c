//! Admission: whether a connection may have a process. By the access lists, by how many connections its source has,
//! by how fast its source connects, and by how the earlier connections of its source went.

use std::time::{Duration, Instant};

use super::children::Children;
use super::refusal::Reason;
use super::settings::AdmissionRules;
use super::sources::{FailureKind, Sources};
use crate::connection::Peer;
use crate::journal;
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::Service;
use crate::source::{Counted, Known, Source};

/// How a connection ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) phase: Phase,
    /// Of the last response.
    pub(crate) status: Option<u16>,
}

/// The rules, and what is known of sources.
#[derive(Debug)]
pub(crate) struct Admission {
    rules: AdmissionRules,
    sources: Sources,
    /// Those of clients that proxies have named.
    named_sources: Sources,
}

impl Admission {
    pub(crate) fn new(rules: AdmissionRules) -> Self {
        Self { rules, sources: Sources::default(), named_sources: Sources::default() }
    }

    /// Sets other rules. The state of sources is dropped when other prefixes define other sources.
    pub(crate) fn reconfigure(&mut self, rules: AdmissionRules) {
        if rules.prefixes != self.rules.prefixes {
            self.sources.clear();
            self.named_sources.clear();
        }
        self.rules = rules;
    }

    /// Whether the service has room for another connection.
    pub(crate) fn has_room(&self, service: &Service, children: &Children) -> bool {
        service.max_connections.is_none_or(|max| children.count_of_service(&service.name) < max)
    }

    /// Whether the access lists admit a client.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check_access(&self, client: &Peer, service: &Service) -> Result<(), Reason> {
        let is_admitted = self.rules.access.admits(client) && service.access.admits(client);
        if is_admitted { Ok(()) } else { Err(Reason::Denied) }
    }

    /// Whether a connection that arrives now may have a process, but for the per-source limits: see
    /// [`Self::check_source_limits`]. Counts as an arrival of its source.
    ///
    /// # Errors
    /// The reason to refuse the connection.
    pub(crate) fn check_arrival(
        &mut self,
        client: &Peer,
        known: Known,
        service: &Service,
        now: Instant,
    ) -> Result<(), Reason> {
        self.check_access(client, service)?;
        let mut counted = find_counted(client, service, &self.rules);
        let sources = if known == Known::ByProxy { &mut self.named_sources } else { &mut self.sources };
        counted
            .try_for_each(|source| sources.record_arrival(source, &self.rules, now).map_err(Reason::TooMuch))
    }

    /// Whether the source of a connection may have one more.
    ///
    /// # Errors
    /// The reason to refuse the connection.
    pub(crate) fn check_source_limits(
        &self,
        client: &Peer,
        known: Known,
        service: &Service,
        children: &Children,
    ) -> Result<(), Reason> {
        for (source, factor) in find_counted(client, service, &self.rules) {
            let is_from = |peer: &Peer| source.contains(peer);
            let network = (factor > 1).then_some(source);
            let max = self.rules.max_connections_per_source.saturating_mul(factor);
            if max > 0 && children.count_clients(None, known, is_from) >= max as usize {
                let key = "limits.max_connections_per_source";
                return Err(Reason::PerSourceLimit { network, count: max, key });
            }
            let max = service.max_connections_per_source.map(|max| max.saturating_mul(factor));
            if let Some(max) = max
                && children.count_clients(Some(&service.name), known, is_from) >= max as usize
            {
                let key = "max_connections_per_source of the service";
                return Err(Reason::PerSourceLimit { network, count: max, key });
            }
        }
        Ok(())
    }

    /// Counts the outcome of a connection for its source, or against it. A client that disconnects during a response
    /// has lost interest, like many a viewer of a video: that is no failure here.
    pub(crate) fn record_outcome(
        &mut self,
        client: &Peer,
        known: Known,
        service: &Service,
        ending: Ending,
        now: Instant,
    ) {
        let sources = if known == Known::ByProxy { &mut self.named_sources } else { &mut self.sources };
        for counted in find_counted(client, service, &self.rules) {
            let (source, _) = counted;
            match ending.outcome {
                Outcome::Served => sources.record_served(source),
                Outcome::ClientError if ending.phase != Phase::Writing => {
                    // A request without a password is served its 401.
                    let has_guessed = ending.status == Some(401);
                    let kind = if has_guessed { FailureKind::Password } else { FailureKind::Connection };
                    if let Some(penalty) = sources.record_failure(counted, kind, &self.rules, now) {
                        journal::log_penalized(source, penalty.failures, penalty.time);
                    }
                }
                _ => {}
            }
        }
    }

    /// Sources that are penalized now.
    pub(crate) fn count_penalized(&self, now: Instant) -> usize {
        self.sources.count_penalized(now) + self.named_sources.count_penalized(now)
    }

    /// Sources that are penalized now, and for how long.
    pub(crate) fn list_penalized(&self, now: Instant) -> Vec<(Source, Duration)> {
        self.sources.list_penalized(now)
    }

    /// What the limits count a peer by.
    pub(crate) fn source_of(&self, peer: &Peer) -> Option<Source> {
        Source::of(peer, self.rules.prefixes)
    }
}

/// What the limits count a client by, if it is neither exempt nor a trusted proxy.
fn find_counted(
    client: &Peer,
    service: &Service,
    rules: &AdmissionRules,
) -> impl Iterator<Item = Counted> + use<> {
    let is_counted = !rules.exempt.contains(client) && !service.trusts(client);
    Source::find_all(client, rules.prefixes).filter(move |_| is_counted)
}
