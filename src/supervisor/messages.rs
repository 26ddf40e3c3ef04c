//! What children send while they serve. A message counts for the child that the kernel names as its sender, as long as that
//! is not recorded: a child can lie about its own connection only.

use std::sync::Arc;
use std::time::Instant;

use nix::unistd::Pid;

use super::child::Child;
use super::connections::Connections;
use super::fork_server::State;
use super::unreported::is_ending;
use crate::journal;
use crate::uplink::{MESSAGE_MAX, Message, Received, WAITING_MAX};

/// Messages that are received from one uplink before other events have their turn.
const TURN: usize = 256;

impl Connections {
    /// Acts on messages of the children of one fork server.
    pub(super) fn receive_messages(&mut self, server: u32, now: Instant) {
        self.receive_up_to(TURN, server, now);
    }

    /// Acts on all messages that a child of this fork server has sent, which has exited.
    pub(super) fn receive_last_messages(&mut self, server: u32, now: Instant) {
        self.receive_up_to(WAITING_MAX, server, now);
    }

    fn receive_up_to(&mut self, max: usize, server: u32, now: Instant) {
        let mut buffer = [0; MESSAGE_MAX];
        for _ in 0..max {
            match self.uplinks.receive(server, &mut buffer) {
                None => return,
                Some(Received::Message { pid, slot, message }) if self.is_sender(server, slot, pid, now) => {
                    self.act_on_message(server, slot, message, now);
                }
                Some(Received::Message { .. } | Received::Invalid) => {
                    self.uplinks.drop_foreign(server);
                }
                Some(Received::End) => return self.end_uplink(server),
            }
        }
    }

    /// Whether the child with this slot is this process.
    fn is_sender(&mut self, server: u32, slot: u32, pid: Pid, now: Instant) -> bool {
        let is_its = |child: &Child| child.pid() == Some(pid);
        if self.children.get(slot).is_some_and(is_its) {
            return true;
        }
        self.receive_reports(server, now); // that it has started
        self.children.get(slot).is_some_and(is_its)
    }

    /// Acts on a message of the child with this slot.
    fn act_on_message(&mut self, server: u32, slot: u32, message: Message<'_>, now: Instant) {
        let Self { children, access_log, uplinks, .. } = self;
        let Some(child) = children.get_mut(slot) else { return };
        match message {
            Message::Access(_) if !child.take_line() => journal::add_lost_lines(1),
            Message::Access(answered) => access_log.write(child.identity(), &child.service().name, &answered),
            Message::Note(note) if uplinks.take_line(server, now) => {
                journal::log_note(child.identity(), &child.service().name, note);
            }
            Message::Note(_) => {}
        }
    }

    /// No process has the other end any more. If the fork server runs, a child has shut it down: others can send nothing
    /// then, and get another fork server.
    fn end_uplink(&mut self, server: u32) {
        self.uplinks.close(server);
        let server = self.launcher.fork_servers.get(server);
        // One that could not start closes it as it exits.
        let is_running = |pid: Pid, state: State| state == State::Ready && !is_ending(pid);
        if let Some(server) = server.filter(|server| is_running(server.pid, server.state)) {
            let service = Arc::clone(&server.service);
            let sentence = "a child has shut down the uplink of all; starting another fork server";
            journal::log_service_warning(&service.name, sentence);
            self.restart_fork_servers(&service);
        }
    }
}
