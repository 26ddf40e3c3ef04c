//! What the supervisor waits for in addition to its listeners and signals, in one set of the kernel: processes that exit,
//! and fork servers that report, and children that send (epoll(7)). Its cost does not grow with the number of processes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::Pid;

/// Events that one wait returns at most.
pub(crate) const BATCH: usize = 256;

/// The exit of a process.
const EXIT: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The child with this slot may have exited.
    Child(u32),
    /// Another process may have exited: a fork server, a spare or an orphan.
    Process(Pid),
    /// The fork server with this number has reported, or closed its channel.
    Report(u32),
    /// Programs have written to the pipe with this number.
    Output(u32),
    /// Children of the fork server with this number have sent messages.
    Uplink(u32),
    /// The writer of access lines with this number has reported, or has exited.
    Writer(u32),
    /// The child with this slot has reported a client, or has closed its channel.
    Client(u32),
}

impl Event {
    fn to_word(self) -> u64 {
        let (kind, number) = match self {
            Self::Child(slot) => (0, slot),
            Self::Process(pid) => (1, pid.as_raw().unsigned_abs()),
            Self::Report(id) => (2, id),
            Self::Output(id) => (3, id),
            Self::Uplink(id) => (4, id),
            Self::Writer(id) => (5, id),
            Self::Client(slot) => (6, slot),
        };
        kind << 32 | u64::from(number)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the number is the lower half")]
    fn from_word(word: u64) -> Self {
        let number = word as u32;
        match word >> 32 {
            0 => Self::Child(number),
            1 => Self::Process(Pid::from_raw(number.cast_signed())),
            2 => Self::Report(number),
            3 => Self::Output(number),
            4 => Self::Uplink(number),
            5 => Self::Writer(number),
            _ => Self::Client(number),
        }
    }
}

/// The set. A descriptor leaves it by being closed.
#[derive(Debug)]
pub(crate) struct Events(Epoll);

impl Events {
    /// # Errors
    /// Those of epoll_create1(2).
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Reports `event` once, when the process of a pidfd has exited. It may not be reapable yet, since another process
    /// traces it: to be reported again and again would keep the supervisor from its work.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn add_process(&self, pidfd: impl AsFd, event: Event) -> io::Result<()> {
        Ok(self.0.add(pidfd, EpollEvent::new(EXIT, event.to_word()))?)
    }

    /// Reports `event` while `fd` is readable or its other end is closed.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn add(&self, fd: impl AsFd, event: Event) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, event.to_word()))?)
    }

    /// Reports `event` for a pidfd of the set from now on.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn change(&self, fd: impl AsFd, event: Event) -> io::Result<()> {
        Ok(self.0.modify(fd, &mut EpollEvent::new(EXIT, event.to_word()))?)
    }

    /// What has happened, a batch of it. Waits up to `timeout` for the first event.
    pub(crate) fn take(&self, timeout: EpollTimeout) -> nix::Result<Vec<Event>> {
        let mut events = [EpollEvent::empty(); BATCH];
        match self.0.wait(&mut events, timeout) {
            Ok(count) => Ok(events[..count].iter().map(|event| Event::from_word(event.data())).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}

/// Readable while [`Events::take`] has something to return.
impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_kernel() {
        for event in [
            Event::Child(u32::MAX),
            Event::Process(Pid::from_raw(i32::MAX)),
            Event::Report(7),
            Event::Output(0),
            Event::Uplink(u32::MAX),
            Event::Writer(1),
            Event::Client(9),
        ] {
            assert_eq!(Event::from_word(event.to_word()), event);
        }
    }
}
