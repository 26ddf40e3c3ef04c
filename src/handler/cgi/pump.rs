//! Moves bytes between client and program: content to standard input, standard output to the caller, standard error
//! to the journal. Each direction waits for itself only, so that no two can block each other.

use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::Cgi;
use super::content::Content;
use super::output::Lines;
use super::program::{RunningProgram, try_read, try_write};
use crate::handler::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::stream::{Interrupted, SENDING_CLOSED};

/// Bytes that a pipe holds (pipe(7)).
const PIPE_SIZE: usize = 64 * 1024;
/// Bytes moved at once in either direction.
const PART: usize = PIPE_SIZE / 4;
/// Bytes of output that may be queued for the client. Above that, the program waits.
const QUEUE_MAX: usize = 64 * 1024;

/// What a read of standard output has returned.
#[derive(Debug)]
pub(crate) enum Output<'p> {
    Bytes(&'p [u8]),
    /// The end: the program has closed it, or has exited.
    End,
    /// The program was silent for too long.
    TimedOut,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Standard output.
    Output,
    /// Room in the queue to the client.
    Room,
    /// The exit of the program.
    Exit,
}

/// Whose time a wait uses up. While the client has to act, the program's time stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Program,
    /// The program asks for content, and the client has sent none.
    ClientSends,
    /// The queue to the client is full.
    ClientReads,
}

/// A running program with the bytes on their way to and from it.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) program: RunningProgram,
    output: Vec<u8>,
    /// Content for the program, from `input_start` on.
    input: Vec<u8>,
    input_start: usize,
    /// Standard input could take content, and the client has sent none.
    awaits_content: bool,
    /// Content that the program reads by itself, and how far it had come when that was last looked at.
    file: Option<File>,
    position: u64,
    lines: Lines,
    /// How long the program may move no byte.
    timeout: Duration,
    /// When that is over. Moves with each byte, and while the client has to act.
    deadline: Instant,
    /// No byte of output is used any more, so that none moves the deadline.
    is_output_unused: bool,
    allow_half_close: bool,
    /// The client has the whole response, once what is queued is sent: it may disconnect.
    is_answered: bool,
}

impl Pump {
    /// For a program that has been started with `content`.
    pub(crate) fn new(program: RunningProgram, content: Content, settings: &Cgi) -> Self {
        let (input, file) = match content {
            Content::Nothing | Content::Client => (Vec::new(), None),
            Content::Memory(bytes) => (bytes, None),
            Content::File(file) => (Vec::new(), Some(file)),
        };
        Self {
            program,
            output: vec![0; PART],
            input,
            input_start: 0,
            awaits_content: false,
            file,
            position: 0,
            lines: Lines::default(),
            timeout: settings.timeout,
            deadline: Instant::now() + settings.timeout,
            is_output_unused: false,
            allow_half_close: settings.allow_half_close,
            is_answered: false,
        }
    }

    /// The whole response is sent or queued. The program may still run, but its client may disconnect.
    pub(crate) fn set_answered(&mut self) {
        self.is_answered = true;
        self.set_output_unused();
    }

    /// Whatever the program writes from now on is not used. It may run for its timeout, however much it writes.
    pub(crate) fn set_output_unused(&mut self) {
        if !self.is_output_unused {
            self.is_output_unused = true;
            self.deadline = Instant::now() + self.timeout;
        }
    }

    pub(crate) fn is_output_unused(&self) -> bool {
        self.is_output_unused
    }

    /// Reads standard output, once the queue to the client has room.
    ///
    /// Fails when the client is gone or too slow, or its content is malformed.
    pub(crate) fn read(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<Output<'_>, Failure> {
        loop {
            let has_exited = self.advance(exchange)?;
            let want = if exchange.response.queued() < QUEUE_MAX { Want::Output } else { Want::Room };
            if want == Want::Output {
                match self.program.stdout.as_mut().map(|stdout| try_read(stdout, &mut self.output)) {
                    Some(Ok(Some(count))) if count > 0 => {
                        if !self.is_output_unused {
                            self.deadline = Instant::now() + self.timeout;
                        }
                        return Ok(Output::Bytes(&self.output[..count]));
                    }
                    Some(Ok(None)) if !has_exited => {}
                    // At its end, or held open by other processes only.
                    _ => {
                        self.program.stdout = None;
                        return Ok(Output::End);
                    }
                }
            }
            if !self.wait(exchange, want, self.deadline)? && !self.has_read_on(exchange) {
                return Ok(Output::TimedOut);
            }
        }
    }

    /// Whether the program has read content from its file since the last look. Then its time begins again. (The position is
    /// that of the program as well: both have the same open file description.)
    fn has_read_on(&mut self, exchange: &Exchange<'_, '_>) -> bool {
        if exchange.stream.end().is_some_and(|end| Instant::now() >= end) {
            return false;
        }
        let position = self.file.as_mut().and_then(|file| file.stream_position().ok()).unwrap_or(0);
        let has_read_on = position > self.position;
        if has_read_on {
            (self.position, self.deadline) = (position, Instant::now() + self.timeout);
        }
        has_read_on
    }

    /// Waits until the program exits, for at most `timeout`. True: it has exited.
    pub(crate) fn wait_for_exit(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        timeout: Duration,
    ) -> Result<bool, Failure> {
        let deadline = self.deadline.min(Instant::now() + timeout);
        while !self.advance(exchange)? {
            if !self.wait(exchange, Want::Exit, deadline)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Terminates the program with all processes that it has started, and logs the rest of standard error.
    pub(crate) fn terminate(&mut self, exchange: &Exchange<'_, '_>) {
        self.program.terminate();
        self.log_lines(exchange);
        self.lines.finish(exchange);
    }

    /// Moves content and standard error. True: the program has exited.
    fn advance(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<bool, Failure> {
        self.awaits_content = self.feed(exchange)?;
        self.log_lines(exchange);
        Ok(self.program.check_end().map_err(|_| Failure::Gone)?.is_some())
    }

    /// Moves content to standard input. True: it could take more, and the client has sent none.
    fn feed(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<bool, Failure> {
        while let Some(stdin) = &mut self.program.stdin {
            if self.input_start == self.input.len() {
                self.input.resize(PART, 0);
                let read = exchange.body.try_read(&mut self.input);
                self.input.truncate(read.as_ref().map_or(0, |count| count.unwrap_or(0)));
                self.input_start = 0;
                match read? {
                    None => return Ok(true),
                    Some(0) => {
                        self.program.stdin = None;
                        break;
                    }
                    Some(_) => {}
                }
            }
            match try_write(stdin, &self.input[self.input_start..]) {
                Ok(Some(0)) if self.input_start < self.input.len() => break,
                Ok(Some(count)) => {
                    self.input_start += count;
                    self.deadline = Instant::now() + self.timeout;
                }
                // The program does not read the rest.
                Ok(None) | Err(_) => self.program.stdin = None,
            }
        }
        Ok(false)
    }

    /// Logs what standard error holds, up to the size of a pipe, so that endless output does not block the rest.
    fn log_lines(&mut self, exchange: &Exchange<'_, '_>) {
        let mut buffer = [0; 4096];
        for _ in 0..PIPE_SIZE / buffer.len() {
            let Some(stderr) = &mut self.program.stderr else { return };
            match try_read(stderr, &mut buffer) {
                Ok(Some(0)) | Err(_) => self.program.stderr = None,
                Ok(Some(count)) => self.lines.add(&buffer[..count], exchange),
                Ok(None) => return,
            }
        }
    }

    /// Waits until something can move, and sends queued output. False: the program's time is over.
    fn wait(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        want: Want,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let is_queued = exchange.response.queued() > 0;
        let clock = match want {
            Want::Output | Want::Room if self.awaits_content => Clock::ClientSends,
            Want::Room => Clock::ClientReads,
            Want::Output | Want::Exit => Clock::Program,
        };
        if exchange.stream.is_hurried() {
            exchange.body.budget().hurry();
            exchange.response.budget().hurry();
        }
        let start = Instant::now();
        let until = match clock {
            Clock::Program => deadline,
            Clock::ClientSends => start + exchange.body.budget().left(),
            Clock::ClientReads => start + exchange.response.budget().left(),
        };
        // Whatever the wait is for, the client has to read what is queued.
        let until = if is_queued { until.min(start + exchange.response.budget().left()) } else { until };

        let (waited, client) = self.poll(exchange, want, until);
        if client.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | SENDING_CLOSED) {
            exchange.slot.set_client_gone();
            return Err(Failure::Gone);
        }
        let elapsed = start.elapsed();
        if is_queued {
            exchange.response.budget().spend(elapsed);
        }
        match clock {
            Clock::Program => {}
            Clock::ClientSends => {
                exchange.body.budget().spend(elapsed);
                self.deadline += elapsed;
            }
            Clock::ClientReads => self.deadline += elapsed,
        }
        if let Err(interrupted) = waited {
            let is_read_too_slowly = is_queued && exchange.response.budget().left().is_zero();
            let is_programs_fault = clock == Clock::Program && !is_read_too_slowly;
            return match interrupted {
                Interrupted::TimedOut if is_programs_fault => Ok(false),
                interrupted => Err(interrupted.into()),
            };
        }
        if client.contains(PollFlags::POLLOUT) {
            exchange.response.try_flush()?;
        }
        Ok(true)
    }

    /// Waits for one of the descriptors that can move something. Also returns the events of the client's socket.
    fn poll(
        &self,
        exchange: &Exchange<'_, '_>,
        want: Want,
        until: Instant,
    ) -> (Result<(), Interrupted>, PollFlags) {
        let is_queued = exchange.response.queued() > 0;
        let mut events = PollFlags::empty(); // errors are reported in any case
        events.set(PollFlags::POLLIN, self.awaits_content);
        events.set(PollFlags::POLLOUT, is_queued);
        events.set(SENDING_CLOSED, !self.allow_half_close);
        let needs_client = is_queued || (want != Want::Exit && (!self.is_answered || self.awaits_content));
        let client = needs_client.then(|| (exchange.stream.socket(), events));
        let stdin = self.program.stdin.as_ref().filter(|_| self.input_start < self.input.len());
        let stdout = self.program.stdout.as_ref().filter(|_| want == Want::Output);
        let wanted = [
            client,
            self.program.pidfd().map(|fd| (fd, PollFlags::POLLIN)),
            stdin.map(|pipe| (pipe.as_fd(), PollFlags::POLLOUT)),
            stdout.map(|pipe| (pipe.as_fd(), PollFlags::POLLIN)),
            self.program.stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::POLLIN)),
        ];
        let mut fds: Vec<_> =
            wanted.into_iter().flatten().map(|(fd, events)| PollFd::new(fd, events)).collect();
        let waited = exchange.stream.poll(&mut fds, until);
        let events = client.map(|_| fds[0].revents().unwrap_or(SENDING_CLOSED));
        (waited, events.unwrap_or(PollFlags::empty()))
    }
}
