//! A trusted proxy as the peer of a connection, and what it reports about each request: the client, the host, and ids.

use std::cell::Cell;

use crate::clients::Gate;
use crate::connection::{Identity, Peer};
use crate::handler::exchange::ClientSide;
use crate::http::failure::Failure;
use crate::http::forwarded;
use crate::http::proxy_protocol::ProxyHeader;
use crate::http::request::Request;
use crate::http::request_id::{self, UniqueId};
use crate::refusal::Refusal;
use crate::service::Service;

/// A trusted proxy, and its header of the PROXY protocol.
pub(super) struct Proxy<'c> {
    service: &'c Service,
    gate: &'c Gate<'c>,
    identity: &'c Identity,
    header: ProxyHeader,
    /// The client that was asked about last.
    asked: Cell<Option<Peer>>,
}

/// Why the client of a request is not served.
pub(super) enum ClientRefusal {
    /// The proxy describes it by invalid fields.
    Invalid(Failure),
    Refused(Refusal),
}

impl<'c> Proxy<'c> {
    /// `None`: the peer is no trusted proxy.
    pub(super) fn new(
        service: &'c Service,
        gate: &'c Gate<'c>,
        identity: &'c Identity,
        header: Option<ProxyHeader>,
    ) -> Option<Self> {
        service.trusts(&identity.peer).then(|| Self {
            service,
            gate,
            identity,
            header: header.unwrap_or_default(),
            // See `introduction::receive`.
            asked: Cell::new(identity.named_client()),
        })
    }

    /// Finds the client of a request, and asks whether it is served. The host that the proxy names replaces that of the
    /// request, which gets the ids of the proxy.
    ///
    /// # Errors
    /// It is not served.
    #[cold]
    #[inline(never)]
    pub(super) fn find_client<'r>(&'r self, request: &mut Request<'r>) -> Result<ClientSide, ClientRefusal> {
        let peer = self.identity.peer;
        let mut client = ClientSide::of_connection(client_of(&self.header, peer), &self.header);
        // A client that the PROXY protocol has named may be a proxy as well. The fields of a client that it does not name are not read.
        let are_of_proxy = client.address == peer && !self.header.hides_client
            || client.address != peer && self.service.trusts(&client.address);
        self.find_ids(are_of_proxy, request);
        if are_of_proxy {
            let fields = forwarded::read(request.fields, |peer| self.service.trusts(peer))
                .map_err(ClientRefusal::Invalid)?;
            client.add_forwarded(&fields);
            request.authority = fields.authority.unwrap_or(request.authority);
        }
        self.identity.set_client(client.address);
        if self.asked.get().is_none_or(|asked| !asked.is_same_host(&client.address)) {
            self.gate.ask(client.address, peer).map_err(ClientRefusal::Refused)?;
            self.asked.set(Some(client.address));
        }
        Ok(client)
    }

    /// Finds the ids of a request. A field that is configured as that of the id is the proxy's, whatever the others are.
    fn find_ids<'r>(&'r self, are_of_proxy: bool, request: &mut Request<'r>) {
        let name = self.service.request_id_header.as_deref();
        let id = name.and_then(|name| request_id::read_id(request.fields, name));
        request.id = id.or(self.header.unique_id.as_ref().map(UniqueId::as_str));
        if are_of_proxy || name.is_some() {
            request.trace_id = request_id::read_trace_id(request.fields);
        }
    }

    /// What a proxy sends that names no client is not that of the client before it, which must not be recorded or penalized
    /// for it. (The client that a header of the PROXY protocol names stays.)
    #[cold]
    pub(super) fn forget_client(&self) {
        let own = client_of(&self.header, self.identity.peer);
        if self.asked.get().is_some_and(|asked| asked != own) || self.identity.client() != own {
            self.identity.set_client(own);
            self.gate.forget();
        }
    }
}

/// The client that a header names: the peer, if it names none.
pub(super) fn client_of(header: &ProxyHeader, peer: Peer) -> Peer {
    header.addresses.map_or(peer, |(client, _)| Peer::Inet(client))
}
