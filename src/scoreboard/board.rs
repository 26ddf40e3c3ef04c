//! The pages of the scoreboard, and which are free.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::unistd::ftruncate;

use super::Slot;
use crate::sys::{self, PAGE};

/// All slots, and which are free.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    file: OwnedFd,
    /// The last one that was freed is used first: its page is the most likely to be cached.
    free: Vec<Slot>,
    mapped: usize,
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
        let file = sys::create_memory_file(c"lsbaws-scoreboard")?;
        let mut scoreboard = Self { file, free: Vec::new(), mapped: 0, in_use: 0, room: 0 };
        scoreboard.resize(count)?;
        Ok(scoreboard)
    }

    /// The file, which other processes map their slots from.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Changes how many slots may be in use. More are mapped when needed; fewer leave those in use alone.
    ///
    /// # Errors
    /// Those of ftruncate(2) and mmap(2); the number has not changed then.
    pub(crate) fn resize(&mut self, room: usize) -> io::Result<()> {
        if room > self.mapped {
            let size = room.saturating_mul(PAGE).try_into().unwrap_or(i64::MAX);
            ftruncate(&self.file, size)?;
            let words = sys::map_shared_words(self.file.as_fd(), self.mapped, room - self.mapped)?;
            self.free.reserve_exact(room - self.free.len());
            self.free.splice(0..0, Slot::all(words, self.mapped).rev());
            self.mapped = room;
        }
        self.room = room;
        Ok(())
    }

    /// A cleared slot, or none when all are in use.
    pub(crate) fn take(&mut self) -> Option<Slot> {
        if self.is_full() {
            return None;
        }
        let slot = self.free.pop()?;
        self.in_use += 1;
        slot.clear();
        Some(slot)
    }

    pub(crate) fn give_back(&mut self, slot: Slot) {
        self.in_use -= 1;
        self.free.push(slot);
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
        let slots = [scoreboard.take().unwrap(), scoreboard.take().unwrap()];
        scoreboard.resize(3).unwrap();
        let third = scoreboard.take().unwrap();
        assert!(scoreboard.is_full() && scoreboard.take().is_none());
        scoreboard.resize(1).unwrap();
        scoreboard.give_back(third);
        scoreboard.give_back(slots[0]);
        assert!(scoreboard.take().is_none(), "one is still in use");
        scoreboard.give_back(slots[1]);
        assert!(scoreboard.take().is_some() && scoreboard.take().is_none());
        assert_eq!(scoreboard.in_use, 1);
    }
}
