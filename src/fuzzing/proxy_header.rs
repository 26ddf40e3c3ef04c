//! The header of the PROXY protocol, and what follows it: no byte after the header is received, and what is received is the
//! header alone.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::http::proxy_protocol::{ProxyHeader, read};
use crate::http::stream::Stream;
use crate::refusal::HeaderError;
use crate::scoreboard::Slot;
use crate::sys::WakeUp;

/// Bytes that a socket takes without a reader.
const INPUT_MAX: usize = 8192;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(INPUT_MAX)];
    let (header, rest) = receive(bytes);
    let Ok(header) = header else { return };
    let (own, after) = bytes.split_at(bytes.len() - rest.len());
    assert_eq!(after, rest);
    assert!(own.len() >= 15 && own.len() <= 4096);
    // It is the same without what follows, and with something else.
    assert_eq!(receive(own), (Ok(header), Vec::new()));
    assert_eq!(receive(&[own, b"\r\nPROXY \n"].concat()), (Ok(header), b"\r\nPROXY \n".to_vec()));
    // No shorter one is complete.
    for length in [0, own.len() / 2, own.len() - 1] {
        assert!(matches!(receive(&own[..length]).0, Err(HeaderError::Gone | HeaderError::Missing)));
    }
}

fn receive(bytes: &[u8]) -> (Result<ProxyHeader, HeaderError>, Vec<u8>) {
    let Ok((mut ours, mut theirs)) = UnixStream::pair() else { panic!("no socket") };
    let prepared = ours.set_nonblocking(true).and_then(|()| theirs.write_all(bytes));
    assert!(prepared.is_ok());
    drop(theirs);
    let stream = Stream::new(ours.as_fd(), Slot::with_bytes(&[]), None, WakeUp::new(Signal::SIGURG));
    let header = read(&stream, Instant::now() + Duration::from_secs(60));
    let mut rest = Vec::new();
    assert!(ours.read_to_end(&mut rest).is_ok());
    (header, rest)
}
