//! Between client and program: content to standard input, standard output to the client, standard error to
//! the journal, all at once and none waiting for another, so that no two can wait for each other.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::output::Lines;
use super::program::{Program, try_read, try_write};
use crate::handler::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::stream::Interrupted;

/// Bytes that a pipe holds (pipe(7)).
const PIPE_SIZE: usize = 64 * 1024;
/// Bytes moved at once in either direction.
const PART: usize = PIPE_SIZE / 4;

/// What a step has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// So many bytes of standard output, in the buffer.
    Output(usize),
    /// Standard output has ended, or nobody who may write to it is left.
    OutputEnded,
    /// The program has ended, and nothing more is wanted of it.
    Ended,
    /// Something else has moved.
    Progress,
    /// The program's time is over.
    TimedOut,
}

/// What the caller wants of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The next bytes of standard output.
    Output,
    /// Room in the queue to the client.
    Room,
    /// The program's end.
    End,
}

/// A program and what is on its way to it.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) program: Program,
    pub(crate) output: Vec<u8>,
    /// Content for the program, from `input_start` on.
    input: Vec<u8>,
    input_start: usize,
    lines: Lines,
    deadline: Instant,
}

impl Pump {
    pub(crate) fn new(program: Program, deadline: Instant) -> Self {
        let output = vec![0; PART];
        Self { program, output, input: Vec::new(), input_start: 0, lines: Lines::default(), deadline }
    }

    /// Moves what can be moved, waiting until there is something.
    ///
    /// Fails when the client is gone or too slow, or its content is malformed.
    pub(crate) fn step(&mut self, exchange: &mut Exchange<'_, '_>, want: Want) -> Result<Event, Failure> {
        loop {
            let awaits_client = self.feed(exchange)?;
            self.collect_lines(exchange);
            let has_ended = self.program.has_ended().map_err(|_| Failure::Gone)?.is_some();
            if want == Want::Output {
                let Some(stdout) = &mut self.program.stdout else { return Ok(Event::OutputEnded) };
                match try_read(stdout, &mut self.output) {
                    Ok(Some(0)) | Err(_) => self.program.stdout = None,
                    Ok(Some(count)) => return Ok(Event::Output(count)),
                    // Who holds it open now is not the program.
                    Ok(None) if has_ended => self.program.stdout = None,
                    Ok(None) => {}
                }
                if self.program.stdout.is_none() {
                    return Ok(Event::OutputEnded);
                }
            } else if want == Want::End && has_ended {
                return Ok(Event::Ended);
            }
            if let Some(event) = self.wait(exchange, want, awaits_client)? {
                return Ok(event);
            }
        }
    }

    /// Ends the program, with everything that it has started, and passes on its last words.
    pub(crate) fn end(&mut self, exchange: &Exchange<'_, '_>) {
        self.program.end();
        self.collect_lines(exchange);
        self.lines.finish(exchange);
    }

    /// Passes content on to standard input. True: the program could take more, and the client has sent none.
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
                Ok(Some(count)) => self.input_start += count,
                // It does not want the rest.
                Ok(None) | Err(_) => self.program.stdin = None,
            }
        }
        Ok(false)
    }

    /// Passes on what standard error holds, but no more than a pipe does: an endless flood must not keep the
    /// rest waiting.
    fn collect_lines(&mut self, exchange: &Exchange<'_, '_>) {
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

    /// Waits until something can move. An event, if that is the end of the program's time or a word from the
    /// client.
    fn wait(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        want: Want,
        awaits_client: bool,
    ) -> Result<Option<Event>, Failure> {
        let queued = exchange.response.queued() > 0;
        let mut client = PollFlags::empty(); // an error is told in any case
        client.set(PollFlags::POLLIN, awaits_client);
        client.set(PollFlags::POLLOUT, queued);
        // Who has everything may leave: nothing is asked of the client any more.
        let has_all = want == Want::End && !queued;
        let socket = if has_all { self.program.pidfd() } else { None }.unwrap_or(exchange.stream.socket());
        let mut fds = vec![PollFd::new(socket, client)];
        if let Some(pidfd) = self.program.pidfd() {
            fds.push(PollFd::new(pidfd, PollFlags::POLLIN));
        }
        if let Some(stdin) = self.program.stdin.as_ref().filter(|_| self.input_start < self.input.len()) {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
        }
        if let Some(stdout) = self.program.stdout.as_ref().filter(|_| want == Want::Output) {
            fds.push(PollFd::new(stdout.as_fd(), PollFlags::POLLIN));
        }
        if let Some(stderr) = &self.program.stderr {
            fds.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
        }
        let start = Instant::now();
        let awaits_content = awaits_client && want != Want::End;
        // The program's own time does not run while it is the client that is waited for; that one's does.
        let is_clients_turn = awaits_content || want == Want::Room;
        let until = [
            (!is_clients_turn).then_some(self.deadline),
            awaits_content.then(|| start + exchange.body.budget().left()),
            queued.then(|| start + exchange.response.budget().left()),
        ];
        let until = until.into_iter().flatten().min().unwrap_or(self.deadline);
        let waited = exchange.stream.poll(&mut fds, until);
        let elapsed = start.elapsed();
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        let is_gone = events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP);
        if is_gone && (want != Want::End || queued) {
            return Err(Failure::Gone);
        }
        if awaits_content {
            exchange.body.budget().spend(elapsed);
        }
        if queued {
            exchange.response.budget().spend(elapsed);
        }
        if is_clients_turn {
            self.deadline += elapsed;
        }
        match waited {
            // Or the whole connection's time is over, and it was the program that used it up.
            Err(Interrupted::TimedOut)
                if !(is_clients_turn || queued && exchange.response.budget().left().is_zero()) =>
            {
                return Ok(Some(Event::TimedOut));
            }
            Err(error) => return Err(error.into()),
            Ok(()) => {}
        }
        if events.contains(PollFlags::POLLOUT) {
            exchange.response.try_flush()?;
            return Ok((want == Want::Room).then_some(Event::Progress));
        }
        Ok(None)
    }

    /// Waits for the program's end, no longer than `patience`. True: it has ended.
    pub(crate) fn wait_for_end(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        patience: Duration,
    ) -> Result<bool, Failure> {
        let deadline = self.deadline;
        self.deadline = deadline.min(Instant::now() + patience);
        let result = self.step(exchange, Want::End);
        self.deadline = deadline;
        Ok(result? == Event::Ended)
    }
}
