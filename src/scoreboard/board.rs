//! The pages of the scoreboard, and which are free.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::unistd::ftruncate;

use super::Slot;
use crate::sys::{self, PAGE};

/// The most slots: as many as `limits.max_connections` may be.
const COUNT_MAX: usize = 65_536;

/// A memory file with a page for each number of a slot.
#[derive(Debug)]
struct Pages {
    file: OwnedFd,
    slots: Vec<Slot>,
    /// It has all pages that it will ever have.
    is_fixed: bool,
}

impl Pages {
    fn new(count: usize) -> io::Result<Self> {
        let file = sys::create_memory_file(c"lsbaws-scoreboard")?;
        let mut pages = Self { file, slots: Vec::new(), is_fixed: false };
        pages.grow(count)?;
        Ok(pages)
    }

    /// For foreign code, which could fill the memory of the host with a file that can grow. (Pages that are not used take no
    /// memory.) Where the limit of the size of files does not permit that many pages, it bounds that code as well.
    fn with_fixed_size(count: usize) -> io::Result<Self> {
        let mut pages = Self::new(0)?;
        if ftruncate(&pages.file, to_size(COUNT_MAX)).is_ok() {
            sys::forbid_growth(pages.file.as_fd())?;
            pages.is_fixed = true;
        }
        pages.grow(count)?;
        Ok(pages)
    }

    fn grow(&mut self, count: usize) -> io::Result<()> {
        let mapped = self.slots.len();
        if count > COUNT_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if count > mapped {
            if !self.is_fixed {
                ftruncate(&self.file, to_size(count))?;
            }
            let words = sys::map_shared_words(self.file.as_fd(), mapped, count - mapped)?;
            self.slots.extend(Slot::all(words, mapped));
        }
        Ok(())
    }
}

/// Bytes of this many pages.
fn to_size(count: usize) -> i64 {
    count.saturating_mul(PAGE).try_into().unwrap_or(i64::MAX)
}

/// All slots, and which are free. A slot has a number, which is free or in use whatever file has its page.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    common: Pages,
    /// Files of services whose fork servers run code that is not ours: such code reaches no page of another service.
    own: HashMap<String, Pages>,
    /// The last one that was freed is used first: its page is the most likely to be cached.
    free: Vec<u32>,
    in_use: usize,
    /// How many may be in use.
    room: usize,
}

impl Scoreboard {
    /// Makes slots for `count` connections at the same time. A page takes memory once it is used.
    ///
    /// # Errors
    /// Those of memfd_create(2) and mmap(2).
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let (common, own) = (Pages::new(0)?, HashMap::new());
        let mut scoreboard = Self { common, own, free: Vec::new(), in_use: 0, room: 0 };
        scoreboard.resize(count)?;
        Ok(scoreboard)
    }

    /// The file, which other processes map their slots from: that of all services, or of the one with this name.
    ///
    /// # Errors
    /// Those of memfd_create(2) and mmap(2), for the first fork server of a service with a file of its own.
    pub(crate) fn file(&mut self, own: Option<&str>) -> io::Result<BorrowedFd<'_>> {
        let Some(name) = own else { return Ok(self.common.file.as_fd()) };
        if !self.own.contains_key(name) {
            let pages = Pages::with_fixed_size(self.common.slots.len())?;
            self.own.insert(name.to_owned(), pages);
        }
        Ok(self.own.get(name).unwrap_or(&self.common).file.as_fd())
    }

    /// Changes how many slots may be in use. More are mapped when needed; fewer leave those in use alone.
    ///
    /// # Errors
    /// Those of ftruncate(2) and mmap(2); the number has not changed then.
    pub(crate) fn resize(&mut self, room: usize) -> io::Result<()> {
        let mapped = self.common.slots.len();
        for pages in self.own.values_mut().chain([&mut self.common]) {
            pages.grow(room)?;
        }
        self.free.reserve(room.saturating_sub(mapped));
        self.free.splice(0..0, self.common.slots[mapped..].iter().rev().map(|slot| slot.index()));
        self.room = room;
        Ok(())
    }

    /// A cleared slot of this file ([`Self::file`]), or none when all are in use.
    pub(crate) fn take(&mut self, own: Option<&str>) -> Option<Slot> {
        if self.is_full() {
            return None;
        }
        let pages = own.and_then(|name| self.own.get(name)).unwrap_or(&self.common);
        let slot = *pages.slots.get(self.free.pop()? as usize)?;
        self.in_use += 1;
        slot.clear();
        Some(slot)
    }

    pub(crate) fn give_back(&mut self, slot: Slot) {
        self.in_use -= 1;
        self.free.push(slot.index());
    }

    pub(crate) fn is_full(&self) -> bool {
        self.in_use >= self.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_and_shrinks_around_slots_in_use() {
        let mut scoreboard = Scoreboard::new(2).unwrap();
        let slots = [scoreboard.take(None).unwrap(), scoreboard.take(None).unwrap()];
        scoreboard.resize(3).unwrap();
        let third = scoreboard.take(None).unwrap();
        assert!(scoreboard.is_full() && scoreboard.take(None).is_none());
        scoreboard.resize(1).unwrap();
        scoreboard.give_back(third);
        scoreboard.give_back(slots[0]);
        assert!(scoreboard.take(None).is_none(), "one is still in use");
        scoreboard.give_back(slots[1]);
        assert!(scoreboard.take(None).is_some() && scoreboard.take(None).is_none());
        assert_eq!(scoreboard.in_use, 1);
    }

    #[test]
    fn service_with_a_file_of_its_own_has_no_page_of_others() {
        let mut scoreboard = Scoreboard::new(1).unwrap();
        let size = |file: BorrowedFd<'_>| rustix::fs::fstat(file).unwrap();
        let common = size(scoreboard.file(None).unwrap()).st_ino;
        assert_ne!(size(scoreboard.file(Some("shop")).unwrap()).st_ino, common);
        let own = scoreboard.take(Some("shop")).unwrap();
        own.set_status(201);
        scoreboard.give_back(own);
        let other = scoreboard.take(None).unwrap();
        assert_eq!((own.index(), own.status(), other.status()), (other.index(), Some(201), None));
        scoreboard.resize(3).unwrap();
        let file = scoreboard.file(Some("shop")).unwrap();
        assert_eq!(ftruncate(file, 1 << 40), Err(nix::errno::Errno::EPERM));
        assert_eq!(ftruncate(file, 0), Err(nix::errno::Errno::EPERM));
        assert_eq!([1, 2].map(|_| scoreboard.take(Some("shop")).unwrap().index()), [1, 2]);
        assert!(scoreboard.take(None).is_none());
    }
}
