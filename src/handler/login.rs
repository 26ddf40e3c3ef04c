//! Logins: what a connection remembers of its last one, and how many passwords are verified at the same time.
//!
//! A slow hash takes processor time, and the children of a service that verify one would take it from all others. So each
//! holds a lock on a byte of a memory file that they share (fcntl(2), `F_SETLK`); the kernel releases those of a process that
//! dies.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::users::{UserFile, UserFileId};
use crate::connection::Peer;
use crate::source::{Prefixes, Source, WiderPrefix};
use crate::sys;

/// Places to verify in, at most.
const PLACES_MAX: u32 = 16;
/// Places to wait in.
const WAITING: u32 = 64;
/// Those of one source, so that its guesses leave others to the rest.
const WAITING_OF_SOURCE: u32 = 4;
/// What a source is here.
const SOURCES: Prefixes = Prefixes { v4: 32, v6: 64, wider_v6: [WiderPrefix { length: 0, factor: 0 }; 2] };
/// The time between two looks for a free place.
const INTERVAL: Duration = Duration::from_millis(10);

/// The credentials that were accepted last on a connection, so that a further request with them is not verified again.
#[derive(Debug, Default)]
pub(crate) struct LastLogin(RefCell<Option<Accepted>>);

#[derive(Debug)]
struct Accepted {
    users: UserFileId,
    credentials: Vec<u8>,
    user: String,
}

impl LastLogin {
    /// The user, if these credentials were accepted for these users.
    pub(super) fn find(&self, users: &UserFile, credentials: &[u8]) -> Option<String> {
        let last = self.0.borrow();
        let last = last.as_ref().filter(|last| last.users.is_of(users))?;
        // A proxy may send the requests of several clients on one connection.
        let is_same: bool = last.credentials.as_slice().ct_eq(credentials).into();
        is_same.then(|| last.user.clone())
    }

    pub(super) fn set(&self, users: &UserFile, credentials: &[u8], user: &str) {
        let (credentials, user) = (credentials.to_vec(), user.to_owned());
        *self.0.borrow_mut() = Some(Accepted { users: users.id(), credentials, user });
    }
}

/// The places of a service: those of verifications, and behind them those to wait in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoginLimit {
    #[serde(with = "sys::by_number")]
    file: OwnedFd,
    places: u32,
}

/// A place that this process holds.
#[derive(Debug)]
pub(crate) struct LoginPlace<'l> {
    file: BorrowedFd<'l>,
    number: u32,
}

impl LoginLimit {
    /// As many places as half of the processors.
    ///
    /// # Errors
    /// Those of memfd_create(2) and fcntl(2).
    pub(crate) fn new() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, |count| count.get());
        let places = u32::try_from(processors / 2).unwrap_or(PLACES_MAX).clamp(1, PLACES_MAX);
        let file = sys::create_memory_file(c"lsbaws-logins")?;
        sys::seal(file.as_fd())?; // locks need no bytes
        Ok(Self { file, places })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Waits for a place while `may_wait`. `None`: it may not, or too many requests wait that come from where `peer` does.
    pub(crate) fn enter(&self, peer: &Peer, mut may_wait: impl FnMut() -> bool) -> Option<LoginPlace<'_>> {
        // Before a place to verify in is tried: a request that comes later must not overtake those that wait.
        let start = find_start(peer);
        let _waiting =
            self.take((0..WAITING_OF_SOURCE).map(|turn| self.places + (start + turn) % WAITING))?;
        let start = std::process::id() % self.places;
        loop {
            if let Some(place) = self.take((0..self.places).map(|turn| (start + turn) % self.places)) {
                return Some(place);
            }
            if !may_wait() {
                return None;
            }
            #[expect(clippy::disallowed_methods, reason = "the child has nothing else to do")]
            thread::sleep(INTERVAL);
        }
    }

    /// The first of these places that is free.
    fn take(&self, mut numbers: impl Iterator<Item = u32>) -> Option<LoginPlace<'_>> {
        let file = self.file();
        let free = numbers.find(|&number| set_lock(file, number, libc::F_WRLCK).is_ok());
        free.map(|number| LoginPlace { file, number })
    }
}

/// Where the places begin that requests from a source wait in: those of two sources are rarely the same.
fn find_start(peer: &Peer) -> u32 {
    let mut hasher = DefaultHasher::new();
    Source::of(peer, SOURCES).hash(&mut hasher);
    u32::try_from(hasher.finish() % u64::from(WAITING)).unwrap_or_default()
}

impl Drop for LoginPlace<'_> {
    fn drop(&mut self) {
        let _ = set_lock(self.file, self.number, libc::F_UNLCK); // it has the lock
    }
}

fn set_lock(file: BorrowedFd<'_>, number: u32, kind: i32) -> nix::Result<()> {
    let lock = libc::flock {
        l_type: kind.try_into().map_err(|_| Errno::EINVAL)?,
        l_whence: 0, // SEEK_SET
        l_start: number.into(),
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&lock)).map(drop)
}
