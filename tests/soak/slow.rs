//! Slow clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::load::{Counts, open, read_answer};

/// Clients that send a head byte by byte, without an end. Returns their answers.
pub fn send_slowly(server: SocketAddr, clients: usize) -> Counts {
    let mut streams: Vec<Option<TcpStream>> =
        (0..clients).map(|_| open(server, Ipv4Addr::LOCALHOST).ok()).collect();
    for stream in streams.iter_mut().flatten() {
        let _ = stream.write_all(b"GET /slow HTTP/1.1\r\nX: ");
    }
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(500));
        for stream in streams.iter_mut().flatten() {
            let _ = stream.write_all(b"x"); // the server may have closed
        }
    }
    let mut counts = Counts::default();
    for stream in streams {
        match stream.map(|mut stream| read_answer(&mut stream)) {
            Some(Ok(408)) => counts.refused += 1,
            _ => counts.lost += 1,
        }
    }
    counts
}

/// Clients that request a large file and read nothing. Returns how many the server has closed before the end.
pub fn read_nothing(server: SocketAddr, clients: usize, patience: Duration) -> usize {
    let streams: Vec<_> = (0..clients)
        .filter_map(|_| {
            let mut stream = open(server, Ipv4Addr::LOCALHOST).ok()?;
            stream.write_all(b"GET /large HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n").ok()?;
            Some(stream)
        })
        .collect();
    thread::sleep(patience);
    let is_left = |mut stream: TcpStream| {
        let mut taken = Vec::new();
        let ended = stream.read_to_end(&mut taken).is_ok();
        !ended || (taken.len() as u64) < LARGE
    };
    streams.into_iter().map(is_left).filter(|is_left| *is_left).count()
}

/// The size of the file in bytes: more than the socket buffers of both ends.
pub const LARGE: u64 = 64 << 20;
