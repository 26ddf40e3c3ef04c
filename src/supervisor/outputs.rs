//! What programs of the protocol `exec` write to standard error, where there is no journal: a pipe for each fork server. A
//! program does not get the log of the daemon itself, where it could write lines as if they were the daemon's.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use std::fs::File;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::events::{Event, Events};
use crate::journal;

/// Bytes of a line that are written; the rest is cut.
const LINE_MAX: usize = 1024;
/// Lines of a pipe that are written in a second. More are counted.
const LINES_MAX: u32 = 256;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Output {
    id: u32,
    service: String,
    pipe: File,
    /// A line whose end has not come.
    line: Vec<u8>,
    second: Instant,
    written: u32,
    suppressed: u64,
}

/// The pipes of all fork servers.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    open: Vec<Output>,
    next_id: u32,
}

impl Outputs {
    /// Opens a pipe for programs of this service. Returns the end that they write to.
    ///
    /// # Errors
    /// Those of pipe2(2) and epoll_ctl(2).
    pub(crate) fn add(&mut self, service: &str, events: &Events) -> io::Result<OwnedFd> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        events.add(&ours, Event::Output(id))?;
        let (service, pipe) = (service.to_owned(), File::from(ours));
        let (line, second) = (Vec::new(), Instant::now());
        self.open.push(Output { id, service, pipe, line, second, written: 0, suppressed: 0 });
        Ok(theirs)
    }

    /// Writes what the pipe holds to the log, a part of it. Forgets a pipe that is closed.
    pub(crate) fn read(&mut self, id: u32, now: Instant) {
        let Some(index) = self.open.iter().position(|output| output.id == id) else { return };
        let mut bytes = [0; 16 << 10];
        match self.open[index].pipe.read(&mut bytes) {
            Ok(0) => {
                self.open.swap_remove(index).end();
            }
            Ok(count) => self.open[index].take(&bytes[..count], now),
            Err(_) => {} // nothing now
        }
    }

    /// Writes what the pipes still hold: the daemon exits.
    pub(crate) fn end(&mut self) {
        for mut output in self.open.drain(..) {
            let mut bytes = [0; 16 << 10];
            // A program that lives on may write without end.
            for _ in 0..16 {
                match output.pipe.read(&mut bytes) {
                    Ok(count @ 1..) => output.take(&bytes[..count], Instant::now()),
                    _ => break,
                }
            }
            output.end();
        }
    }
}

impl Output {
    fn take(&mut self, bytes: &[u8], now: Instant) {
        if now.saturating_duration_since(self.second) >= SECOND {
            self.log_suppressed();
            (self.second, self.written) = (now, 0);
        }
        for &byte in bytes {
            match byte {
                b'\n' => self.write_line(),
                byte if self.line.len() < LINE_MAX => self.line.push(byte),
                _ => {} // cut
            }
        }
    }

    fn write_line(&mut self) {
        if self.written < LINES_MAX {
            self.written += 1;
            journal::log_program_line(&self.service, &self.line);
        } else {
            self.suppressed += 1;
        }
        self.line.clear();
    }

    fn log_suppressed(&mut self) {
        if self.suppressed > 0 {
            let sentence = format!("suppressed {} more lines of its programs", self.suppressed);
            journal::log_program_line(&self.service, sentence.as_bytes());
            self.suppressed = 0;
        }
    }

    fn end(mut self) {
        if !self.line.is_empty() {
            self.write_line();
        }
        self.log_suppressed();
    }
}
