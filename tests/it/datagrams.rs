//! Sockets of datagrams, as those of the service manager and the journal.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The next datagram. A socket with a timeout may be interrupted by any signal, also by a stop and its end (signal(7)).
pub fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Sends datagrams to a socket until its queue is full.
pub fn fill(path: &Path) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    let error = loop {
        if let Err(error) = socket.send_to(b"X=noise\n", path) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
