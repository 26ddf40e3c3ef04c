//! The supervisor's ends of all uplinks: see [`crate::uplink`].

use std::io;
use std::time::Instant;

use super::events::{Event, Events};
use super::line_budget::LineBudget;
use crate::journal;
use crate::uplink::{self, MESSAGE_MAX, Received, Receiver, Uplink};

/// The uplinks of all fork servers, by their numbers. An uplink outlives its fork server: until the last child has exited.
#[derive(Debug, Default)]
pub(crate) struct Uplinks {
    open: Vec<OpenUplink>,
}

#[derive(Debug)]
struct OpenUplink {
    server: u32,
    /// Of what children send for the log.
    budget: LineBudget,
    receiver: Receiver,
    /// Messages that no child of a connection has sent.
    foreign: u64,
}

impl Uplinks {
    /// Opens the uplink of the children of a fork server. Returns the end of the children.
    ///
    /// # Errors
    /// Those of socketpair(2), setsockopt(2) and epoll_ctl(2).
    pub(crate) fn add(&mut self, server: u32, service: &str, events: &Events) -> io::Result<Uplink> {
        let (receiver, uplink) = uplink::open()?;
        events.add(&receiver, Event::Uplink(server))?;
        self.open.push(OpenUplink { server, budget: LineBudget::new(service), receiver, foreign: 0 });
        Ok(uplink)
    }

    fn get_mut(&mut self, server: u32) -> Option<&mut OpenUplink> {
        self.open.iter_mut().find(|uplink| uplink.server == server)
    }

    /// The next message of the children of a fork server, if there is one now.
    pub(crate) fn receive<'b>(
        &mut self,
        server: u32,
        buffer: &'b mut [u8; MESSAGE_MAX],
    ) -> Option<Received<'b>> {
        self.get_mut(server)?.receiver.receive(buffer).ok()
    }

    /// Whether a line of a child is to be written.
    pub(crate) fn take_line(&mut self, server: u32, now: Instant) -> bool {
        self.get_mut(server).is_some_and(|uplink| uplink.budget.take(now))
    }

    /// Drops a message that no child of a connection has sent.
    pub(crate) fn drop_foreign(&mut self, server: u32) {
        if let Some(uplink) = self.get_mut(server) {
            uplink.foreign += 1;
        }
    }

    /// Closes the uplink of a fork server.
    pub(crate) fn close(&mut self, server: u32) {
        for uplink in self.open.extract_if(.., |uplink| uplink.server == server) {
            let OpenUplink { mut budget, foreign, .. } = uplink;
            budget.log_suppressed();
            if foreign > 0 {
                let sentence = format!("dropped {foreign} messages that no child of a connection has sent");
                journal::log_service_warning(budget.service(), &sentence);
            }
        }
    }
}
