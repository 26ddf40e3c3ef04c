//! Logins: what a connection remembers of its last one, and how many passwords are verified at the same time.
//!
//! A slow hash takes processor time, and the children of a service that verify one would take it from all others. So each
//! holds a lock on a byte of a memory file that they share (fcntl(2), `F_SETLK`); the kernel releases those of a process that
//! dies.

use std::cell::RefCell;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::users::UserFile;
use crate::connection::Peer;
use crate::source::{Prefixes, Source, WiderPrefix};
use crate::sys;

/// Places to verify in, at most.
const PLACES_MAX: i64 = 16;
/// Places of the queue behind them. A request takes the last one, and the next one whenever that is free.
const QUEUE: i64 = 64;
/// What a source is here. Each has one verification or one place of the queue, so that its guesses leave the rest to others.
const SOURCES: Prefixes = Prefixes { v4: 32, v6: 64, wider_v6: [WiderPrefix { length: 0, factor: 0 }; 2] };
/// The time between two looks for a free place.
const INTERVAL: Duration = Duration::from_millis(10);

/// The credentials that were accepted last on a connection, so that a further request with them is not verified again.
#[derive(Debug, Default)]
pub(crate) struct LastLogin(RefCell<Option<Accepted>>);

#[derive(Debug)]
struct Accepted {
    /// Of the file of users, whichever route uses it.
    file: PathBuf,
    credentials: Vec<u8>,
    user: String,
}

impl LastLogin {
    /// The user, if these credentials were accepted for these users.
    pub(super) fn find(&self, users: &UserFile, credentials: &[u8]) -> Option<String> {
        let last = self.0.borrow();
        let last = last.as_ref().filter(|last| last.file == users.path())?;
        // A proxy may send the requests of several clients on one connection.
        let is_same: bool = last.credentials.as_slice().ct_eq(credentials).into();
        is_same.then(|| last.user.clone())
    }

    pub(super) fn set(&self, users: &UserFile, credentials: &[u8], user: &str) {
        let (credentials, user) = (credentials.to_vec(), user.to_owned());
        *self.0.borrow_mut() = Some(Accepted { file: users.path().to_owned(), credentials, user });
    }
}

/// The places of a service: those of verifications, those of the queue, and one for each source.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoginLimit {
    #[serde(with = "sys::by_number")]
    file: OwnedFd,
    places: i64,
    /// So that no client can compute which sources have the same place.
    key: [u64; 2],
}

/// The right to verify a password.
#[derive(Debug)]
pub(crate) struct LoginPlace<'l> {
    _source: ByteLock<'l>,
    _place: ByteLock<'l>,
}

/// The lock of this process on a byte.
#[derive(Debug)]
struct ByteLock<'l> {
    file: BorrowedFd<'l>,
    number: i64,
}

impl LoginLimit {
    /// As many places as half of the processors.
    ///
    /// # Errors
    /// Those of memfd_create(2) and fcntl(2).
    pub(crate) fn new() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, |count| count.get());
        let places = i64::try_from(processors / 2).unwrap_or(PLACES_MAX).clamp(1, PLACES_MAX);
        let file = sys::create_memory_file(c"lsbaws-logins")?;
        sys::seal(file.as_fd())?; // locks need no bytes
        let random = RandomState::new(); // of getrandom(2)
        Ok(Self { file, places, key: [0, 1].map(|number| random.hash_one(number)) })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Waits while `may_wait` until the source of `peer` verifies no other password, and then for its turn. `None`: it may
    /// not wait so long.
    pub(crate) fn enter(&self, peer: &Peer, mut may_wait: impl FnMut() -> bool) -> Option<LoginPlace<'_>> {
        let source = wait(|| self.take(self.find_number(peer)), &mut may_wait)?;
        let mut turn = wait(|| self.take(self.places + QUEUE - 1), &mut may_wait)?;
        let place = || {
            // One by one: no request overtakes another.
            while turn.number > self.places {
                turn = self.take(turn.number - 1)?;
            }
            (0..self.places).find_map(|number| self.take(number))
        };
        let place = wait(place, &mut may_wait)?;
        Some(LoginPlace { _source: source, _place: place })
    }

    /// Of the source of a peer. Two sources hardly ever have the same.
    fn find_number(&self, peer: &Peer) -> i64 {
        let mut hasher = DefaultHasher::new();
        (self.key, Source::of(peer, SOURCES)).hash(&mut hasher);
        self.places + QUEUE + (hasher.finish() >> 16).cast_signed()
    }

    /// Locks a byte, if no other process has.
    fn take(&self, number: i64) -> Option<ByteLock<'_>> {
        let file = self.file();
        set_lock(file, number, libc::F_WRLCK).ok().map(|()| ByteLock { file, number })
    }
}

/// Waits for what `find` finds.
fn wait<T>(mut find: impl FnMut() -> Option<T>, mut may_wait: impl FnMut() -> bool) -> Option<T> {
    loop {
        let found = find();
        if found.is_some() || !may_wait() {
            return found;
        }
        #[expect(clippy::disallowed_methods, reason = "the child has nothing else to do")]
        thread::sleep(INTERVAL);
    }
}

impl Drop for ByteLock<'_> {
    fn drop(&mut self) {
        let _ = set_lock(self.file, self.number, libc::F_UNLCK); // it has the lock
    }
}

fn set_lock(file: BorrowedFd<'_>, number: i64, kind: i32) -> nix::Result<()> {
    let lock = libc::flock {
        l_type: kind.try_into().map_err(|_| Errno::EINVAL)?,
        l_whence: 0, // SEEK_SET
        l_start: number,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&lock)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_sources_differ_from_limit_to_limit() {
        let limits = [(); 2].map(|()| LoginLimit::new().unwrap());
        let peer = |address: [u8; 4]| Peer::Inet((address, 1).into());
        let find = |limit: &LoginLimit, address| limit.find_number(&peer(address));
        assert_eq!(find(&limits[0], [192, 0, 2, 1]), find(&limits[0], [192, 0, 2, 1]));
        assert_ne!(find(&limits[0], [192, 0, 2, 1]), find(&limits[0], [192, 0, 2, 2]));
        assert_ne!(find(&limits[0], [192, 0, 2, 1]), find(&limits[1], [192, 0, 2, 1]));
        assert!(find(&limits[0], [192, 0, 2, 1]) >= limits[0].places + QUEUE);
    }
}
