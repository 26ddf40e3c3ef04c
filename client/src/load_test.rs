//! The parent process: starts the client processes, starts their requests when all of them are ready, and
//! adds up their events.

use std::ffi::OsString;
use std::io::{self, IsTerminal, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::{env, iter};

use indicatif::{ProgressBar, ProgressStyle};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::Error;
use crate::cli::Arguments;
use crate::event::{Event, EventDecoder};
use crate::tally::Tally;

/// Runs the client processes until all of them have ended. Returns the sums of their events, and notes on
/// client processes that failed.
pub(crate) fn run(arguments: &Arguments) -> Result<(Tally, Vec<String>), Error> {
    let mut tally = Tally::new().map_err(|error| Error::system("count events", io::Error::other(error)))?;
    // All client processes read the same pipe. Its end, when `start` is dropped, starts their requests.
    let (wait, start) = io::pipe().map_err(|error| Error::system("make a pipe", error))?;
    let mut start = Some(start);
    let mut notes = Vec::new();
    let mut clients = start_clients(arguments, &wait, &mut notes)?;
    drop(wait);

    let bar = progress_bar(arguments.connections());
    let mut buffer = vec![0; 64 * 1024];
    while clients.iter().any(Client::is_running) {
        if clients.iter().all(|client| client.is_ready(arguments.max_conns)) {
            drop(start.take());
        }
        for client in wait_readable(&mut clients)? {
            for event in client.read_events(&mut buffer)? {
                tally.count(event);
            }
        }
        bar.set_message(format!("{} connected", tally.connected));
        bar.set_position(tally.ended());
    }
    bar.finish_and_clear();
    notes.extend(clients.iter_mut().filter_map(Client::wait));
    Ok((tally, notes))
}

/// Starts the client processes, or as many of them as possible.
fn start_clients(
    arguments: &Arguments,
    wait: &PipeReader,
    notes: &mut Vec<String>,
) -> Result<Vec<Client>, Error> {
    let program = env::current_exe().map_err(|error| Error::system("find the client program", error))?;
    let words: Vec<OsString> = iter::once("--client-process".into()).chain(env::args_os().skip(1)).collect();
    let mut clients = Vec::new();
    for number in 1..=arguments.max_clients {
        let process = wait
            .try_clone()
            .and_then(|wait| Command::new(&program).args(&words).stdin(wait).stdout(Stdio::piped()).spawn());
        match process {
            Ok(process) => clients.push(Client::new(number, process)),
            Err(error) => {
                let total = arguments.max_clients;
                notes.push(format!("unable to start client {number} of {total}: {error}"));
                break;
            }
        }
    }
    Ok(clients)
}

/// A client process, as its parent process knows it.
#[derive(Debug)]
struct Client {
    number: u32,
    process: Child,
    /// The pipe with the events, until its end: the process has closed it, or has died.
    events: Option<ChildStdout>,
    decoder: EventDecoder,
    /// Number of connections that have opened, or have failed to open.
    attempted: u32,
}

impl Client {
    fn new(number: u32, mut process: Child) -> Self {
        let events = process.stdout.take();
        Self { number, process, events, decoder: EventDecoder::default(), attempted: 0 }
    }

    fn is_running(&self) -> bool {
        self.events.is_some()
    }

    /// Whether the other client processes do not have to wait for this one, which has this many connections.
    fn is_ready(&self, connections: u32) -> bool {
        self.attempted >= connections || !self.is_running()
    }

    /// Reads from the pipe once.
    fn read_events(&mut self, buffer: &mut [u8]) -> Result<Vec<Event>, Error> {
        let length = match self.events.as_mut().map_or(Ok(0), |pipe| pipe.read(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            result => result.map_err(|error| Error::system("read client results", error))?,
        };
        if length == 0 {
            self.events = None;
        }
        let events = self.decoder.push(&buffer[..length]);
        for event in &events {
            self.attempted += u32::from(matches!(event, Event::Connected(_) | Event::NotConnected(_)));
        }
        Ok(events)
    }

    /// Waits for the end of the process. Returns a note if it has failed.
    fn wait(&mut self) -> Option<String> {
        let number = self.number;
        match self.process.wait() {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("client {number} {}", Ending(status))),
            // SIGCHLD was ignored when this program started, so the kernel keeps no exit status.
            Err(error) if error.raw_os_error() == Some(Errno::ECHILD as i32) => None,
            Err(error) => Some(format!("unable to wait for client {number}: {error}")),
        }
    }
}

/// An exit status, as the predicate of a sentence.
struct Ending(ExitStatus);

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.code(), self.0.signal().map(Signal::try_from)) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(Ok(signal))) => write!(f, "was killed by {signal}"),
            (None, _) => write!(f, "failed: {}", self.0),
        }
    }
}

/// Waits until the pipes of some client processes are readable or at their end, and returns those.
fn wait_readable(clients: &mut [Client]) -> Result<Vec<&mut Client>, Error> {
    let running = |client: &&mut Client| client.is_running();
    let mut fds: Vec<_> = clients
        .iter()
        .filter_map(|client| client.events.as_ref())
        .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::system("wait for client results", errno.into())),
    }
    let ready: Vec<_> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
    let clients = clients.iter_mut().filter(running).zip(ready);
    Ok(clients.filter_map(|(client, is_ready)| is_ready.then_some(client)).collect())
}

/// A progress bar if standard error is a terminal.
fn progress_bar(connections: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} done, {msg}");
    match style {
        Ok(style) if io::stderr().is_terminal() => ProgressBar::new(connections).with_style(style),
        _ => ProgressBar::hidden(),
    }
}
