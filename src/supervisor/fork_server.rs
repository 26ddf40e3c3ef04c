//! A fork server, as the supervisor sees it: a process, a channel, and its spares.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::events::{Event, Events};
use super::outputs::Outputs;
use crate::child::supplies::ChildSettings;
use crate::connection::Connection;
use crate::handover::briefing::Briefing;
use crate::handover::{Channel, Handover};
use crate::journal;
use crate::scoreboard::Slot;
use crate::service::Service;
use crate::sys;

/// What every fork server is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template {
    pub(crate) children: ChildSettings,
    pub(crate) forks_twice: bool,
    /// Of each fork server.
    pub(crate) spares: usize,
    pub(crate) logs_to_journal: bool,
    /// The soft limit of descriptors of its children.
    pub(crate) open_files: u64,
}

/// What fork servers share with the supervisor, or use of it.
pub(crate) struct Shared<'a> {
    pub(crate) scoreboard: BorrowedFd<'a>,
    pub(crate) events: &'a Events,
    pub(crate) outputs: &'a mut Outputs,
}

impl Shared<'_> {
    /// Standard error of the programs that children of this service become: not that of the daemon.
    fn open_program_output(&mut self, service: &Service, logs_to_journal: bool) -> io::Result<OwnedFd> {
        if service.is_http() {
            return Ok(File::open("/dev/null")?.into()); // none becomes a program
        }
        match logs_to_journal.then(|| journal::open_stream(&service.name)) {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(_)) | None => self.outputs.add(&service.name, self.events),
        }
    }
}

/// Where a fork server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It prepares itself.
    Starting,
    /// It takes connections.
    Ready,
    /// It takes none any more, and exits.
    Retiring,
}

/// The process that forks the children of a service.
#[derive(Debug)]
pub(crate) struct ForkServer {
    pub(crate) id: u32,
    pub(crate) service: Arc<Service>,
    pub(crate) state: State,
    pub(crate) started: Instant,
    pub(crate) template: Template,
    /// It takes the connections of its service, or will when it is ready.
    pub(crate) is_current: bool,
    /// It has forked for a connection.
    pub(crate) has_served: bool,
    /// Why it has exited, as far as that is known.
    pub(crate) failure: Option<String>,
    /// Words for what the kernel cannot do to confine its children.
    pub(crate) gaps: Arc<str>,
    pub(crate) pid: Pid,
    /// None: it is reaped.
    pidfd: Option<OwnedFd>,
    /// None: closed by one side.
    channel: Option<Channel>,
    /// Children that wait for a connection.
    spares: Vec<(Pid, OwnedFd)>,
}

impl ForkServer {
    /// Starts the process. It reports when it is ready.
    ///
    /// # Errors
    /// No memory, descriptors or processes.
    pub(crate) fn start(
        id: u32,
        service: &Arc<Service>,
        template: Template,
        shared: &mut Shared<'_>,
    ) -> io::Result<Self> {
        let (ours, theirs) = sys::open_channel()?;
        let briefing = Briefing {
            service: &**service,
            children: template.children,
            forks_twice: template.forks_twice,
            spares: template.spares,
            logs_to_journal: template.logs_to_journal,
            open_files: template.open_files,
            channel: theirs,
            scoreboard: shared.scoreboard.try_clone_to_owned()?,
            program_output: shared.open_program_output(service, template.logs_to_journal)?,
        };
        let (file, inherited) = briefing.write()?;
        // The file that this process runs, even if an upgrade has replaced it.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lsbaws").arg("fork-server").arg(&service.name).arg(file.as_raw_fd().to_string());
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        sys::keep_for_program(&mut command, inherited);
        let pid = command.spawn()?.id();
        let pidfd = sys::open_pidfd(pid)?;
        let pid = Pid::from_raw(pid.cast_signed());
        shared.events.add(&pidfd, Event::Process(pid))?;
        shared.events.add(&ours, Event::Report(id))?;
        Ok(Self {
            id,
            service: Arc::clone(service),
            state: State::Starting,
            started: Instant::now(),
            template,
            is_current: false,
            has_served: false,
            failure: None,
            gaps: "".into(),
            pid,
            pidfd: Some(pidfd),
            channel: Some(Channel::new(ours)),
            spares: Vec::new(),
        })
    }

    /// Hands over a connection, whose child gets this slot. Never waits.
    ///
    /// # Errors
    /// EAGAIN when it has too many to fork for, EPIPE when it has exited.
    pub(crate) fn hand_over(&self, connection: &Connection, slot: Slot) -> io::Result<()> {
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let identity = &connection.identity;
        let handover = Handover {
            id: identity.id,
            peer: identity.peer,
            listener: &identity.listener,
            accepted_at: sys::monotonic_nanoseconds_of(identity.accepted_at),
            slot: slot.index(),
        };
        channel.hand_over(&handover, connection.socket.as_fd())
    }

    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Closes the channel: the fork server exits, and so do its spares.
    pub(crate) fn close(&mut self) {
        self.channel = None;
    }

    /// Whether this is its process, which is not reaped.
    pub(crate) fn is_process(&self, pid: Pid) -> bool {
        self.pid == pid && self.pidfd.is_some()
    }

    /// Nothing of it exists any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.pidfd.is_none() && self.channel.is_none() && self.spares.is_empty()
    }

    /// Its process is reaped. Its spares can get no connection any more, and hold its end of the channel.
    pub(crate) fn set_reaped(&mut self) {
        self.pidfd = None;
        self.kill();
    }

    /// Kills the fork server and its spares.
    pub(crate) fn kill(&self) {
        for pidfd in self.spares.iter().map(|(_, pidfd)| pidfd).chain(&self.pidfd) {
            let _ = sys::send_signal(pidfd.as_fd(), Signal::SIGKILL); // it has exited already
        }
    }

    /// Children that wait for a connection.
    pub(crate) fn count_spares(&self) -> usize {
        self.spares.len()
    }

    pub(crate) fn has_spare(&self, pid: Pid) -> bool {
        self.spares.iter().any(|&(spare, _)| spare == pid)
    }

    pub(crate) fn add_spare(&mut self, pid: Pid, pidfd: OwnedFd) {
        self.spares.push((pid, pidfd));
    }

    /// Takes a spare that has got a connection, or has exited.
    pub(crate) fn take_spare(&mut self, pid: Pid) -> Option<OwnedFd> {
        let index = self.spares.iter().position(|&(spare, _)| spare == pid)?;
        Some(self.spares.swap_remove(index).1)
    }
}
