//! Which requests a route answers at all. Looked at before its handler does anything: before the method, the content and
//! the files of the request.

use serde::{Deserialize, Serialize};

use super::auth::BasicAuth;
use super::exchange::Exchange;
use super::login::LoginLimit;
use crate::http::failure::Failure;
use crate::outcome::Outcome;
use crate::refusal::RequestRefusal;
use crate::source::AccessList;

/// The conditions of a route that does not answer every client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) clients: AccessList,
    pub(crate) auth: Option<BasicAuth>,
}

impl Access {
    /// Answers a request that must not reach the handler. `None`: it may.
    ///
    /// # Errors
    /// The client has gone, or reads too slowly.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse<'c>(
        &'c self,
        exchange: &mut Exchange<'_, 'c>,
        limit: Option<&LoginLimit>,
    ) -> Result<Option<Outcome>, Failure> {
        if !self.clients.admits(exchange.client_peer()) {
            let reason = "this address is not allowed here";
            exchange.slot.set_refusal(RequestRefusal::Denied);
            return exchange.fail(403, reason, Outcome::Refused).map(Some);
        }
        match (&self.auth, limit) {
            (Some(auth), Some(limit)) => auth.refuse(exchange, limit),
            (Some(_), None) => unreachable!("a site with authentication has a limit of it"),
            (None, _) => Ok(None),
        }
    }
}
