//! A client process: opens its connections, waits for the other processes, sends the requests, and reads
//! the responses.
//!
//! Standard output takes an [`Event`](crate::event::Event) for each change of a connection. The end of
//! standard input starts the requests.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::connect::open_connections;
use crate::event::EventWriter;
use crate::exchange::run_exchanges;
use crate::target::Target;

/// Runs a client process with `count` connections. `timeout` limits the time to open all of them, and then
/// the time to receive all responses.
///
/// Fails if a pipe to the parent process or poll(2) fails.
pub(crate) fn run(target: &Target, count: u32, timeout: Duration) -> io::Result<()> {
    // Without the line buffer of io::stdout(), which would write an event at a time.
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut events = EventWriter::new(stdout);
    let sockets = open_connections(&target.addresses, count, timeout, &mut events)?;
    events.flush()?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    run_exchanges(sockets, &target.request(), timeout, &mut events)?;
    events.flush()
}
