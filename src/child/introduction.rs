//! The header of the PROXY protocol, by which a proxy introduces its client: read before anything else of the connection.

use std::os::fd::AsFd;
use std::time::Duration;

use super::proxy::client_of;
use super::work::Work;
use crate::http::budget::TimeBudget;
use crate::http::proxy_protocol;
use crate::http::stream::Stream;
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::Protocol;

/// How long, and for how many bytes, a refused client may take to read why.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// Reads the header, unless it is read already, and asks whether the client that it names is served. (An HTTP session of a
/// header that names none asks for each request.)
///
/// # Errors
/// The outcome of a connection without a valid header, or whose client is refused.
#[cold]
#[inline(never)]
pub(super) fn receive(work: &mut Work<'_>) -> Result<(), Outcome> {
    if work.header.is_some() {
        return Ok(());
    }
    let Work { connection, service, kit, gate, .. } = &*work;
    let identity = &connection.identity;
    let stream = Stream::new(connection.socket.as_fd(), kit.slot, service.deadline(identity), kit.wake_up);
    kit.slot.enter(Phase::Reading);
    let header = match proxy_protocol::read(&stream, identity.accepted_at + kit.limits.head_timeout) {
        Ok(header) => header,
        Err(error) => {
            kit.slot.set_header_error(error);
            return Err(Outcome::ClientError);
        }
    };
    if let Some(id) = &header.unique_id {
        kit.slot.set_request_id(id.as_str().as_bytes());
    }
    let client = client_of(&header, identity.peer);
    identity.set_client(client);
    if (client != identity.peer || matches!(service.protocol, Protocol::Exec(_)))
        && let Err(refusal) = gate.ask(client, identity.peer)
    {
        let text = service.refuse(refusal.status(), refusal.sentence(), refusal.retry_after);
        let mut budget = TimeBudget::for_response(kit.limits);
        if !text.is_empty() && stream.send_all(text.as_bytes(), false, &mut budget).is_ok() {
            stream.close_lingering(&mut [0; 4096], LINGER_TIME, LINGER_BYTES);
        }
        return Err(Outcome::Refused);
    }
    work.header = Some(header);
    Ok(())
}
