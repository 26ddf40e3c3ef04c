//! Starts a program so that what the lookup has found is what runs, whatever is renamed meanwhile.
//!
//! A binary runs by its descriptor. A script cannot: its interpreter opens the path that it gets. So the new process checks,
//! as its last act, that this path still leads to the file that was found.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, execve, execveat, fchdir, getppid, setpgid};

use super::content::Content;
use super::script::Script;
use crate::confine;
use crate::handler::exchange::ProgramTerms;
use crate::sys;

/// Runs a script without a `#!` line, as execvp(3) does.
const SHELL: &CStr = c"/bin/sh";

/// A process that has been started, and this process's ends of its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: PipeReader,
    pub(crate) stderr: PipeReader,
}

/// What execve(2) gets, made before the fork.
struct Image<'a> {
    script: &'a Script,
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// Starts a script in its own directory (RFC 3875, section 7.2) and in a process group of its own, with
/// `content` as its standard input. It gets SIGTERM when this process dies.
///
/// # Errors
/// Those of fork(2), of the pipes, and of each step up to execve(2); ESTALE when the path of a script leads to another
/// file than the one that was found.
pub(crate) fn spawn(
    script: &Script,
    variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    content: &Content,
    terms: ProgramTerms<'_>,
) -> io::Result<Started> {
    let image = Image::new(script, variables)?;
    let (stdin, to_stdin) = match content {
        Content::Nothing => (OwnedFd::from(File::open("/dev/null")?), None),
        Content::File(file) => (file.try_clone()?.into(), None),
        Content::Client | Content::Memory(_) => {
            let (reader, writer) = pipe()?;
            (reader.into(), Some(writer))
        }
    };
    let ((stdout, to_stdout), (stderr, to_stderr)) = (pipe()?, pipe()?);
    let (mut failure, to_failure) = pipe()?;
    let parent = Pid::this();
    let pid = sys::fork_child(|| {
        let run = || {
            tie_to(parent)?;
            dup2_stdin(&stdin)?;
            dup2_stdout(&to_stdout)?;
            dup2_stderr(&to_stderr)?;
            image.enter_directory()?;
            let kept = [Some(to_failure.as_raw_fd()), image.fd().map(|fd| fd.as_raw_fd())];
            sys::close_all_but(kept.into_iter().flatten()).map_err(|error| to_errno(&error))?;
            confine::separate(terms.confinement).map_err(|error| to_errno(&error))?;
            image.run()
        };
        let Err(errno) = run();
        let _ = (&to_failure).write_all(&(errno as i32).to_ne_bytes());
        u8::MAX
    })?;
    drop(to_failure);
    let mut errno = [0; 4];
    // The new process's end is closed by its exec.
    if failure.read_exact(&mut errno).is_ok() {
        sys::wait_for(pid)?;
        return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
    }
    Ok(Started { pid, stdin: to_stdin, stdout, stderr })
}

/// Makes the new process end with the one that has started it, and its signals those that programs expect.
fn tie_to(parent: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    // The parent may have died before this process could ask for its signal.
    if getppid() != parent {
        return Err(Errno::ESRCH);
    }
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    for ignored in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        sys::reset_signal(ignored);
    }
    SigSet::empty().thread_set_mask()
}

impl<'a> Image<'a> {
    fn new(
        script: &'a Script,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> io::Result<Self> {
        let program = CString::new(script.program.as_os_str().as_bytes())?;
        let argv0 = script.argv0.as_ref().map(|name| CString::new(name.as_bytes())).transpose()?;
        let mut arguments = vec![argv0.unwrap_or_else(|| program.clone())];
        if script.is_interpreted() {
            arguments.push(CString::new(script.file.as_os_str().as_bytes())?);
        }
        let environment = variables.into_iter().map(|(name, value)| {
            CString::new([name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()].concat())
        });
        Ok(Self { script, program, arguments, environment: environment.collect::<Result<_, _>>()? })
    }

    /// The descriptor of what runs, if that was found below a root.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        let found = self.script.found.as_ref().filter(|_| !self.script.is_interpreted())?;
        Some(found.file.as_fd())
    }

    fn enter_directory(&self) -> nix::Result<()> {
        match &self.script.found {
            Some(found) => fchdir(&found.directory),
            None => {
                let path = self.script.file.parent().unwrap_or(Path::new("/"));
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                fchdir(open(path, flags, Mode::empty())?)
            }
        }
    }

    fn run(&self) -> nix::Result<Infallible> {
        if let Some(fd) = self.fd() {
            match execveat(fd, c"", &self.arguments, &self.environment, AtFlags::AT_EMPTY_PATH) {
                // A script: its interpreter cannot open a descriptor that is closed by then (execveat(2)). A shell, and
                // others, would not learn the name of the script from it either.
                Err(Errno::ENOENT | Errno::ENOEXEC) => {}
                result => return result,
            }
        }
        if self.script.found.as_ref().is_some_and(|found| !found.file.metadata.is_at(&self.script.file)) {
            return Err(Errno::ESTALE);
        }
        match execve(&self.program, &self.arguments, &self.environment) {
            Err(Errno::ENOEXEC) => {
                // A script has no name but its path.
                let others = self.arguments[1..].iter().map(CString::as_c_str);
                let arguments: Vec<_> = [SHELL, self.program.as_c_str()].into_iter().chain(others).collect();
                execve(SHELL, &arguments, &self.environment)
            }
            result => result,
        }
    }
}

fn to_errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EPERM, Errno::from_raw)
}
