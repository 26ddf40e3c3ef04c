//! The load client of lsbaws: several client processes open many connections, hold them open at the same
//! time, and then send one request on each.
//!
//! The program starts itself as the client processes. [`load_test`] is their parent process: it adds up their
//! events in a [`tally`] and prints a [`report`]. [`client`] is a client process: it opens its connections to
//! the [`target`] ([`connect`]), and runs the [`exchange`] on each, until its [`response`] has ended.
#![forbid(unsafe_code)]

mod chunked;
mod cli;
mod client;
mod connect;
mod event;
mod exchange;
mod load_test;
mod report;
mod response;
mod tally;
mod target;
mod wait;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use cli::Arguments;
use report::Report;
use target::{InvalidUrl, Target};

/// Exit codes of sysexits.h.
const EXIT_USAGE: u8 = 64;
const EXIT_SYSTEM: u8 = 71;

/// Descriptors of a process in addition to its connections or pipes: the standard ones, those that it
/// opens for a moment, and some that it may have inherited.
const OTHER_DESCRIPTORS: u64 = 16;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    InvalidUrl(#[from] InvalidUrl),
    #[error("unable to {0}: {1}")]
    System(&'static str, #[source] io::Error),
}

impl Error {
    fn system(action: &'static str, error: io::Error) -> Self {
        Self::System(action, error)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse_arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // fails if the output is closed
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(is_ok) => ExitCode::from(u8::from(!is_ok)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "lsbaws-client: {error}");
            ExitCode::from(match error {
                Error::InvalidUrl(_) => EXIT_USAGE,
                Error::System(..) => EXIT_SYSTEM,
            })
        }
    }
}

/// Returns whether all connections received a complete response with a status of 2xx or 3xx. A client process
/// always returns `true`: its parent process decides.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    let target = Target::parse(&arguments.url)?;
    if arguments.client_process {
        let result = client::run(&target, arguments.max_conns, arguments.timeout);
        return result.map(|()| true).map_err(|error| Error::system("run a client process", error));
    }
    raise_descriptor_limit(arguments);
    let start = Instant::now();
    let (tally, notes) = load_test::run(arguments)?;
    let report = Report::new(arguments, &tally, start.elapsed(), notes);
    print(&report, arguments.json).map_err(|error| Error::system("write the report", error))?;
    Ok(report.ok)
}

/// Raises the soft limit of open files to the hard limit, also for the client processes. Warns if that is too
/// low.
fn raise_descriptor_limit(arguments: &Arguments) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    // If this fails, the report has EMFILE.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let needed = u64::from(arguments.max_conns.max(arguments.max_clients)) + OTHER_DESCRIPTORS;
    if hard.max(soft) < needed {
        let _ = writeln!(
            io::stderr(),
            "lsbaws-client: a process can open at most {hard} files (ulimit -Hn), and {needed} may be needed; \
             not all connections will open; choose --max-clients and --max-conns below {hard}"
        );
    }
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let text = if json { serde_json::to_string(report)? + "\n" } else { report.to_string() };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
