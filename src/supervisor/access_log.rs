//! The access lines of all connections: formatted here, written by a process of its own if they go to a file. Nothing waits
//! for a line: what finds no room is lost and counted.

use std::io;
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;

use super::access_writer::{Writer, WriterState};
use super::events::Events;
use crate::access::writer::{BATCH_MAX, WriterReport, count_lines};
use crate::access::{self, AccessLine, Settings, Target};
use crate::connection::Identity;
use crate::journal;
use crate::sys::{self, Exit};
use crate::uplink::Answered;

/// Bytes of lines that wait for the writer, in addition to what the kernel holds.
const WAITING_MAX: usize = 1 << 20;
/// Before the next try to send to a writer that has too many lines to write.
const RETRY: Duration = Duration::from_millis(20);
/// Before a writer that has exited, or could not be started, is started again.
const RESTART: Duration = Duration::from_secs(1);
/// Between two equal messages about lines that cannot be written.
const ERROR_INTERVAL: Duration = Duration::from_secs(60);
/// How long the daemon waits for the writer when it exits.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The access lines of all connections.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    settings: Option<Settings>,
    /// This process writes lines itself, since it serves the connections itself.
    is_own: bool,
    /// The last one that is open takes the lines.
    writers: Vec<Writer>,
    next_id: u32,
    /// Whole lines that wait for the writer.
    waiting: Vec<u8>,
    next_try: Option<Instant>,
    restart_at: Option<Instant>,
    /// The file is to be opened once more, after the writer that opens it now.
    reopens: bool,
    /// The daemon has started: a failure is logged, and does not end it.
    is_serving: bool,
    /// Why the file could not be opened at the start.
    failure: Option<String>,
    /// The last error that was logged, and until when it is not logged again.
    last_error: Option<(String, Instant)>,
}

impl AccessLog {
    /// Opens the lines of a process that serves its connections itself.
    ///
    /// # Errors
    /// A sentence, if the file cannot be opened.
    pub(crate) fn open_own(&mut self, settings: Option<&Settings>) -> Result<(), String> {
        self.is_own = true;
        self.settings = settings.cloned();
        access::open_own(settings).map_err(|error| self.describe(&error))
    }

    /// What holds from now on.
    pub(crate) fn change(&mut self, settings: Option<&Settings>, events: &Events, now: Instant) {
        self.settings = settings.cloned();
        if self.is_own {
            self.reopen(events, now);
        } else if self.path().is_none() {
            self.flush(now);
            self.reopens = false;
            self.writers.iter_mut().for_each(Writer::retire);
        } else if !self.has_writer() {
            // It may wait for a disk that does not answer.
            let is_opening = |writer: &&mut Writer| writer.state == WriterState::Opening;
            self.writers.iter_mut().filter(is_opening).for_each(Writer::retire);
            self.reopen(events, now);
        }
    }

    /// Opens the file again, which may have been renamed. The old one is written to until the new one is open.
    pub(crate) fn reopen(&mut self, events: &Events, now: Instant) {
        if self.is_own {
            if let Err(error) = access::open_own(self.settings.as_ref()) {
                journal::log_warning(&self.describe(&error));
            }
        } else if let Some(path) = self.path().map(Path::to_owned) {
            self.flush(now);
            match self.writers.iter().any(|writer| writer.state == WriterState::Opening) {
                true => self.reopens = true,
                false => self.start_writer(&path, events, now),
            }
        }
    }

    /// Whether the newest writer has, or opens, the file of the settings.
    fn has_writer(&self) -> bool {
        let newest = self.writers.iter().rfind(|writer| writer.state != WriterState::Retired);
        newest.is_some_and(|writer| Some(&*writer.path) == self.path())
    }

    /// Whether a file with another path is being opened, which lines wait for.
    fn is_moving(&self) -> bool {
        let find = |state| self.writers.iter().rfind(|writer| writer.state == state);
        let (open, opening) = (find(WriterState::Open), find(WriterState::Opening));
        open.zip(opening).is_some_and(|(open, opening)| open.path != opening.path)
    }

    fn describe(&self, error: &io::Error) -> String {
        self.path().map_or_else(|| error.to_string(), |path| access::describe_failure(path, error))
    }

    fn path(&self) -> Option<&Path> {
        match &self.settings.as_ref()?.target {
            Target::File(path) => Some(path),
            Target::Journal | Target::Stderr => None,
        }
    }

    fn start_writer(&mut self, path: &Path, events: &Events, now: Instant) {
        self.next_id = self.next_id.wrapping_add(1);
        match Writer::start(self.next_id, path, events) {
            Ok(writer) => self.writers.push(writer),
            Err(error) => {
                self.log_error(&format!("unable to start the writer of access lines: {error}"), now);
                self.restart_at = Some(now + RESTART);
            }
        }
    }

    /// The daemon serves from now on, whether the file is open or not.
    pub(crate) fn begin(&mut self) {
        self.is_serving = true;
    }

    /// Whether the file is being opened.
    ///
    /// # Errors
    /// A sentence: why it could not be.
    pub(crate) fn is_opening(&self) -> Result<bool, String> {
        let is_opening = self.writers.iter().any(|writer| writer.state == WriterState::Opening);
        self.failure.clone().map_or(Ok(is_opening), Err)
    }

    /// Writes the line of a request, if lines are written.
    pub(crate) fn write(&mut self, identity: &Identity, service: &str, answered: &Answered<'_>) {
        let Some(settings) = &self.settings else { return };
        if self.is_own {
            return journal::add_lost_lines(u64::from(!access::write_own(identity, service, answered)));
        }
        let ended = SystemTime::now();
        let line = AccessLine::new(identity, service, answered, ended);
        let mut text = String::with_capacity(512);
        let room = if settings.target == Target::Stderr { journal::access_room() } else { usize::MAX };
        settings.format.write(&line, room, &mut text);
        match settings.target {
            Target::Journal => line.log(&text),
            Target::Stderr => journal::print_access(&text),
            Target::File(_) => {
                text.push('\n');
                if text.len() > BATCH_MAX || self.waiting.len() + text.len() > WAITING_MAX {
                    return journal::add_lost_lines(1);
                }
                self.waiting.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Sends the lines that wait. Never waits.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.next_try.is_some_and(|at| now < at) || self.is_moving() {
            return;
        }
        self.next_try = None;
        let mut sent = 0;
        while let Some(writer) = self.writers.iter_mut().rfind(|writer| writer.state == WriterState::Open)
            && let Some(end) = find_batch(&self.waiting[sent..])
        {
            match writer.send(&self.waiting[sent..sent + end]) {
                Ok(()) => sent += end,
                Err(error) => {
                    // Otherwise it has exited, and another takes its place.
                    self.next_try = (error.kind() == io::ErrorKind::WouldBlock).then(|| now + RETRY);
                    break;
                }
            }
        }
        self.waiting.drain(..sent);
    }

    /// Starts the writer that is due.
    pub(crate) fn refresh(&mut self, events: &Events, now: Instant) {
        if self.writers.iter().any(|writer| writer.state == WriterState::Opening) {
            return;
        }
        let is_due = self.restart_at.take_if(|at| now >= *at).is_some() && !self.has_writer();
        if mem::take(&mut self.reopens) || is_due {
            self.reopen(events, now);
        }
    }

    /// When [`Self::refresh`] or [`Self::flush`] has something to do.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let is_opening = self.writers.iter().any(|writer| writer.state == WriterState::Opening);
        self.next_try.into_iter().chain(self.restart_at.filter(|_| !is_opening)).min()
    }

    /// Acts on the reports of one writer.
    pub(crate) fn receive(&mut self, id: u32, now: Instant) {
        while let Some(index) = self.writers.iter().position(|writer| writer.id == id)
            && let Some(report) = self.writers[index].receive()
        {
            self.act_on(index, report, now);
        }
        // What a killed writer has not written.
        journal::add_lost_lines(self.writers.iter_mut().map(Writer::take_unwritten).sum());
        self.forget_ended();
    }

    fn act_on(&mut self, index: usize, report: WriterReport, now: Instant) {
        match report {
            WriterReport::Opened if self.writers[index].state == WriterState::Opening => {
                for (other, writer) in self.writers.iter_mut().enumerate() {
                    match other == index {
                        true => writer.state = WriterState::Open,
                        false => writer.retire(),
                    }
                }
                // A reload may have changed the path since.
                self.reopens |= !self.has_writer();
            }
            WriterReport::Opened => {}
            WriterReport::NotOpened(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                let sentence = access::describe_failure(&self.writers[index].path, &error);
                self.writers[index].retire();
                match self.is_serving {
                    true => self.log_error(&sentence, now),
                    false => self.failure = Some(sentence),
                }
                self.restart_at = Some(now + RESTART);
            }
            WriterReport::Lost { lines, errno } => {
                journal::add_lost_lines(lines);
                let (path, error) = (self.writers[index].path.display(), io::Error::from_raw_os_error(errno));
                self.log_error(&format!("unable to write access lines to {path}: {error}"), now);
            }
        }
    }

    /// Logs an error, unless it was logged not long ago: a full disk concerns every line.
    fn log_error(&mut self, sentence: &str, now: Instant) {
        if self.last_error.as_ref().is_none_or(|(last, until)| last != sentence || now >= *until) {
            self.last_error = Some((sentence.to_owned(), now + ERROR_INTERVAL));
            journal::log_warning(sentence);
        }
    }

    /// The processes of the writers.
    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.writers.iter().filter(|writer| !writer.is_reaped()).map(|writer| writer.pid)
    }

    /// A writer may have exited: reaps it. False: it cannot be reaped yet.
    pub(crate) fn reap(&mut self, pid: Pid, now: Instant) -> bool {
        let Some(index) = self.writers.iter().position(|writer| writer.pid == pid && !writer.is_reaped())
        else {
            return true;
        };
        let exit = match sys::reap(pid) {
            Ok(None) => return false,
            Ok(Some((exit, _))) => exit,
            Err(_) => Exit::Unknown,
        };
        self.receive(self.writers[index].id, now); // why it has exited
        if let Some(writer) = self.writers.iter_mut().find(|writer| writer.pid == pid) {
            writer.set_reaped();
            if writer.state != WriterState::Retired {
                writer.retire();
                journal::log_warning(&format!("the writer of access lines {exit}; starting it again in 1s"));
                self.restart_at = Some(now + RESTART);
            }
        }
        self.forget_ended();
        true
    }

    fn forget_ended(&mut self) {
        self.writers.retain(|writer| !writer.is_reaped() || writer.channel().is_some());
    }

    /// Writes what waits before the daemon exits, for up to a second.
    pub(crate) fn close(&mut self) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !self.waiting.is_empty() && !self.writers.is_empty() && Instant::now() < deadline {
            self.next_try = None;
            self.flush(Instant::now());
            self.wait_for_writers(PollFlags::POLLOUT, deadline.min(Instant::now() + RETRY));
        }
        journal::add_lost_lines(count_lines(&self.waiting));
        self.writers.iter_mut().for_each(Writer::retire);
        while self.writers.iter().any(|writer| writer.channel().is_some()) && Instant::now() < deadline {
            self.wait_for_writers(PollFlags::POLLIN, deadline);
            for id in self.writers.iter().map(|writer| writer.id).collect::<Vec<_>>() {
                self.receive(id, Instant::now());
            }
        }
        if self.writers.iter().any(|writer| writer.channel().is_some()) {
            journal::log_warning("the last access lines are not written yet: their disk does not take them");
        }
    }

    fn wait_for_writers(&self, events: PollFlags, deadline: Instant) {
        let channels = self.writers.iter().filter_map(Writer::channel);
        let mut fds: Vec<_> =
            channels.map(|channel| PollFd::new(std::os::fd::AsFd::as_fd(channel), events)).collect();
        let _ = poll(&mut fds, sys::poll_timeout(deadline, Instant::now())); // the deadline ends every wait
    }
}

/// The end of the last line that fits a batch.
fn find_batch(lines: &[u8]) -> Option<usize> {
    let part = &lines[..lines.len().min(BATCH_MAX)];
    part.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1)
}
