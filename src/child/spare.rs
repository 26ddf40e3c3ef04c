//! A spare: a child that is forked ahead of its connection, and waits for it, so that the client does not wait for
//! the fork.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::run;
use super::work::{Kit, Work};
use crate::connection::{Connection, Id};
use crate::outcome::Outcome;
use crate::service::Service;
use crate::sys::{self, RemoteAddress};

/// A listener's name and the service that it leads to.
pub(crate) type Binding = (Arc<str>, Arc<Service>);

/// Bytes of the handover message: the connection's id, and the index of its binding.
const HANDOVER_LENGTH: usize = 20;

/// The message that comes with a connection.
pub(crate) fn write_handover(id: Id, binding: u32) -> [u8; HANDOVER_LENGTH] {
    let mut message = [0; HANDOVER_LENGTH];
    message[..16].copy_from_slice(&id.to_bytes());
    message[16..].copy_from_slice(&binding.to_ne_bytes());
    message
}

fn read_handover(message: &[u8; HANDOVER_LENGTH]) -> (Id, usize) {
    let (mut id, mut binding) = ([0; 16], [0; 4]);
    id.copy_from_slice(&message[..16]);
    binding.copy_from_slice(&message[16..]);
    (Id::from_bytes(id), u32::from_ne_bytes(binding) as usize)
}

/// Waits for a connection on `channel` and serves it; without one, when the channel is closed, exits. Body of a
/// forked child. Returns the exit code.
pub(crate) fn serve_when_handed_over(channel: BorrowedFd<'_>, bindings: &[Binding], mut kit: Kit<'_>) -> u8 {
    let (socket, message) = match wait(channel, bindings, &mut kit) {
        Ok(Some(received)) => received,
        Ok(None) => return Outcome::Served.code(),
        Err(_) => return Outcome::SystemError.code(),
    };
    let (id, binding) = read_handover(&message);
    let Some((listener, service)) = bindings.get(binding) else {
        return Outcome::Bug.code();
    };
    let address = sys::remote_address(socket.as_fd()).unwrap_or(RemoteAddress::Gone);
    let connection = Connection::with_id(id, socket, address, listener);
    kit.date.refresh();
    run(&mut Work { connection: &connection, service, kit })
}

/// Sheds what belongs to no service, touches the pages that a response needs, and waits.
fn wait(
    channel: BorrowedFd<'_>,
    bindings: &[Binding],
    kit: &mut Kit<'_>,
) -> io::Result<Option<(OwnedFd, [u8; HANDOVER_LENGTH])>> {
    let own = [Some(channel.as_raw_fd()), kit.drain_fd()];
    let roots = bindings.iter().flat_map(|(_, service)| service.descriptors());
    sys::close_all_but(own.into_iter().flatten().chain(roots))?;
    kit.mask.thread_set_mask()?;
    kit.buffer.fill(0);
    kit.date.refresh();
    let mut message = [0; HANDOVER_LENGTH];
    let socket = sys::receive_fd(channel, &mut message)?;
    Ok(socket.map(|socket| (socket, message)))
}
