//! The terminal of `lsbaws top`: the alternate screen, and keys without waiting for Enter. It is as before when this is
//! dropped.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::sys;

/// The alternate screen, without cursor and without wrapping (console_codes(4)).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What has ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Key(u8),
    /// The time is over, or the screen has another size.
    Refresh,
    /// A signal, or the end of the terminal.
    Quit,
}

#[derive(Debug)]
pub(super) struct Screen {
    before: Termios,
    signals: SignalFd,
}

impl Screen {
    /// Takes the terminal over, which is standard input and output.
    ///
    /// # Errors
    /// Those of tcsetattr(3) and signalfd(2).
    pub(super) fn enter() -> io::Result<Self> {
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH];
        let mask: SigSet = signals.into_iter().collect();
        mask.thread_set_mask()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let before = tcgetattr(io::stdin())?;
        let screen = Self { before, signals };
        let mut raw = screen.before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        write(ENTER);
        Ok(screen)
    }

    /// Columns and rows; those of most terminals if it has none.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Shows these lines, which are no longer than the screen is wide.
    pub(super) fn show(lines: &[String]) {
        // The rest of each line, and what is below, is cleared, not the screen: it does not flicker.
        write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")));
    }

    /// Waits up to this time.
    pub(super) fn wait(&self, until: Instant) -> io::Result<Input> {
        let stdin = io::stdin();
        let fds = [stdin.as_fd(), self.signals.as_fd()]
            .map(|fd: BorrowedFd<'_>| PollFd::new(fd, PollFlags::POLLIN));
        let mut fds = fds;
        poll(&mut fds, sys::poll_timeout(until, Instant::now()))?;
        let is_ready = |index: usize| fds[index].revents().is_some_and(|events| !events.is_empty());
        if is_ready(1) {
            return Ok(match self.signals.read_signal()? {
                Some(info) if i32::try_from(info.ssi_signo) == Ok(Signal::SIGWINCH as i32) => Input::Refresh,
                Some(_) => Input::Quit,
                None => Input::Refresh,
            });
        }
        if !is_ready(0) {
            return Ok(Input::Refresh);
        }
        let mut key = [0];
        Ok(match rustix::io::read(&stdin, &mut key)? {
            0 => Input::Quit,
            _ => Input::Key(key[0]),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before); // the terminal has gone
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush()); // the terminal has gone
}

/// When the next report is due.
pub(super) fn next_refresh() -> Instant {
    Instant::now() + Duration::from_secs(2)
}
