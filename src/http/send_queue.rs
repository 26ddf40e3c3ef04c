//! Bytes of a response that are not sent yet: first in the room behind the request, on its page; on the heap when that is
//! full.

/// Bytes that wait to be sent together.
#[derive(Debug)]
pub(crate) struct SendQueue<'a> {
    room: &'a mut [u8],
    used: usize,
    overflow: Vec<u8>,
}

impl<'a> SendQueue<'a> {
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0, overflow: Vec::new() }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        match self.room.get_mut(self.used..self.used + bytes.len()) {
            Some(room) if self.overflow.is_empty() => {
                room.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            _ => self.overflow.extend_from_slice(bytes),
        }
    }

    /// Decimal, without format!: this runs in every child, and each page of code that it touches is a page fault.
    pub(super) fn put_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[start..]);
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.used + self.overflow.len()
    }

    /// Whether so many more bytes stay on the page.
    pub(super) fn has_room_for(&self, count: usize) -> bool {
        self.used + count <= self.room.len()
    }

    /// What is queued, in two parts.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        (&self.room[..self.used], &self.overflow)
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.overflow.clear();
    }

    /// All of it in one part, from which [`Self::remove`] removes.
    pub(super) fn join(&mut self) -> &[u8] {
        if self.used > 0 {
            let mut joined = self.room[..self.used].to_vec();
            joined.append(&mut self.overflow);
            (self.overflow, self.used) = (joined, 0);
        }
        &self.overflow
    }

    /// Removes the first bytes, after [`Self::join`].
    pub(super) fn remove(&mut self, count: usize) {
        self.overflow.drain(..count);
    }
}
