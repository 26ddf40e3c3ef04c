//! The sockets to the journal. The crates that write to it make blocking ones and keep them to themselves; a
//! journald that is stopped would block whoever writes. So their descriptors are found by number: a new one
//! has the lowest number that is free (open(2)), and this process has one thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::time::Duration;

use libsystemd::logging::{self, SD_JOURNAL_SOCK_PATH};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use tracing::{Event, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{IDENTIFIER, note_untaken};
use crate::sys;

/// Room for what is sent and not yet read, as libsystemd has it (`SNDBUF_SIZE`); the kernel may give less.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// How long [`send_once`] waits for the journal, until the first message that it does not take.
const PATIENCE_SECONDS: i64 = 1;

/// The journal, as soon as it is there. Notes each event that it does not take.
#[derive(Default)]
pub struct JournalLayer {
    journal: OnceLock<tracing_journald::Layer>,
}

impl JournalLayer {
    /// Opens the journal now, if it is there.
    pub fn new() -> Self {
        let layer = Self::default();
        layer.get();
        layer
    }

    fn get(&self) -> Option<&tracing_journald::Layer> {
        if self.journal.get().is_none() {
            let _ = self.journal.set(open_journal().ok()?); // it was empty
        }
        self.journal.get()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for JournalLayer {
    /// The crate says nothing of a failure, and the call that may fail is the last that it makes.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(journal) = self.get() else {
            return note_untaken();
        };
        Errno::clear();
        journal.on_event(event, context);
        // EMSGSIZE: too large for a datagram, so it went through a memory file, without an error.
        if !matches!(Errno::last_raw(), 0 | libc::EMSGSIZE) {
            note_untaken();
        }
    }
}

fn open_journal() -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        // The crate's own mapping makes info a notice, which journalctl prints in bold.
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    // What is opened next sends an empty datagram at once, for which there must be room. It gets the number of
    // this socket, which is closed by then.
    let number = connect_when_ready(Duration::ZERO)?.as_raw_fd();
    let layer = tracing_journald::Layer::new()?
        .with_field_prefix(None)
        .with_syslog_identifier(IDENTIFIER.into())
        .with_priority_mappings(priorities);
    let socket = sys::borrow_unix_datagram(number)?;
    set_nonblocking(socket)?;
    let _ = setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER); // less does as well
    Ok(layer)
}

/// Waits until the journal is there and takes a message, for a while at most.
pub fn connect_when_ready(patience: Duration) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SD_JOURNAL_SOCK_PATH)?;
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], timeout)? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(socket),
    }
}

/// Sends one message without the layer. Where the journal has not taken one within a second, this process waits
/// no more, and loses what is not taken at once.
pub fn send_once(priority: logging::Priority, message: &str, fields: &[(&str, &str)]) {
    static NUMBER: OnceLock<Option<RawFd>> = OnceLock::new();
    // The lowest that is free: the crate makes its socket with the first message of the process.
    let number = *NUMBER.get_or_init(|| UnixDatagram::unbound().ok().map(|socket| socket.as_raw_fd()));
    let socket = || number.and_then(|number| sys::borrow_unix_datagram(number).ok());
    // The crate makes its socket, then asks for the first field, then sends: the one moment to bound it.
    let identifier = std::iter::once_with(|| {
        if let Some(socket) = socket() {
            let _ = setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE_SECONDS)); // cannot fail
        }
        ("SYSLOG_IDENTIFIER", IDENTIFIER)
    });
    let result = logging::journal_send(priority, message, identifier.chain(fields.iter().copied()));
    if let (Err(_), Some(socket)) = (result, socket()) {
        let _ = set_nonblocking(socket); // nobody left to tell
    }
}

fn set_nonblocking(socket: BorrowedFd<'_>) -> nix::Result<()> {
    fcntl(socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}
