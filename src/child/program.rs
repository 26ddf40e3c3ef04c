//! The protocol `exec`: the child becomes a program, with the connection on its standard input and output
//! (inetd(8), "nowait").

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};

use super::work::Work;
use crate::environment::{PATH, describe_connection};
use crate::http::request_id::UniqueId;
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::Program;
use crate::sys;

/// Turns this process into the program. Returns only when that fails, after logging why. The process must hold
/// nothing but the connection and the standard descriptors.
///
/// The program gets the session of this process, an empty signal mask, all signals at their defaults (the
/// supervisor has reset those that were ignored at its start; the standard library's exec resets SIGPIPE, and this SIGXFSZ),
/// and a clean environment. Standard error is not that of the daemon: see [`super::work::Kit`].
pub(crate) fn become_program(program: &Program, work: &Work<'_>) -> Outcome {
    let slot = work.kit.slot;
    slot.enter(Phase::Program);
    // What the program leaves behind stays below it, and comes to the supervisor when it exits.
    let _ = prctl::set_child_subreaper(true); // cannot fail
    let error = match exec(program, work) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    slot.enter(Phase::Starting);
    let error = match program.directory.is_dir() {
        true => error,
        false => {
            io::Error::other(format!("its directory {} is missing: {error}", program.directory.display()))
        }
    };
    work.journal().log_program_failed(None, &program.program, &error, &work.service.confinement);
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EACCES | libc::ENOEXEC | libc::ENOTDIR) => Outcome::ConfigError,
        _ => Outcome::SystemError,
    }
}

fn exec(program: &Program, work: &Work<'_>) -> io::Result<Infallible> {
    let connection = work.connection;
    let header = work.header.unwrap_or_default();
    let local = header.addresses.map(|(_, local)| local);
    let socket = connection.socket.as_fd();
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK))?;
    let standard = || socket.try_clone_to_owned().map(Stdio::from);
    sys::reset_signal(Signal::SIGXFSZ);
    let mut command = Command::new(&program.program);
    command
        .arg0(program.argv0.as_deref().unwrap_or(program.program.as_os_str()))
        .args(&program.arguments)
        .current_dir(&program.directory)
        .env_clear()
        .env("PATH", PATH)
        .envs(describe_connection(connection, local, header.unique_id.as_ref().map(UniqueId::as_str)))
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .stdin(standard()?)
        .stdout(standard()?);
    if let Some(output) = work.kit.program_output {
        command.stderr(output.try_clone_to_owned()?);
    }
    SigSet::empty().thread_set_mask()?;
    Err(command.exec())
}
