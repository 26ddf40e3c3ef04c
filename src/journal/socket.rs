//! The socket to the journal. It is not that of tracing-journald or libsystemd, which speak the journal's protocol as
//! well: theirs block while journald is stopped, and do not report what was lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use libsystemd::logging::SD_JOURNAL_SOCK_PATH;
use nix::sys::socket::{setsockopt, sockopt};

use crate::sys::{self, Patience};

/// Room for what is sent and not yet read, as libsystemd has it (`SNDBUF_SIZE`); the kernel may give less.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// Why the journal did not accept an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendError {
    /// journald has not read what its socket holds. Ours becomes writable when there is room.
    Full,
    /// journald is absent, or the system lacks memory or descriptors. A later attempt may succeed.
    Unavailable,
    /// The system does not send this entry.
    Rejected,
}

/// A nonblocking socket that is connected to journald while there is one. (Connected, since poll(2) reports an
/// unconnected datagram socket as writable at all times.)
#[derive(Debug)]
pub(super) struct JournalSocket {
    socket: Arc<UnixDatagram>,
    path: &'static Path,
    is_connected: bool,
}

impl JournalSocket {
    /// Opens a socket to the journal. An absent journal is no error.
    pub(super) fn open() -> io::Result<Self> {
        Self::open_at(Path::new(SD_JOURNAL_SOCK_PATH))
    }

    /// # Errors
    /// Those of socket(2).
    pub(super) fn open_at(path: &'static Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let _ = setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER); // less is enough
        let mut socket = Self { socket: Arc::new(socket), path, is_connected: false };
        let _ = socket.connect(); // retried with each entry
        Ok(socket)
    }

    /// Connects to the socket that is at the path now: a restarted journald may have bound another one.
    ///
    /// # Errors
    /// `Unavailable`: no journald listens at the path.
    pub(super) fn connect(&mut self) -> Result<(), SendError> {
        self.is_connected = self.socket.connect(self.path).is_ok();
        if self.is_connected { Ok(()) } else { Err(SendError::Unavailable) }
    }

    /// Sends an encoded entry, without waiting.
    ///
    /// # Errors
    /// See [`SendError`]; nothing of the entry is sent then.
    pub(super) fn send(&mut self, entry: &[u8]) -> Result<(), SendError> {
        if !self.is_connected {
            self.connect()?;
        }
        let result = match self.socket.send(entry) {
            // shutdown(2) in another process that has the socket.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                *self = Self::open_at(self.path).map_err(|_| SendError::Unavailable)?;
                self.socket.send(entry)
            }
            Err(error) if is_disconnected(&error) => match self.connect() {
                Ok(()) => self.socket.send(entry),
                // A child may not connect.
                Err(_) => self.socket.send_to(entry, self.path),
            },
            result => result,
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.send_file(entry),
            Err(error) => Err(self.classify(&error)),
        }
    }

    /// Sends an entry that is too large for a datagram in a sealed memory file, as sd_journal_sendv(3) does.
    fn send_file(&mut self, entry: &[u8]) -> Result<(), SendError> {
        let send = || {
            let mut file = File::from(sys::create_memory_file(c"lsbaws-entry")?);
            file.write_all(entry)?;
            sys::seal(file.as_fd())?;
            sys::send_message(self.socket.as_fd(), &[], &[file.as_fd()], Patience::Never)
        };
        send().map_err(|error: io::Error| self.classify(&error))
    }

    fn classify(&mut self, error: &io::Error) -> SendError {
        if is_disconnected(error) {
            self.is_connected = false;
            return SendError::Unavailable;
        }
        match error.raw_os_error() {
            Some(libc::EAGAIN) => SendError::Full,
            Some(libc::ENOENT | libc::ENOBUFS | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EINTR) => {
                SendError::Unavailable
            }
            _ => SendError::Rejected,
        }
    }

    /// The socket itself, to poll for POLLOUT.
    pub(super) fn as_arc(&self) -> &Arc<UnixDatagram> {
        &self.socket
    }
}

/// The journald at the other end has closed its socket.
fn is_disconnected(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ENOTCONN | libc::ECONNRESET | libc::EPIPE))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{IoSliceMut, Seek};
    use std::os::fd::{AsRawFd, RawFd};

    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use tempfile::TempDir;

    use super::*;

    /// A socket that stands in for journald's.
    pub(in super::super) struct Journal {
        folder: TempDir,
        socket: UnixDatagram,
    }

    impl Journal {
        pub(in super::super) fn new() -> Self {
            // Not TMPDIR, whose path may be too long for a socket's name.
            let folder = tempfile::tempdir_in("/tmp").unwrap();
            let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
            Self { folder, socket }
        }

        pub(in super::super) fn path(&self) -> &'static Path {
            Box::leak(self.folder.path().join("socket").into_boxed_path())
        }

        pub(in super::super) fn read(&self) -> Vec<u8> {
            let mut buffer = vec![0; 4096];
            let length = self.socket.recv(&mut buffer).unwrap();
            buffer.truncate(length);
            buffer
        }
    }

    #[test]
    fn full_and_absent_journals_differ() {
        let journal = Journal::new();
        let mut socket = JournalSocket::open_at(journal.path()).unwrap();
        let error = std::iter::repeat_with(|| socket.send(b"X=\n")).find_map(Result::err);
        assert_eq!(error, Some(SendError::Full));
        drop(journal);
        assert_eq!(socket.send(b"X=\n"), Err(SendError::Unavailable));
    }

    #[test]
    fn large_entry_goes_through_a_sealed_file() {
        let journal = Journal::new();
        let mut socket = JournalSocket::open_at(journal.path()).unwrap();
        let entry = vec![b'x'; 2 * SEND_BUFFER];
        socket.send(&entry).unwrap();
        let (mut bytes, mut space) = ([0; 1], nix::cmsg_space!(RawFd));
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(journal.socket.as_raw_fd(), &mut parts, Some(&mut space), flags).unwrap();
        assert_eq!(message.bytes, 0);
        let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
            panic!("no file came");
        };
        let mut file = File::options().read(true).open(format!("/proc/self/fd/{}", fds[0])).unwrap();
        assert_eq!(file.seek(io::SeekFrom::End(0)).unwrap(), entry.len() as u64);
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap();
        assert!(SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK));
        nix::unistd::close(fds[0]).unwrap();
    }
}
