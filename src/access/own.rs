//! Lines of a process that serves its connections itself: the model `iterative`, and a single connection that was handed
//! in. There is no supervisor that a slow disk could stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

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

/// Opens a file for lines: created for its owner and group alone, appended to.
///
/// # Errors
/// Those of open(2).
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC;
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
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
    format.write(&line, &mut text);
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
