//! The log of a child: what happens to its connection while it runs, such as a program that fails. A child that may open no
//! socket gets one from the process that forks it; others open one when there is something to write. What the log does not
//! accept is counted in the slot of the child, and the supervisor adds it to its own count.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid};

use super::entry::Entry;
use super::global::{add_lost_message, destination};
use super::line::Destination;
use super::note::to_entry;
use super::socket::{JournalSocket, SendError};
use super::stderr::Stderr;
use crate::capacity::Watch;
use crate::confine::Confinement;
use crate::connection::Identity;
use crate::escape::{escape_ascii, escape_for_line, remove_error_numbers};
use crate::interpreter;
use crate::scoreboard::{Slot, describe_target};
use crate::sys;
use crate::uplink::{self, Message, Note, NoteKind};

/// Where the children of this process, or this process itself, write.
static SINK: Mutex<ChildSink> = Mutex::new(ChildSink::AsParent);

/// Sets where the children of this process write. A child that can end the socket of all (shutdown(2)) must not have it:
/// each opens its own. Without `each`, it is opened here. To be called before this process confines itself.
///
/// # Errors
/// Those of socket(2).
pub(crate) fn open_for_children(destination: Destination, each: bool) -> io::Result<()> {
    let sink = match each {
        true => ChildSink::Later(destination),
        false => ChildSink::open(destination)?,
    };
    *SINK.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    Ok(())
}

/// The same for children that run foreign code, and so do not have the log: they send to the supervisor, which knows the
/// sender of each message.
pub(crate) fn send_for_children(uplink: OwnedFd) {
    *SINK.lock().unwrap_or_else(PoisonError::into_inner) = ChildSink::Supervisor(uplink);
}

/// The descriptor of what [`open_for_children`] has opened, which children keep.
pub(crate) fn child_descriptor() -> Option<RawFd> {
    match &*SINK.lock().unwrap_or_else(PoisonError::into_inner) {
        ChildSink::Journal(socket, _) => Some(socket.as_arc().as_raw_fd()),
        ChildSink::Stderr(stderr) => stderr.descriptor(),
        ChildSink::Supervisor(uplink) => Some(uplink.as_raw_fd()),
        ChildSink::AsParent | ChildSink::Later(_) => None,
    }
}

/// How long a child waits for the journal, in all.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The log of a process that serves one connection.
#[derive(Debug)]
pub(crate) struct ChildLog<'a> {
    identity: &'a Identity,
    service: &'a str,
    /// None: this process is its own supervisor.
    slot: Option<Slot>,
}

#[derive(Debug)]
enum ChildSink {
    /// Nothing has been written yet; the log is that of this very process.
    AsParent,
    /// Nothing has been written yet.
    Later(Destination),
    /// And for how much longer the child may wait for it.
    Journal(JournalSocket, Duration),
    Stderr(Stderr),
    /// The uplink.
    Supervisor(OwnedFd),
}

impl<'a> ChildLog<'a> {
    pub(crate) fn new(identity: &'a Identity, service: &'a str, slot: Option<Slot>) -> Self {
        Self { identity, service, slot }
    }

    /// A program could not be started, for the target of a request if that leads to it. `confinement`: that of the service.
    pub(crate) fn log_program_failed(
        &self,
        target: Option<&str>,
        program: &Path,
        error: &io::Error,
        confinement: &Confinement,
    ) {
        let limit = Watch::default().find_reached(error);
        let is_denied = error.raw_os_error() == Some(libc::EACCES);
        let denied = is_denied.then(|| confinement.find_not_executable(program)).flatten();
        let mut error = remove_error_numbers(error.to_string());
        if error.starts_with("No such file")
            && let Some((interpreter, has_return)) = read_interpreter(program)
        {
            let cause = if has_return { " (the #! line ends with a carriage return)" } else { "" };
            error = format!("interpreter '{interpreter}' not found{cause}: {error}");
        }
        if let Some(denied) = denied {
            error = format!("{error}: {}", denied.describe(self.service));
        } else if is_denied && let Some(cause) = find_denial(program) {
            error = format!("{error}: {cause}");
        }
        if let Some(limit) = limit {
            error = format!("{error}: {limit}");
        }
        let what = format_args!("unable to run {}: ", escape_path(program));
        self.write_error(NoteKind::ProgramFailed, what, &error, target);
    }

    /// A program did not send a valid response, or not in time.
    pub(crate) fn log_program_fault(&self, target: &str, program: &Path, error: &str) {
        let what = format_args!("{} failed: ", escape_path(program));
        self.write_error(NoteKind::ProgramFailed, what, error, Some(target));
    }

    /// A program wrote a line to its standard error.
    pub(crate) fn log_program_output(&self, target: &str, line: &[u8]) {
        self.write(Note::output(&describe_target(target.as_bytes()), line));
    }

    /// A limit of the service could not be set.
    pub(crate) fn log_limit_not_set(&self, key: &str, error: &str) {
        let what = format!("unable to set {key} of the service {}: ", self.service);
        let (kind, text) = (NoteKind::LimitNotSet, error.as_bytes());
        self.write(Note { kind, what: &what, text, target: "", limit: key });
    }

    /// A system call for the connection failed, for example to read a file.
    pub(crate) fn log_system_error(&self, target: Option<&str>, what: &str, error: &io::Error) {
        let what = format_args!("unable to {what}: ");
        self.write_error(NoteKind::SystemError, what, &remove_error_numbers(error.to_string()), target);
    }

    fn write_error(&self, kind: NoteKind, what: fmt::Arguments<'_>, error: &str, target: Option<&str>) {
        let (what, text) = (what.to_string(), error.as_bytes());
        let target = target.map(|target| describe_target(target.as_bytes())).unwrap_or_default();
        self.write(Note { kind, what: &what, text, target: &target, limit: "" });
    }

    fn write(&self, note: Note<'_>) {
        let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        let destination = match *sink {
            ChildSink::AsParent => Some(destination()),
            ChildSink::Later(destination) => Some(destination),
            ChildSink::Journal(..) | ChildSink::Stderr(_) | ChildSink::Supervisor(_) => None,
        };
        if let Some(Ok(open)) = destination.map(ChildSink::open) {
            *sink = open;
        }
        let is_accepted = match (&mut *sink, self.slot) {
            (ChildSink::Supervisor(uplink), Some(slot)) => {
                uplink::send(uplink.as_fd(), slot.index(), Message::Note(note.cut())).is_ok()
            }
            (sink, _) => sink.write(&to_entry(note, self.identity, self.service, false)),
        };
        if !is_accepted {
            match self.slot {
                Some(slot) => slot.add_lost_message(),
                None => add_lost_message(),
            }
        }
    }
}

impl ChildSink {
    fn open(destination: Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::Journal => Self::Journal(JournalSocket::open()?, TIMEOUT),
            Destination::Stderr => Self::Stderr(Stderr::open()),
        })
    }

    /// False: the log did not accept it.
    fn write(&mut self, entry: &Entry) -> bool {
        match self {
            Self::Journal(socket, time_left) => {
                let mut bytes = Vec::new();
                entry.encode_for_journal(&mut bytes);
                send(socket, &bytes, time_left)
            }
            Self::Stderr(stderr) => stderr.write_entry(entry).is_ok(),
            Self::AsParent | Self::Later(_) | Self::Supervisor(_) => false,
        }
    }
}

/// Sends an entry. Waits for room for up to `time_left`, which it reduces. False: the journal did not accept it.
fn send(socket: &mut JournalSocket, entry: &[u8], time_left: &mut Duration) -> bool {
    loop {
        match socket.send(entry) {
            Ok(()) => return true,
            Err(SendError::Full) if !time_left.is_zero() => {
                let start = Instant::now();
                sys::wait_writable(socket.as_arc(), start + *time_left);
                *time_left = time_left.saturating_sub(start.elapsed());
            }
            Err(_) => return false,
        }
    }
}

/// The interpreter in the `#!` line of a script, and whether a carriage return ends that line: it is invisible and
/// never intended.
fn read_interpreter(script: &Path) -> Option<(String, bool)> {
    let line = interpreter::read_line(script)?;
    let text = line.strip_suffix(b"\r").unwrap_or(&line);
    Some((escape_ascii(text), text.len() < line.len()))
}

/// Why the system does not let this user run a file, if that is due to the file itself.
fn find_denial(program: &Path) -> Option<String> {
    let metadata = fs::metadata(program).ok().filter(fs::Metadata::is_file)?;
    if metadata.permissions().mode() & 0o111 == 0 {
        return Some("the file is not executable (chmod +x)".into());
    }
    access(program, AccessFlags::X_OK).err()?;
    let is_noexec = statvfs(program).is_ok_and(|system| system.flags().contains(FsFlags::ST_NOEXEC));
    Some(match is_noexec {
        true => "its file system is mounted with noexec".into(),
        false => format!("the user with UID {} may not execute the file", geteuid()),
    })
}

fn escape_path(path: &Path) -> String {
    escape_for_line(path.as_os_str().as_bytes())
}
