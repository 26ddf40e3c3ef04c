//! The fork server of a service: a process that has the settings of that service alone, confines itself once, and forks a
//! child for each connection that the supervisor hands over. The children inherit the confinement, and are the
//! supervisor's.
//!
//! Its descriptors have numbers above [`sys::CONNECTION`], so that each connection gets that number.

#![forbid(unsafe_code)]

mod changes;
mod interpreter;
mod spares;
mod start;
mod wait;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, setsid};

use crate::child;
use crate::child::supplies::Supplies;
use crate::confine;
use crate::handover::briefing::Briefing;
use crate::handover::leftovers;
use crate::handover::{Channel, ORDER_MAX, Order, Report};
use crate::journal::{self, Destination};
use crate::outcome::Outcome;
use crate::runtime::{LoadError, Loading, Runtime};
use crate::scoreboard::Slot;
use crate::service::{Leftover, Service, Watch};
use crate::sys::{self, Exit};
use crate::uplink::Uplink;
use changes::Changes;
use start::Start;

/// Descriptors that children do not keep are above this number, if there are not too many roots.
const CHILDREN_BELOW: RawFd = 31;

/// A fork server that is ready.
struct ForkServer {
    service: Service,
    channel: Channel,
    scoreboard: OwnedFd,
    program_output: Option<OwnedFd>,
    supplies: Supplies,
    /// What it has loaded the applications of the service into.
    runtime: Option<&'static dyn Runtime>,
    /// Of the files of the applications, if they are watched.
    changes: Option<Changes>,
    /// Which process has started this one.
    supervisor: Pid,
    /// Children that wait for a connection from the start on.
    spares: usize,
    forks_twice: bool,
    /// This process is a child that is confined, and whose runtime knows that.
    is_prepared: bool,
    watch: Watch,
    /// The name of the listener of the last connection: children inherit it, and need not copy it.
    listener: Option<Arc<str>>,
}

/// Serves the supervisor that has started this process until it closes the channel. `number` is that of the briefing's
/// descriptor. A service with applications has another program for that: this process becomes it when it is confined. Returns
/// the exit code.
///
/// # Errors
/// Why the fork server cannot start, or go on, where the supervisor has got no report of it.
pub(crate) fn run(number: RawFd) -> Result<u8, String> {
    let briefing = begin(number, false)?;
    if briefing.service.python().is_some() {
        return interpreter::become_interpreter(briefing);
    }
    if let Some(file) = &briefing.text {
        let _ = sys::run_from(file.as_fd()); // slower, without
    }
    start(briefing, None)
}

/// The same in the process of an interpreter, which [`run`] has executed: `runtime` has to load the applications of the
/// service.
///
/// # Errors
/// Those of [`run`].
pub fn serve(number: RawFd, runtime: &'static dyn Runtime) -> Result<u8, String> {
    child::exit_on_panic();
    let briefing = begin(number, true)?;
    start(briefing, Some(runtime))
}

/// Prepares this process, and reads the briefing.
fn begin(number: RawFd, has_applications: bool) -> Result<Briefing<Service>, String> {
    sys::reset_signals();
    let _ = prctl::set_name(c"lsbaws"); // not that of /proc/self/exe
    let prepare = || child::prepare_signals(has_applications).and_then(|()| prctl::set_dumpable(false));
    prepare().map_err(|error| format!("unable to prepare the process: {}", error.desc()))?;
    let briefing = Briefing::read(number)
        .map_err(|error| format!("this command is for the supervisor alone: {error}"))?;
    journal::set_style(briefing.style); // there is no environment to find it by
    Ok(briefing)
}

fn start(briefing: Briefing<Service>, runtime: Option<&'static dyn Runtime>) -> Result<u8, String> {
    let order = |error| format!("unable to order descriptors: {error}");
    let (mut server, preparation) = ForkServer::new(briefing, runtime).map_err(order)?;
    let reserved = server.reserve_connection().map_err(order)?;
    match server.prepare(preparation) {
        Ok(gaps) => {
            drop(reserved); // the number is the connection's from now on
            // From now on it finds that the channel is closed, after what has been handed over.
            let _ = prctl::set_pdeathsig(None); // cannot fail, unless it is denied
            server.fork_first_spares()?;
            server.report(&Report::Ready { gaps })?;
            server.serve()?;
            Ok(0)
        }
        Err(LoadError { sentence, details }) => {
            server.report(&Report::failed(&sentence, &details, server.changes.is_some()))?;
            server.wait_for_change()?;
            Ok(Outcome::SystemError.code())
        }
    }
}

/// How a fork server prepares its process.
struct Preparation {
    open_files: u64,
    log: Destination,
    /// It is confined already.
    confined: Option<Vec<confine::Gap>>,
}

impl ForkServer {
    fn new(
        briefing: Briefing<Service>,
        runtime: Option<&'static dyn Runtime>,
    ) -> io::Result<(Self, Preparation)> {
        let Briefing { service, children, forks_twice, spares, log, open_files, uplink, confined, .. } =
            briefing;
        let program_output = service.is_program().then_some(briefing.program_output);
        let server = Self {
            service,
            // Above those that a child keeps, so that it closes the rest at once.
            channel: Channel::new(briefing.channel).move_above(CHILDREN_BELOW)?,
            scoreboard: sys::move_above(CHILDREN_BELOW, briefing.scoreboard)?,
            program_output,
            supplies: Supplies::new(children, uplink.map(Uplink::new), runtime),
            runtime,
            changes: None,
            supervisor: Pid::parent(),
            spares,
            forks_twice,
            is_prepared: false,
            watch: Watch::default(),
            listener: None,
        };
        Ok((server, Preparation { open_files, log, confined }))
    }

    /// Closes every descriptor that is not its own, since the daemon may have been started with others, and reserves the
    /// number of the connection.
    fn reserve_connection(&self) -> io::Result<File> {
        let own = [self.channel.as_fd(), self.scoreboard.as_fd()].map(|fd| fd.as_raw_fd());
        let output = self.program_output.as_ref().map(AsRawFd::as_raw_fd);
        let kept = own.into_iter().chain(output).chain(self.supplies.descriptors());
        sys::close_all_but(kept.chain(self.service.descriptors()))?;
        File::open("/dev/null")
    }

    /// Prepares this process for its children, and confines it. Returns what the kernel cannot do.
    fn prepare(&mut self, preparation: Preparation) -> Result<Vec<confine::Gap>, LoadError> {
        let Preparation { open_files, log, confined } = preparation;
        self.supplies.show_title("fork-server", &self.service.name);
        if confined.is_none() {
            prepare_process(&self.service, open_files)?;
        }
        self.open_log(log).map_err(|error| format!("unable to open the journal: {error}"))?;
        let gaps = match confined {
            Some(gaps) => gaps,
            None => {
                self.service.confine(sys::CONNECTION).map_err(|error| error.describe(&self.service.name))?
            }
        };
        if let Some(runtime) = self.runtime {
            self.watch_for_changes()?; // before anything is loaded
            let loaded = self.load(runtime);
            if let Some(changes) = &mut self.changes {
                changes.exclude(&runtime.take_written());
            }
            loaded?;
            let _ = sys::gather_heap(); // slower, without
            sys::accept_foreign_code();
        }
        Ok(gaps)
    }

    /// Loads the applications, and makes their requests of `warm_up`.
    fn load(&self, runtime: &dyn Runtime) -> Result<(), LoadError> {
        runtime.load(&Loading {
            applications: &self.service.applications(),
            on_fork: self.service.python().and_then(|python| python.on_fork.as_deref()),
            is_once: self.supplies.serves_once(),
            records_writes: self.changes.is_some(),
        })?;
        for sentence in self.service.warm_up(runtime) {
            self.warn(&sentence)?;
        }
        for sentence in runtime.settle()? {
            self.warn(&sentence)?;
        }
        Ok(())
    }

    /// Opens what children write to.
    fn open_log(&mut self, log: Destination) -> io::Result<()> {
        match self.supplies.clone_uplink()?.filter(|_| self.runtime.is_some() && log == Destination::Stderr) {
            // An application could write anything to the standard error of the daemon.
            Some(uplink) => journal::send_for_children(uplink),
            // A child that starts programs may open sockets.
            None => journal::open_for_children(log, self.service.confinement.starts_programs)?,
        }
        self.supplies.keep_log();
        Ok(())
    }

    fn fork_first_spares(&mut self) -> Result<(), String> {
        (0..self.spares).try_for_each(|_| self.fork_spare())
    }

    /// Forks a child for each connection.
    fn serve(&mut self) -> Result<(), String> {
        let mut buffer = [0; ORDER_MAX];
        loop {
            self.wait_for_order()?;
            match self.channel.receive_order(&mut buffer) {
                Ok(Some(Order::ForkSpare)) => {
                    // Its connections do not come to this process.
                    if self.is_outdated()? {
                        self.report(&Report::Outdated { slot: None })?;
                    }
                    self.fork_spare()?;
                }
                Ok(Some(Order::Serve(handover, connection, supplements))) => {
                    let slot = handover.slot;
                    let start = Start { handover, connection, supplements };
                    self.keep_name(start.handover.listener);
                    if self.is_outdated()? {
                        self.report(&Report::Outdated { slot: Some(slot) })?;
                        continue;
                    }
                    if let Err(errno) = self.hand_over(start) {
                        self.report(&Report::NotForked { slot, errno })?;
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(format!("unable to receive a connection: {error}")),
            }
        }
    }

    /// Whether the path of a root leads to another directory, or a file of users has changed: looked at here and not by the
    /// supervisor, which must not wait for a file system. It looks only at what this process may not look at.
    fn is_outdated(&mut self) -> Result<bool, String> {
        let mut warnings = Vec::new();
        let warn = |sentence| warnings.push(sentence);
        let is_outdated = self.service.is_outdated(&mut self.watch, Instant::now(), warn);
        for sentence in warnings {
            self.warn(&sentence)?;
        }
        Ok(is_outdated)
    }

    fn warn(&self, sentence: &str) -> Result<(), String> {
        self.report(&Report::warning(sentence))
    }

    /// Forks a child for a connection. The error is the errno of clone(2).
    fn hand_over(&mut self, start: Start<'_>) -> Result<(), i32> {
        // Threads of an application may have opened something else meanwhile.
        debug_assert!(start.connection.as_raw_fd() == sys::CONNECTION || self.runtime.is_some());
        let to_errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EAGAIN);
        let slot = start.handover.slot;
        if !self.forks_twice {
            self.before_fork();
            let forked = sys::fork_sibling(|| self.start(start));
            self.after_fork();
            self.record_fork(slot, forked.map_err(to_errno)?);
            return Ok(());
        }
        self.before_fork();
        // The intermediate exits with the errno. The child of it becomes the supervisor's, which is a subreaper.
        let fork_again = || {
            let parent = Pid::this();
            let forked = sys::fork_child(|| match start::wait_for_adoption(parent) {
                Ok(()) => self.start(start),
                Err(_) => Outcome::SystemError.code(),
            });
            match forked {
                Ok(pid) => {
                    self.record_fork(slot, pid);
                    0
                }
                Err(error) => u8::try_from(to_errno(error)).unwrap_or(u8::MAX),
            }
        };
        let forked = sys::fork_child(fork_again);
        self.after_fork();
        let intermediate = forked.map_err(to_errno)?;
        match sys::wait_for(intermediate) {
            Ok((_, Exit::Exited(0), _)) => Ok(()),
            Ok((_, Exit::Exited(errno), _)) => Err(errno.into()),
            _ => Err(libc::EAGAIN),
        }
    }

    fn record_fork(&self, slot: u32, pid: Pid) {
        // Without, a connection whose child dies at once waits until this process is killed as stalled.
        let _ = Slot::set_forked(self.scoreboard.as_fd(), slot, pid);
    }

    fn report(&self, report: &Report) -> Result<(), String> {
        self.channel.report(report).map_err(|error| format!("unable to report to the supervisor: {error}"))
    }

    fn before_fork(&self) {
        if let Some(runtime) = self.runtime {
            runtime.before_fork();
        }
    }

    /// In this process.
    fn after_fork(&self) {
        if let Some(runtime) = self.runtime {
            runtime.after_fork_in_parent();
        }
    }
}

/// What a fork server and the program that it becomes do once.
fn prepare_process(service: &Service, open_files: u64) -> Result<(), String> {
    // Its children are recognized by this session until they have reported that they have started.
    setsid().map_err(|errno| format!("unable to begin a session: {}", errno.desc()))?;
    let limit_files = || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, open_files.min(hard), hard)
    };
    limit_files().map_err(|errno| format!("unable to set RLIMIT_NOFILE: {}", errno.desc()))?;
    if service.leftover == Leftover::End {
        leftovers::mark_as_ending()
            .map_err(|errno| format!("unable to set RLIMIT_MSGQUEUE: {}", errno.desc()))?;
    }
    Ok(())
}
