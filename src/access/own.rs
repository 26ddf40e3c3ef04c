//! Lines of a process that serves its connections itself: the model `iterative`, and a single connection that was handed
//! in. There is no supervisor that a slow disk could stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::statfs::{FsType, statfs};

use super::line::AccessLine;
use super::{Format, Settings, Target};
use crate::connection::Identity;
use crate::journal;
use crate::uplink::Answered;

static OWN: Mutex<Option<OwnLines>> = Mutex::new(None);

#[derive(Debug)]
struct OwnLines {
    format: Format,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Journal,
    Stderr,
    File(File),
}

/// The file system of pipes without a name (statfs(2)): /dev/stdout can be such a pipe.
const PIPEFS: FsType = FsType(0x5049_5045);

/// Opens a file for lines: created for its owner and group alone, appended to. Does not wait for the reader of a FIFO.
///
/// # Errors
/// Those of open(2); ENXIO for what cannot be a file of lines: see [`check_file`].
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    if !is_suitable(path)? {
        return Err(Errno::ENXIO.into());
    }
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// Whether lines can be appended to the file with this path, which is a regular file, a character device such as a terminal,
/// or a pipe that this process has inherited.
fn is_suitable(path: &Path) -> io::Result<bool> {
    let kind = path.metadata()?.file_type();
    let is_inherited = || statfs(path).is_ok_and(|fs| fs.filesystem_type() == PIPEFS);
    Ok(kind.is_file() || kind.is_char_device() || kind.is_fifo() && is_inherited())
}

/// Checks the file of lines. It need not exist.
///
/// # Errors
/// A sentence, if it exists and is neither a regular file nor a character device.
pub(crate) fn check_file(path: &Path) -> Result<(), String> {
    match is_suitable(path) {
        Ok(false) => Err(describe_failure(path, &Errno::ENXIO.into())),
        Ok(true) | Err(_) => Ok(()),
    }
}

/// Why the file of lines cannot be opened.
pub(crate) fn describe_failure(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::ENXIO) => format!("{path} is neither a regular file nor a character device"),
        _ => format!("unable to open {path} for access lines: {error}"),
    }
}

/// Opens, or opens again, where this process writes lines of its own requests. `None`: none are written.
///
/// # Errors
/// Those of open(2).
pub(crate) fn open_own(settings: Option<&Settings>) -> io::Result<()> {
    let open = |settings: &Settings| {
        let sink = match &settings.target {
            Target::Journal => Sink::Journal,
            Target::Stderr => Sink::Stderr,
            Target::File(path) => Sink::File(open_file(path)?),
        };
        Ok::<_, io::Error>(OwnLines { format: settings.format.clone(), sink })
    };
    let own = settings.map(open).transpose()?;
    *OWN.lock().unwrap_or_else(PoisonError::into_inner) = own;
    Ok(())
}

/// Writes the line of a request that this process has answered. False: it is lost.
pub(crate) fn write_own(identity: &Identity, service: &str, answered: &Answered<'_>) -> bool {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(OwnLines { format, sink }) = &mut *own else { return true };
    let ended = SystemTime::now();
    let line = AccessLine::new(identity, service, answered, ended);
    let mut text = String::with_capacity(256);
    let room = if matches!(sink, Sink::Stderr) { journal::access_room() } else { usize::MAX };
    format.write(&line, room, &mut text);
    match sink {
        Sink::Journal => {
            line.log(&text);
            true
        }
        Sink::Stderr => {
            journal::print_access(&text);
            true
        }
        Sink::File(file) => {
            text.push('\n');
            file.write_all(text.as_bytes()).is_ok()
        }
    }
}
