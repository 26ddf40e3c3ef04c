//! A fork server, as the supervisor sees it: a process, a channel, and its spares.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::events::{Event, Events};
use super::failures::StartFailure;
use super::outputs::Outputs;
use super::spare::{Spare, Taker};
use super::uplinks::Uplinks;
use crate::child::supplies::ChildSettings;
use crate::connection::Connection;
use crate::handover::briefing::Briefing;
use crate::handover::{Channel, Handover, Supplements};
use crate::journal::{self, Destination, LineStyle};
use crate::scoreboard::{Scoreboard, Slot};
use crate::service::Service;
use crate::sys;

/// How long a fork server may take to start, unless its service has another time.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A fork server that has taken connections for this long, whether or not some came, is no failed start when it exits.
const STEADY_TIME: Duration = Duration::from_secs(10);

/// More sentences of one fork server are not logged.
const WARNINGS_MAX: u32 = 100;

/// What every fork server is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template {
    pub(crate) children: ChildSettings,
    pub(crate) forks_twice: bool,
    /// Of each fork server.
    pub(crate) spares: usize,
    pub(crate) log: Destination,
    pub(crate) style: LineStyle,
    /// The soft limit of descriptors of its children.
    pub(crate) open_files: u64,
}

impl Template {
    /// Whether the children of this service have something to send to the supervisor while they serve.
    fn sends_messages(&self, service: &Service) -> bool {
        let has_no_log = service.python().is_some() && self.log == Destination::Stderr;
        (self.children.reports_requests || has_no_log) && service.is_http()
    }
}

/// What fork servers share with the supervisor, or use of it.
pub(crate) struct Shared<'a> {
    pub(crate) scoreboard: &'a mut Scoreboard,
    pub(crate) text: Option<&'a OwnedFd>,
    pub(crate) events: &'a Events,
    pub(crate) outputs: &'a mut Outputs,
    pub(crate) uplinks: &'a mut Uplinks,
}

impl Shared<'_> {
    /// Standard error of the programs that children of this service become, and of an interpreter: not that of the daemon.
    fn open_program_output(&mut self, id: u32, service: &Service, log: Destination) -> io::Result<OwnedFd> {
        if !service.is_program() && service.python().is_none() {
            return Ok(File::open("/dev/null")?.into()); // none becomes a program
        }
        let has_stream = log == Destination::Journal && service.is_program();
        match has_stream.then(|| journal::open_stream(&service.name)) {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(_)) | None => self.outputs.add(id, &service.name, self.events),
        }
    }
}

/// Where a fork server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It prepares itself.
    Starting,
    /// It cannot load its applications, and exits when their files change.
    Broken,
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
    /// When it was started, or last killed for taking too long.
    started: Instant,
    pub(crate) template: Template,
    /// It takes the connections of its service, or will when it is ready.
    pub(crate) is_current: bool,
    /// It is to take over also if it cannot start.
    pub(crate) is_tolerated: bool,
    /// Since when it takes connections, or has done so.
    pub(crate) ready_since: Option<Instant>,
    /// It has forked for a connection.
    pub(crate) has_served: bool,
    /// The files of its applications have changed.
    pub(crate) has_changed: bool,
    /// Why its last spare could not wait for a connection.
    pub(crate) spare_failure: Option<String>,
    /// Why it has exited, as far as that is known.
    pub(crate) failure: Option<StartFailure>,
    /// Words for what the kernel cannot do to confine its children.
    pub(crate) gaps: Arc<str>,
    pub(crate) pid: Pid,
    /// None: it is reaped.
    pidfd: Option<OwnedFd>,
    /// None: closed by one side.
    channel: Option<Channel>,
    /// Children that wait for a connection.
    spares: Vec<Spare>,
    /// It was let exit.
    is_dismissed: bool,
    /// Sentences of it that were logged.
    warnings: u32,
    /// Spares that it is to fork.
    ordered: usize,
    /// No spare is ordered until then: the last one could not be forked, or has died.
    paused_until: Option<Instant>,
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
        let (ours, theirs) = sys::open_channel_with_senders()?;
        let uplink = match template.sends_messages(service) {
            true => Some(shared.uplinks.add(id, &service.name, shared.events)?.into_fd()),
            false => None,
        };
        let briefing = Briefing {
            service: &**service,
            children: template.children,
            forks_twice: template.forks_twice,
            spares: template.spares,
            log: template.log,
            style: template.style,
            open_files: template.open_files,
            channel: theirs,
            uplink,
            scoreboard: shared.scoreboard.file(service.own_scoreboard())?.try_clone_to_owned()?,
            text: shared.text.map(OwnedFd::try_clone).transpose()?,
            program_output: shared.open_program_output(id, service, template.log)?,
            confined: None,
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
        shared.events.add_process(&pidfd, Event::Process(pid))?;
        shared.events.add(&ours, Event::Report(id))?;
        Ok(Self {
            id,
            service: Arc::clone(service),
            state: State::Starting,
            started: Instant::now(),
            template,
            is_current: false,
            is_tolerated: false,
            ready_since: None,
            has_served: false,
            has_changed: false,
            spare_failure: None,
            failure: None,
            gaps: "".into(),
            pid,
            pidfd: Some(pidfd),
            channel: Some(Channel::new(ours)),
            spares: Vec::new(),
            is_dismissed: false,
            warnings: 0,
            ordered: template.spares, // it forks them by itself
            paused_until: None,
        })
    }

    /// Hands over a connection, whose child gets this slot: to a spare, if there is one. Never waits.
    ///
    /// # Errors
    /// EAGAIN when it has too many to fork for, EPIPE when it has exited.
    pub(crate) fn hand_over(
        &mut self,
        connection: &Connection,
        slot: Slot,
        supplements: Supplements<BorrowedFd<'_>>,
    ) -> io::Result<Taker> {
        let identity = &connection.identity;
        let handover = || Handover {
            id: identity.id,
            peer: identity.peer,
            listener: &identity.listener,
            accepted_at: sys::monotonic_nanoseconds_of(identity.accepted_at),
            slot: slot.index(),
        };
        let (server, socket) = (self.id, connection.socket.as_fd());
        let takes = |spare: &Spare| {
            spare.is_ready() && spare.channel.hand_over(handover(), socket, supplements).is_ok()
        };
        if let Some(index) = self.spares.iter().position(takes) {
            self.spare_failure = None;
            return Ok(Taker { server, spare: Some(self.spares.swap_remove(index)) });
        }
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        channel.hand_over(handover(), socket, supplements).map(|()| Taker { server, spare: None })
    }

    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// The fork server, and every child that was about to report, has closed the channel.
    pub(crate) fn close(&mut self) {
        self.channel = None;
    }

    /// Whether this is a child of it that waits for a connection.
    pub(crate) fn has_spare(&self, pid: Pid) -> bool {
        self.spares.iter().any(|spare| spare.pid == pid)
    }

    /// Whether another sentence that it has reported is logged. An application in it can report as many as it likes.
    pub(crate) fn may_warn(&mut self) -> bool {
        self.warnings = self.warnings.saturating_add(1);
        self.warnings <= WARNINGS_MAX
    }

    /// Logs a sentence that it has reported.
    pub(crate) fn warn(&mut self, sentence: &str) {
        if self.may_warn() {
            journal::log_service_warning(&self.service.name, sentence);
        }
    }

    /// Whether this is its process, which is not reaped.
    pub(crate) fn is_process(&self, pid: Pid) -> bool {
        self.pid == pid && self.pidfd.is_some()
    }

    /// It has served, so that the next one will serve as well, as far as can be seen.
    pub(crate) fn was_steady(&self, now: Instant) -> bool {
        let ready = self.ready_since.map(|since| now.saturating_duration_since(since));
        self.has_served || ready.is_some_and(|time| time >= STEADY_TIME)
    }

    /// Nothing of it exists any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.pidfd.is_none() && self.channel.is_none() && self.spares.is_empty()
    }

    /// Lets the fork server and its spares exit. What it has still to report is read until it closes the channel.
    pub(crate) fn dismiss(&mut self) {
        if !mem::replace(&mut self.is_dismissed, true) {
            for channel in self.spares.iter().map(|spare| &spare.channel).chain(&self.channel) {
                channel.shut_down();
            }
        }
    }

    /// Its process and its spares.
    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        let own = self.pidfd.is_some().then_some(self.pid);
        self.spares.iter().map(|spare| spare.pid).chain(own)
    }

    /// Its process is reaped. Its spares can get no connection any more, and hold its end of the channel.
    pub(crate) fn set_reaped(&mut self) {
        self.pidfd = None;
        // What its import has forked may hold the other end, and is an orphan.
        self.channel.take_if(|_| self.ready_since.is_none());
        self.kill();
    }

    /// Kills the fork server and its spares.
    pub(crate) fn kill(&self) {
        self.spares.iter().for_each(Spare::kill);
        if let Some(pidfd) = &self.pidfd {
            let _ = sys::send_signal(pidfd.as_fd(), Signal::SIGKILL); // it has exited already
        }
    }

    /// When it and its spares have to be ready, as far as they are not.
    pub(crate) fn latest_start(&self) -> Option<Instant> {
        let own = (self.state == State::Starting).then(|| self.started + self.start_timeout());
        self.spares.iter().filter_map(Spare::latest_start).chain(own).min()
    }

    fn start_timeout(&self) -> Duration {
        self.service.python().map_or(START_TIMEOUT, |python| python.start_timeout)
    }

    /// Kills it, or a spare, if that takes too long to start.
    pub(crate) fn end_late_start(&mut self, now: Instant) {
        if self.latest_start().is_none_or(|latest| now < latest) {
            return;
        }
        let time = humantime::format_duration(self.start_timeout());
        if self.spares.iter_mut().any(|spare| spare.end_late_start(now)) {
            let sentence = format!("on_fork has not returned within {time} (start_timeout)");
            self.log_spare_failure(sentence, "");
            return; // it is looked at again
        }
        let key = if self.service.python().is_some() { " (start_timeout)" } else { "" };
        let sentence = format!("its fork server has not started within {time}{key}");
        self.failure.get_or_insert(StartFailure { sentence, details: String::new() });
        self.kill();
        self.started = now; // it may take a while, where it waits for a file system
    }

    /// Children that wait for a connection.
    pub(crate) fn count_spares(&self) -> usize {
        self.spares.len()
    }

    /// It has forked a spare that was ordered.
    pub(crate) fn add_spare(&mut self, pid: Pid, pidfd: OwnedFd, channel: OwnedFd) {
        let time = self.service.python().map(|python| python.start_timeout);
        self.ordered = self.ordered.saturating_sub(1);
        let channel = Channel::new(channel);
        if self.is_dismissed {
            channel.shut_down();
        }
        self.spares.push(Spare::new(pid, pidfd, channel, time));
    }

    /// This spare takes connections from now on.
    pub(crate) fn set_spare_ready(&mut self, pid: Pid) {
        self.spares.iter_mut().filter(|spare| spare.pid == pid).for_each(Spare::set_ready);
    }

    /// Logs why a spare could not wait for a connection. Each further one fails in the same way until the cause is gone.
    pub(crate) fn log_spare_failure(&mut self, sentence: String, details: &str) {
        if self.spare_failure.as_ref() != Some(&sentence) && self.may_warn() {
            journal::log_spare_failed(&self.service.name, &sentence, details);
            self.spare_failure = Some(sentence);
        }
    }

    /// It is to fork a spare, or has forked one that has not reported.
    pub(crate) fn awaits_spare(&self) -> bool {
        self.ordered > 0
    }

    /// It could not fork a spare that was ordered, or that has died at once.
    pub(crate) fn lose_order(&mut self, until: Instant) {
        self.ordered = self.ordered.saturating_sub(1);
        self.paused_until = Some(until);
    }

    /// Forgets a spare that has exited without a connection.
    pub(crate) fn forget_spare(&mut self, pid: Pid, until: Instant) {
        self.spares.retain(|spare| spare.pid != pid);
        self.paused_until = Some(until);
    }

    /// Orders the spares that are missing.
    pub(crate) fn order_spares(&mut self, now: Instant) {
        self.paused_until.take_if(|until| now >= *until);
        if self.state != State::Ready || !self.is_current || self.paused_until.is_some() {
            return;
        }
        while let Some(channel) = &self.channel
            && self.spares.len() + self.ordered < self.template.spares
            && channel.order_spare().is_ok()
        {
            self.ordered += 1;
        }
    }

    /// When spares can be ordered again.
    pub(crate) fn next_order(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.state == State::Ready)
    }
}
