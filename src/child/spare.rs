//! A spare: a child that is forked ahead of its connection, and waits for it. So the cost of the fork does not
//! lie between a client and its answer.

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
pub type Binding = (Arc<str>, Arc<Service>);

/// What the parent sends with a connection: its number, and through which of the bindings it came.
pub const HANDOVER_LENGTH: usize = 20;

pub fn write_handover(id: Id, binding: u32) -> [u8; HANDOVER_LENGTH] {
    let mut handover = [0; HANDOVER_LENGTH];
    handover[..16].copy_from_slice(&id.to_bytes());
    handover[16..].copy_from_slice(&binding.to_ne_bytes());
    handover
}

fn read_handover(handover: &[u8; HANDOVER_LENGTH]) -> (Id, usize) {
    let (mut id, mut binding) = ([0; 16], [0; 4]);
    id.copy_from_slice(&handover[..16]);
    binding.copy_from_slice(&handover[16..]);
    (Id::from_bytes(id), u32::from_ne_bytes(binding) as usize)
}

/// What a spare has while it waits.
#[derive(Debug)]
pub struct Spare<'a> {
    /// Brings the connection; its end means that none will come.
    pub channel: BorrowedFd<'a>,
    pub bindings: &'a [Binding],
    pub kit: Kit<'a>,
}

impl Spare<'_> {
    /// Waits for a connection and serves it. Returns the exit code.
    pub fn run(mut self) -> u8 {
        let (socket, handover) = match self.wait() {
            Ok(Some(received)) => received,
            Ok(None) => return Outcome::Served.code(),
            Err(_) => return Outcome::SystemError.code(),
        };
        let (id, binding) = read_handover(&handover);
        let Some((listener, service)) = self.bindings.get(binding) else {
            return Outcome::Bug.code();
        };
        let address = sys::remote_address(socket.as_fd()).unwrap_or(RemoteAddress::Gone);
        let connection = Connection::with_id(id, socket, address, listener);
        self.kit.date.refresh();
        run(&mut Work { connection: &connection, service, kit: self.kit })
    }

    /// Sheds what belongs to no service, touches the pages that an answer needs, and waits.
    fn wait(&mut self) -> io::Result<Option<(OwnedFd, [u8; HANDOVER_LENGTH])>> {
        let own = [Some(self.channel.as_raw_fd()), self.kit.drain_fd()];
        let roots = self.bindings.iter().flat_map(|(_, service)| service.descriptors());
        sys::close_all_but(own.into_iter().flatten().chain(roots))?;
        self.kit.mask.thread_set_mask()?;
        self.kit.buffer.fill(0);
        self.kit.date.refresh();
        let mut handover = [0; HANDOVER_LENGTH];
        let socket = sys::receive_socket(self.channel, &mut handover)?;
        Ok(socket.map(|socket| (socket, handover)))
    }
}
