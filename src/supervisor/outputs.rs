//! What programs of the protocol `exec` write to standard error where there is no journal, and interpreters with applications
//! in any case: a socket for each fork server, on which the kernel names the writer (unix(7), `SO_PASSCRED`). None gets the
//! log of the daemon itself, where it could write lines as if they were the daemon's.

use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::unistd::Pid;

use super::events::{Event, Events};
use super::line_budget::LineBudget;
use crate::sys::{self, FromSender};

/// Bytes of a line that are written; the rest is cut.
const LINE_MAX: usize = 1024;
/// Processes whose lines have no end yet.
const WRITERS_MAX: usize = 64;
/// Reads before other events have their turn, or when a process has exited: it may have forked one that writes on.
const TURN: usize = 16;

#[derive(Debug)]
struct Output {
    id: u32,
    /// The fork server.
    server: u32,
    socket: OwnedFd,
    budget: LineBudget,
    /// Lines whose end has not come, and who writes them.
    open_lines: Vec<(Pid, Vec<u8>)>,
}

/// A line of a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrittenLine {
    pub(crate) writer: Pid,
    pub(crate) service: String,
    pub(crate) text: Vec<u8>,
}

/// The sockets of all fork servers.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    open: Vec<Output>,
    next_id: u32,
}

impl Outputs {
    /// Opens a socket for what a fork server and its children write. Returns the end that they write to.
    ///
    /// # Errors
    /// Those of socketpair(2), setsockopt(2) and epoll_ctl(2).
    pub(crate) fn add(&mut self, server: u32, service: &str, events: &Events) -> io::Result<OwnedFd> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&ours, sockopt::PassCred, &true)?;
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        events.add(&ours, Event::Output(id))?;
        let (budget, open_lines) = (LineBudget::new(service), Vec::new());
        self.open.push(Output { id, server, socket: ours, budget, open_lines });
        Ok(theirs)
    }

    /// Reads what the socket with this number holds, a part of it.
    pub(crate) fn read_from(&mut self, id: u32, now: Instant) -> Vec<WrittenLine> {
        let index = self.open.iter().position(|output| output.id == id);
        index.map_or_else(Vec::new, |index| self.read(index, now))
    }

    /// Reads what all sockets still hold, and closes them.
    pub(crate) fn read_all(&mut self, now: Instant) -> Vec<WrittenLine> {
        let mut lines = Vec::new();
        for index in (0..self.open.len()).rev() {
            lines.extend(self.read(index, now));
        }
        self.open.drain(..).for_each(|output| output.end(&mut lines));
        lines
    }

    /// Reads what a socket holds, a part of it. Forgets one that is closed.
    fn read(&mut self, index: usize, now: Instant) -> Vec<WrittenLine> {
        let (mut lines, output) = (Vec::new(), &mut self.open[index]);
        let mut bytes = [0; 4096];
        for _ in 0..TURN {
            match sys::receive_from_sender(output.socket.as_fd(), &mut bytes) {
                Ok(FromSender::Message(count @ 1.., writer)) => {
                    output.take(writer, &bytes[..count], now, &mut lines);
                }
                Ok(FromSender::Invalid) => {}
                Ok(FromSender::Message(..) | FromSender::End) => {
                    self.open.swap_remove(index).end(&mut lines);
                    break;
                }
                Err(_) => break, // nothing now
            }
        }
        lines
    }

    /// Reads what a child has written that has exited.
    pub(crate) fn read_last(&mut self, server: u32, writer: Pid, now: Instant) -> Vec<WrittenLine> {
        let Some(index) = self.open.iter().position(|output| output.server == server) else {
            return Vec::new();
        };
        let mut lines = self.read(index, now);
        if let Some(output) = self.open.get_mut(index).filter(|output| output.server == server) {
            output.end_line_of(writer, now, &mut lines);
        }
        lines
    }
}

impl Output {
    fn take(&mut self, writer: Pid, bytes: &[u8], now: Instant, lines: &mut Vec<WrittenLine>) {
        let known = self.open_lines.iter().position(|(pid, _)| *pid == writer);
        let mut line = known.map_or_else(Vec::new, |index| self.open_lines.swap_remove(index).1);
        for &byte in bytes {
            match byte {
                b'\n' => self.push(writer, mem::take(&mut line), now, lines),
                byte if line.len() < LINE_MAX => line.push(byte),
                _ => {} // cut
            }
        }
        if !line.is_empty() {
            if self.open_lines.len() >= WRITERS_MAX {
                let (oldest, line) = self.open_lines.remove(0);
                self.push(oldest, line, now, lines);
            }
            self.open_lines.push((writer, line));
        }
    }

    fn end_line_of(&mut self, writer: Pid, now: Instant, lines: &mut Vec<WrittenLine>) {
        if let Some(index) = self.open_lines.iter().position(|(pid, _)| *pid == writer) {
            let (_, line) = self.open_lines.swap_remove(index);
            self.push(writer, line, now, lines);
        }
    }

    fn push(&mut self, writer: Pid, text: Vec<u8>, now: Instant, lines: &mut Vec<WrittenLine>) {
        if self.budget.take(now) {
            lines.push(WrittenLine { writer, service: self.budget.service().to_owned(), text });
        }
    }

    fn end(mut self, lines: &mut Vec<WrittenLine>) {
        for (writer, line) in mem::take(&mut self.open_lines) {
            self.push(writer, line, Instant::now(), lines);
        }
        self.budget.log_suppressed();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_have_the_process_that_has_written_them() {
        let (mut outputs, events) = (Outputs::default(), Events::new().unwrap());
        let mut writer = File::from(outputs.add(7, "web", &events).unwrap());
        writer.write_all(b"one\ntwo").unwrap();
        let line = |text: &str| WrittenLine { writer: Pid::this(), service: "web".into(), text: text.into() };
        let now = Instant::now();
        assert_eq!(outputs.read(0, now), [line("one")]);
        assert_eq!(outputs.read_last(7, Pid::this(), now), [line("two")]);
        writer.write_all(&[b'x'; 5000]).unwrap();
        drop(writer);
        assert_eq!(outputs.read(0, now), [line(&"x".repeat(LINE_MAX))]);
        assert!(outputs.open.is_empty());
    }
}
