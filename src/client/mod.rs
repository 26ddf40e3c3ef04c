//! The load client: many connections from many processes, opened and held together, then all asked.
//!
//! The parent forks the client processes and sums up what they report. Three pipes join them: one that
//! ends when every client has its connections open, one whose end tells every client to ask, and one for
//! the events. Ends of pipes, unlike messages, also tell of a client that died.

#![forbid(unsafe_code)]

mod answer;
mod connections;
mod report;
mod results;
mod target;

use std::io::{self, IsTerminal, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cli::ClientArgs;
use crate::sys;
use connections::Pipes;
use report::Report;
use results::Tally;
use target::Target;

/// Descriptors of a client process besides its connections, at most: the standard ones, its pipes,
/// and some that it may have inherited.
const SPARE_DESCRIPTORS: u64 = 16;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    BadUrl(#[from] target::BadUrl),
    #[error("unable to {0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Runs the clients and prints their report to standard output. Returns whether all is well: every
/// connection was answered completely, with a status of 2xx or 3xx.
pub fn run(args: &ClientArgs) -> Result<bool, Error> {
    let target = Target::parse(&args.url)?;
    // An ignored SIGCHLD, inherited from whoever started us, would lose the clients' status.
    sys::reset_signals();
    raise_descriptor_limit(args.max_conns);
    let started = Instant::now();
    let (tally, notes) = run_clients(args, &target)?;
    let connections = u64::from(args.max_clients) * u64::from(args.max_conns);
    let wall = started.elapsed();
    let report = Report::new(&args.url, args.max_clients, connections, &tally, wall, notes);
    print(&report, args.json)?;
    Ok(report.ok)
}

/// Raises the soft limit of open files to the hard one, and warns when that is not enough.
fn raise_descriptor_limit(connections: u32) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    // A limit that stays as it is shows in the report, as EMFILE.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    if hard.max(soft) < u64::from(connections) + SPARE_DESCRIPTORS {
        // A closed standard error must not stop the client.
        let _ = writeln!(
            io::stderr(),
            "lsbaws: a process may open no more than {hard} files (ulimit -Hn): \
             not all of {connections} connections will open; use more clients of fewer connections"
        );
    }
}

fn print(report: &Report, json: bool) -> Result<(), Error> {
    let text = if json {
        let text = serde_json::to_string(report);
        text.map_err(|error| Error::System("write the report", error.into()))? + "\n"
    } else {
        report.to_string()
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::System("write the report", error))
        }
        _ => Ok(()),
    }
}

/// Forks the clients, waits until all of them have ended, and returns the sums of their events with
/// notes on whatever befell the processes themselves.
fn run_clients(args: &ClientArgs, target: &Target) -> Result<(Tally, Vec<String>), Error> {
    let pipe = || io::pipe().map_err(|error| Error::System("make a pipe", error));
    let (ready, clients_ready) = pipe()?;
    let (clients_go, go) = pipe()?;
    let (events, clients_events) = pipe()?;
    let mut ends = Some((ready, go, events));
    let mut pipes = Some(Pipes { ready: clients_ready, go: clients_go, events: clients_events });
    let mut notes = Vec::new();
    let mut clients = Vec::new();
    for number in 1..=args.max_clients {
        let client = sys::fork_child(|| {
            // The parent's ends: held here too, they would never end.
            drop(ends.take());
            let ran = pipes.take().map(|pipes| connections::run(target, args.max_conns, args.timeout, pipes));
            u8::from(!matches!(ran, Some(Ok(()))))
        });
        match client {
            Ok(pid) => clients.push((number, pid)),
            Err(error) => {
                let total = args.max_clients;
                notes.push(format!("unable to fork client {number} of {total}: {error}"));
                break;
            }
        }
    }
    drop(pipes);
    let mut tally = Tally::new().map_err(|error| Error::System("count", io::Error::other(error)))?;
    if let Some((ready, go, events)) = ends {
        let bar = progress_bar(u64::from(args.max_clients) * u64::from(args.max_conns));
        read_events(ready, go, events, &mut tally, &bar)
            .map_err(|error| Error::System("hear of the clients", error))?;
        bar.finish_and_clear();
    }
    notes.extend(clients.into_iter().filter_map(|(number, pid)| wait_client(number, pid)));
    Ok((tally, notes))
}

/// Reads events until the last client has ended, and starts the asking when all are ready.
fn read_events(
    ready: PipeReader,
    go: io::PipeWriter,
    mut events: PipeReader,
    tally: &mut Tally,
    bar: &ProgressBar,
) -> io::Result<()> {
    let mut barrier = Some((ready, go));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (has_events, all_ready) = wait_events(&events, barrier.as_ref().map(|(ready, _)| ready))?;
        if all_ready {
            barrier = None;
        }
        if has_events {
            match events.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => tally.count_bytes(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            bar.set_message(format!("{} connected", tally.connected));
            bar.set_position(tally.ended());
        }
    }
}

/// Waits until there are events, or the end of the pipe `ready`; says which.
fn wait_events(events: &PipeReader, ready: Option<&PipeReader>) -> io::Result<(bool, bool)> {
    let mut fds: Vec<_> = [Some(events), ready]
        .into_iter()
        .flatten()
        .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
    Ok((is_ready(fds.first()), is_ready(fds.get(1))))
}

/// A bar on a terminal, nothing elsewhere. It is drawn by the calls that move it: a steady tick would
/// start a thread, and this process forks.
fn progress_bar(connections: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} done, {msg}");
    match style {
        Ok(style) if io::stderr().is_terminal() => ProgressBar::new(connections).with_style(style),
        _ => ProgressBar::hidden(),
    }
}

/// Reaps a client process; returns a note unless it ended well.
fn wait_client(number: u32, pid: Pid) -> Option<String> {
    loop {
        return match waitpid(pid, None) {
            Err(Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(_, 0)) => None,
            Ok(WaitStatus::Exited(_, code)) => Some(format!("client {number} ended with code {code}")),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(format!("client {number} was killed by {signal}")),
            Ok(_) | Err(_) => Some(format!("client {number} ended in an unknown way")),
        };
    }
}
