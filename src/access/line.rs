//! What a line is made of.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::connection::{Identity, Peer};
use crate::journal::{self, AccessEntry};
use crate::uplink::Answered;

/// A request that was answered, and its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccessLine<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) service: &'a str,
    /// The client that a trusted proxy has named. None: the peer itself.
    pub(crate) client: Option<IpAddr>,
    /// The scheme by which the client has connected.
    pub(crate) scheme: &'a str,
    /// As its child has reported it.
    pub(crate) answered: &'a Answered<'a>,
    /// When it was answered.
    pub(crate) ended: SystemTime,
}

impl<'a> AccessLine<'a> {
    /// The line of a request that was answered at `ended`.
    pub(crate) fn new(
        identity: &'a Identity,
        service: &'a str,
        answered: &'a Answered<'a>,
        ended: SystemTime,
    ) -> Self {
        let client = identity.named_client().and_then(|client| client.ip());
        let scheme = if answered.is_https { "https" } else { "http" };
        Self { identity, service, client, scheme, answered, ended }
    }
}

impl AccessLine<'_> {
    /// The address of the client: without a port, as other servers write it.
    pub(crate) fn client(&self) -> String {
        match (self.client, self.identity.peer) {
            (Some(client), _) => client.to_canonical().to_string(),
            (None, Peer::Inet(address)) => address.ip().to_canonical().to_string(),
            (None, peer) => peer.to_string(),
        }
    }

    /// Sends the line, which is `text`, to the journal.
    pub(crate) fn log(&self, text: &str) {
        journal::log_access(&AccessEntry {
            identity: self.identity,
            service: self.service,
            client: &self.client(),
            scheme: self.scheme,
            protocol: self.protocol(),
            answered: self.answered,
            line: text,
        });
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_micros(self.answered.duration)
    }

    /// When the request began. A child that reports nonsense has the time at which it was answered.
    pub(super) fn started(&self) -> SystemTime {
        let is_valid = |time: &SystemTime| *time >= SystemTime::UNIX_EPOCH;
        self.ended.checked_sub(self.duration()).filter(is_valid).unwrap_or(self.ended)
    }

    /// `HTTP/1.1`; empty for a malformed request.
    pub(crate) fn protocol(&self) -> &'static str {
        match (self.answered.method, self.answered.minor) {
            (b"", _) => "",
            (_, 0) => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
    }
}
