//! Lines of programs and interpreters, on their way to the log.

use std::time::Instant;

use nix::unistd::Pid;

use super::connections::Connections;
use super::outputs::WrittenLine;
use crate::journal;
use crate::uplink::Note;

impl Connections {
    /// Writes what a socket holds to the log, a part of it.
    pub(super) fn read_output(&mut self, id: u32, now: Instant) {
        let lines = self.outputs.read_from(id, now);
        self.log_lines(&lines);
    }

    /// Writes what a child of a fork server has written that has exited, and is not recorded yet.
    pub(super) fn read_last_output(&mut self, server: u32, writer: Pid, now: Instant) {
        let lines = self.outputs.read_last(server, writer, now);
        self.log_lines(&lines);
    }

    /// Writes what the sockets still hold: the daemon exits.
    pub(crate) fn end_outputs(&mut self) {
        let lines = self.outputs.read_all(Instant::now());
        self.log_lines(&lines);
    }

    /// A line of a child is one of its connection. Other processes, such as those that a program has started, have none.
    fn log_lines(&self, lines: &[WrittenLine]) {
        for WrittenLine { writer, service, text } in lines {
            match self.children.iter().find(|child| child.pid() == Some(*writer)) {
                Some(child) => {
                    let target = child.slot().read().target.unwrap_or_default();
                    journal::log_note(child.identity(), service, Note::output(&target, text));
                }
                None => journal::log_program_line(service, text),
            }
        }
    }
}
