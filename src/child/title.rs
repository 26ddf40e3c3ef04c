//! The title of a child: what ps(1) shows. It is in front of the buffer for the head of a request, on a page that every child
//! writes to: see [`crate::sys::set_title_area`]. Every user of the host can read it, so that it has no query of a request,
//! which may contain a secret.

use std::fmt::Display;
use std::io::{Cursor, Write};

use crate::connection::Peer;

/// Bytes of a title, of the NUL behind it, and of the mark at the end.
pub(crate) const ROOM: usize = 256;
/// The last byte of the room.
const MARK: u8 = b' ';

/// The room for the title of this process.
#[derive(Debug)]
pub(crate) struct Title<'a> {
    room: &'a mut [u8],
    /// It has the client and the request of a connection: `process.titles`.
    names_requests: bool,
    /// Bytes that stay when a request replaces another.
    base: usize,
}

impl<'a> Title<'a> {
    /// `room`: of [`ROOM`] bytes.
    pub(crate) fn new(room: &'a mut [u8], names_requests: bool) -> Self {
        room[ROOM - 1] = MARK;
        Self { room, names_requests, base: 0 }
    }

    /// Shows the service and the client of a connection.
    pub(crate) fn set_client(&mut self, service: &str, peer: Peer) {
        match self.names_requests {
            true => self.set(service, peer),
            false => self.set("child", service),
        }
    }

    /// Shows `lsbaws: FIRST SECOND`. What follows is appended to it.
    pub(crate) fn set(&mut self, first: &str, second: impl Display) {
        let last = ROOM - 2;
        let mut cursor = Cursor::new(&mut self.room[..last]);
        let _ = write!(cursor, "lsbaws: {first} {second}"); // what there is no room for is cut
        self.base = usize::try_from(cursor.position()).unwrap_or(0);
        self.room[self.base] = 0;
    }

    /// Shows a request behind that. The path only: what follows a `?` may be secret.
    pub(crate) fn set_request(&mut self, method: &str, target: &str) {
        if !self.names_requests {
            return;
        }
        let mut end = self.base;
        let path = target.split_once('?');
        let parts = [
            " ",
            method,
            " ",
            path.map_or(target, |(path, _)| path),
            if path.is_some() { "?..." } else { "" },
        ];
        for byte in parts.iter().flat_map(|part| part.bytes()).take(ROOM - 2 - self.base) {
            // A terminal shows it.
            self.room[end] = if matches!(byte, b' '..=b'~') { byte } else { b'?' };
            end += 1;
        }
        self.room[end] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(room: &[u8]) -> &str {
        str::from_utf8(room.split(|&byte| byte == 0).next().unwrap()).unwrap()
    }

    #[test]
    fn title_has_the_last_request_without_its_query() {
        let mut room = [b'x'; ROOM];
        Title::new(&mut room, true).set("web", "[::1]:80");
        assert_eq!(shown(&room), "lsbaws: web [::1]:80");
        let mut title = Title::new(&mut room, true);
        title.set("web", "[::1]:80");
        title.set_request("GET", "/long/path/that/is/replaced");
        title.set_request("POST", "/a\x1b[2J\u{e9}?secret=1");
        assert_eq!(shown(&room), "lsbaws: web [::1]:80 POST /a?[2J???...");
    }

    #[test]
    fn long_titles_are_cut_before_the_end_of_the_room() {
        let mut room = [b'x'; ROOM];
        let mut title = Title::new(&mut room, true);
        title.set("web", "1");
        title.set_request("GET", &"/y".repeat(500));
        assert_eq!((shown(&room).len(), room[ROOM - 1]), (ROOM - 2, MARK));
        Title::new(&mut room, true).set(&"z".repeat(500), "1");
        assert_eq!((shown(&room).len(), room[ROOM - 1]), (ROOM - 2, MARK));
    }
}
