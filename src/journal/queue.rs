//! The queue in front of the journal. journald reads in bursts, and its socket holds few datagrams: ten, if
//! `net.unix.max_dgram_qlen` has the kernel's default. An entry that finds no room waits here.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::socket::{JournalSocket, SendError};

/// Bytes of encoded entries that wait at most.
const SIZE_MAX: usize = 1 << 20;

/// Between two attempts to find journald, or another socket of it.
const RETRY: Duration = Duration::from_secs(1);

/// Entries on their way to the journal, in order. `T` is what an entry counts for if it is lost.
#[derive(Debug)]
pub(super) struct Queue<T> {
    socket: JournalSocket,
    waiting: VecDeque<(Box<[u8]>, T)>,
    /// Bytes of all that wait.
    size: usize,
    /// Why they wait, and when to look for journald again. None: nothing waits.
    blocked: Option<(SendError, Instant)>,
}

impl<T> Queue<T> {
    /// # Errors
    /// Those of socket(2).
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self::new(JournalSocket::open()?))
    }

    fn new(socket: JournalSocket) -> Self {
        Self { socket, waiting: VecDeque::new(), size: 0, blocked: None }
    }

    /// Sends an encoded entry, or lets it wait behind the others. Fails, and returns what it counts for, when the
    /// queue is full.
    pub(super) fn push(&mut self, entry: &[u8], counts_for: T) -> Result<(), T> {
        if self.waiting.is_empty() {
            match self.socket.send(entry) {
                Ok(()) => return Ok(()),
                Err(SendError::Rejected) => return Err(counts_for),
                Err(error) => self.blocked = Some((error, Instant::now() + RETRY)),
            }
        }
        if self.size + entry.len() > SIZE_MAX {
            return Err(counts_for);
        }
        self.size += entry.len();
        self.waiting.push_back((entry.into(), counts_for));
        Ok(())
    }

    /// Sends what the journal takes now. `lose` gets what each rejected entry counts for.
    pub(super) fn flush(&mut self, now: Instant, mut lose: impl FnMut(T)) {
        let retry_at = match self.blocked {
            None => return,
            Some((_, at)) if now >= at => {
                let _ = self.socket.connect(); // else sending fails as well
                now + RETRY
            }
            Some((SendError::Full, at)) => at,
            Some(_) => return,
        };
        while let Some((entry, _)) = self.waiting.front() {
            let result = self.socket.send(entry);
            if let Err(error @ (SendError::Full | SendError::Unavailable)) = result {
                self.blocked = Some((error, retry_at));
                return;
            }
            self.size -= entry.len();
            if let (Some((_, counts_for)), Err(_)) = (self.waiting.pop_front(), result) {
                lose(counts_for);
            }
        }
        self.blocked = None;
    }

    /// The socket to poll for POLLOUT. None: nothing waits, or only a later attempt can succeed.
    pub(super) fn writable(&self) -> Option<&Arc<UnixDatagram>> {
        let is_full = matches!(self.blocked, Some((SendError::Full, _)));
        is_full.then(|| self.socket.as_arc())
    }

    /// When to flush even though the socket has not become writable.
    pub(super) fn next_event(&self) -> Option<Instant> {
        self.blocked.map(|(_, at)| at)
    }

    /// Entries that wait.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Gives up what still waits, and returns what it counts for.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = T> {
        (self.size, self.blocked) = (0, None);
        std::mem::take(&mut self.waiting).into_iter().map(|(_, counts_for)| counts_for)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::super::socket::tests::Journal;
    use super::*;

    fn is_writable(queue: &Queue<usize>) -> bool {
        let socket = queue.writable().unwrap();
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn entries_wait_in_order_until_poll_finds_room() {
        let journal = Journal::new();
        let mut queue = Queue::new(JournalSocket::open_at(journal.path()).unwrap());
        let entries: Vec<_> = (0..2000).map(|number| format!("N={number}\n")).collect();
        for (number, entry) in entries.iter().enumerate() {
            queue.push(entry.as_bytes(), number).unwrap();
        }
        assert!(!is_writable(&queue) && queue.next_event().is_some());
        for entry in &entries {
            assert_eq!(journal.read(), entry.as_bytes());
            // There is room as soon as the journal has read one.
            assert!(queue.count() == 0 || is_writable(&queue));
            queue.flush(Instant::now(), |_| panic!("none is lost"));
        }
        assert!(queue.count() == 0 && queue.writable().is_none() && queue.next_event().is_none());
    }

    #[test]
    fn what_finds_no_room_is_lost() {
        let mut queue = Queue::new(JournalSocket::open_at("/nonexistent".as_ref()).unwrap());
        let entry = vec![b'x'; SIZE_MAX / 3];
        assert_eq!(
            (0..4).map(|number| queue.push(&entry, number)).collect::<Vec<_>>(),
            [Ok(()), Ok(()), Ok(()), Err(3)]
        );
        assert!(queue.writable().is_none(), "an absent journal makes no socket writable");
        let retry_at = queue.next_event().unwrap();
        queue.flush(retry_at, |_| panic!("none is rejected"));
        assert!(queue.next_event().unwrap() > retry_at);
        assert_eq!(queue.take_all().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(queue.count() == 0);
    }
}
