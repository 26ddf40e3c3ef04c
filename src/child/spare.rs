//! A spare: a child that is forked ahead of its connection, and waits for it. So the cost of the fork does not
//! lie between a client and its answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sys::signal::SigSet;

use super::{Work, run};
use crate::child::outcome::Outcome;
use crate::config::Limits;
use crate::connection::{Connection, Id};
use crate::handler::Service;
use crate::http::date::Date;
use crate::scoreboard::Slot;
use crate::sys::{self, RemoteAddress};

/// What a listener's name leads to, for a spare that does not know yet where its connection comes from.
pub type Way = (Arc<str>, Arc<Service>);

/// What the parent sends with a connection: its number, and through which of the ways it came.
pub const ORDER_LENGTH: usize = 20;

pub fn write_order(id: Id, way: u32) -> [u8; ORDER_LENGTH] {
    let mut order = [0; ORDER_LENGTH];
    order[..16].copy_from_slice(&id.to_bytes());
    order[16..].copy_from_slice(&way.to_ne_bytes());
    order
}

fn read_order(order: &[u8; ORDER_LENGTH]) -> (Id, usize) {
    let (mut id, mut way) = ([0; 16], [0; 4]);
    id.copy_from_slice(&order[..16]);
    way.copy_from_slice(&order[16..]);
    (Id::from_bytes(id), u32::from_ne_bytes(way) as usize)
}

/// What a spare has while it waits.
#[derive(Debug)]
pub struct Spare<'a> {
    /// Brings the connection; its end means that none will come.
    pub channel: BorrowedFd<'a>,
    pub ways: &'a [Way],
    pub limits: &'a Limits,
    pub drain: Option<BorrowedFd<'a>>,
    pub slot: &'static Slot,
    pub mask: SigSet,
    pub date: &'a mut Date,
    pub buffer: &'a mut Vec<u8>,
}

impl Spare<'_> {
    /// Waits for a connection and serves it. Returns the exit code.
    pub fn run(&mut self) -> u8 {
        let (socket, order) = match self.wait() {
            Ok(Some(received)) => received,
            Ok(None) => return Outcome::Served.code(),
            Err(_) => return Outcome::System.code(),
        };
        let (id, way) = read_order(&order);
        let Some((listener, service)) = self.ways.get(way) else {
            return Outcome::Bug.code();
        };
        let address = sys::remote_address(socket.as_fd()).unwrap_or(RemoteAddress::Gone);
        let connection = Connection::with_id(id, socket, address, listener);
        self.date.refresh();
        run(&mut Work {
            connection: &connection,
            service,
            limits: self.limits,
            drain: self.drain,
            slot: self.slot,
            mask: self.mask,
            date: self.date,
            buffer: self.buffer,
        })
    }

    /// Sheds what belongs to no service, touches the pages that an answer needs, and waits.
    fn wait(&mut self) -> io::Result<Option<(OwnedFd, [u8; ORDER_LENGTH])>> {
        let own = [Some(self.channel.as_raw_fd()), self.drain.map(|drain| drain.as_raw_fd())];
        let roots = self.ways.iter().flat_map(|(_, service)| service.descriptors());
        sys::close_all_but(own.into_iter().flatten().chain(roots))?;
        sys::clear_environment();
        self.mask.thread_set_mask()?;
        self.buffer.fill(0);
        self.date.refresh();
        let mut order = [0; ORDER_LENGTH];
        let socket = sys::receive_socket(self.channel, &mut order)?;
        Ok(socket.map(|socket| (socket, order)))
    }
}
