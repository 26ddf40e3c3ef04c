//! A stream to the journal for the standard error of programs, as systemd gives to services (sd_journal_stream_fd(3)).
//! Each line is an entry of the program that has written it, by its own `_PID`, and under an identifier that is not the
//! daemon's.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::entry::IDENTIFIER;

/// Where journald listens for streams (systemd-journald.service(8)).
const PATH: &str = "/run/systemd/journal/stdout";

/// Opens a stream, whose entries have the identifier `lsbaws-SERVICE`.
///
/// # Errors
/// Those of connect(2) and write(2): no journald.
pub(crate) fn open_stream(service: &str) -> io::Result<OwnedFd> {
    let mut stream = UnixStream::connect(PATH)?;
    stream.shutdown(Shutdown::Read)?;
    // Identifier, unit, priority (info), whether lines begin with a priority, and whether journald forwards them to syslog,
    // the kernel's log and the console.
    write!(stream, "{IDENTIFIER}-{service}\n\n6\n0\n0\n0\n0\n")?;
    Ok(stream.into())
}
