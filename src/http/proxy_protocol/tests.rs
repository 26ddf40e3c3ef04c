use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::*;
use crate::scoreboard::Scoreboard;
use crate::sys::WakeUp;

const AFTER: &[u8] = b"GET / HTTP/1.1\r\n\nwhat follows";

/// Reads a header from what a client has sent before it closes. Also gives what is left to receive.
fn read_from(bytes: &[u8]) -> (Result<ProxyHeader, HeaderError>, Vec<u8>) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.write_all(bytes).unwrap();
    drop(theirs);
    let slot = Scoreboard::new(1).unwrap().take(None).unwrap();
    let stream = Stream::new(ours.as_fd(), slot, None, WakeUp::new(Signal::SIGURG));
    let header = read(&stream, Instant::now() + Duration::from_secs(60));
    let mut rest = Vec::new();
    ours.read_to_end(&mut rest).unwrap();
    (header, rest)
}

fn addresses(client: &str, local: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((client.parse().unwrap(), local.parse().unwrap()))
}

/// A header of version 2: command, family and protocol, addresses and extensions.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, rest].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb];

fn ipv6() -> Vec<u8> {
    let mut bytes = vec![0; 36];
    (bytes[..4]).copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    (bytes[15], bytes[31], bytes[33], bytes[35]) = (1, 2, 80, 90);
    bytes
}

fn valid_headers() -> Vec<(Vec<u8>, ProxyHeader)> {
    let known = |client, local, is_tls| ProxyHeader {
        addresses: addresses(client, local),
        is_tls,
        ..ProxyHeader::default()
    };
    let own = ProxyHeader::default();
    let unknown = ProxyHeader::UNKNOWN;
    let v4 = known("192.0.2.1:4711", "198.51.100.1:443", false);
    let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {long} {long} 65535 65535\r\n");
    let checksum = [&IPV4[..], &[3, 0, 4, 0x4d, 0x3d, 0x37, 0xfa]].concat();
    vec![
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n".to_vec(), v4),
        (b"PROXY TCP6 2001:db8::1 ::2 80 90\r\n".to_vec(), known("[2001:db8::1]:80", "[::2]:90", false)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 4711 443\r\n".to_vec(), v4),
        (longest.into_bytes(), known(&format!("[{long}]:65535"), &format!("[{long}]:65535"), false)),
        (b"PROXY UNKNOWN\r\n".to_vec(), unknown),
        (b"PROXY UNKNOWN ffff:f...f:ffff what ever 1 2 \xff\r\n".to_vec(), unknown),
        (v2(1, 0x11, &IPV4), v4),
        (v2(1, 0x21, &ipv6()), known("[2001:db8::1]:80", "[::2]:90", false)),
        (v2(0, 0x00, &[]), own),
        (v2(0, 0x11, &IPV4), own),
        (v2(1, 0x00, b"\x04\0\x02ab"), unknown),
        (v2(1, 0x12, &IPV4), unknown),
        (v2(1, 0x31, &[b'/'; 216]), unknown),
        (
            v2(1, 0x11, &[&IPV4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat()),
            ProxyHeader { is_tls: true, ..v4 },
        ),
        (v2(1, 0x11, &[&IPV4[..], &[0x20, 0, 5, 6, 0, 0, 0, 0]].concat()), v4),
        (
            v2(1, 0x11, &[&IPV4[..], &[5, 0, 1, b'x', 4, 0, 0]].concat()),
            ProxyHeader { unique_id: UniqueId::new(b"x"), ..v4 },
        ),
        (v2(1, 0x11, &[&IPV4[..], &[5, 0, 1, b'\n']].concat()), v4),
        (v2(1, 0x11, &checksum), v4),
    ]
}

#[test]
fn header_is_read_to_its_last_byte_and_no_further() {
    for (bytes, expected) in valid_headers() {
        let (header, rest) = read_from(&[&bytes, AFTER].concat());
        assert_eq!((header, &rest[..]), (Ok(expected), AFTER), "{}", bytes.escape_ascii());
    }
}

#[test]
fn every_prefix_of_a_header_is_incomplete() {
    for (bytes, _) in valid_headers() {
        for length in 0..bytes.len() {
            let expected = if length == 0 { HeaderError::Missing } else { HeaderError::Gone };
            let (header, _) = read_from(&bytes[..length]);
            assert_eq!(header, Err(expected), "{}", bytes[..length].escape_ascii());
            match find_missing(&bytes[..length]).unwrap() {
                Missing::Bytes(count) => assert!((1..=bytes.len() - length).contains(&count)),
                Missing::Line(max) => assert!(max >= bytes.len() - length),
                Missing::Nothing => panic!("{}", bytes[..length].escape_ascii()),
            }
        }
    }
}

#[test]
fn everything_else_is_refused() {
    use HeaderError::*;
    let bad_version = [v2::PROTOCOL_PREFIX, &[0x11, 0x11, 0, 12], &IPV4].concat();
    let with = |extensions: &[u8]| v2(1, 0x11, &[&IPV4, extensions].concat());
    let cases: Vec<(Vec<u8>, HeaderError)> = vec![
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Missing),
        (b"\x16\x03\x01\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), Missing),
        (b"proxy UNKNOWN\r\n".to_vec(), Missing),
        (b"PROXY\tUNKNOWN\r\n".to_vec(), Missing),
        (b"PROXY TCP5 192.0.2.1 198.51.100.1 4711 443\r\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\rx\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 65536\r\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 04711 443\r\n".to_vec(), Malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 5\r\n".to_vec(), Malformed),
        (b"PROXY TCP4 2001:db8::1 ::2 80 90\r\n".to_vec(), Malformed),
        (b"PROXY UNKNOWN \xff\n".to_vec(), Malformed),
        ([b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), TooLong),
        (bad_version, Malformed),
        (v2(2, 0x11, &IPV4), Malformed),
        (v2(1, 0x41, &IPV4), Malformed),
        (v2(1, 0x13, &IPV4), Malformed),
        (v2(1, 0x11, &IPV4[..11]), Malformed),
        (v2(1, 0x21, &IPV4), Malformed),
        (with(&[5, 0, 9, 1]), Malformed),
        (with(&[5, 0]), Malformed),
        (with(&[3, 0, 4, 1, 2, 3, 4]), Malformed),
        (with(&[3, 0, 3, 1, 2, 3]), Malformed),
        (v2(1, 0x11, &[0; 5000]), TooLong),
    ];
    for (bytes, expected) in cases {
        let (header, _) = read_from(&[&bytes, AFTER].concat());
        assert_eq!(header, Err(expected), "{}", bytes.escape_ascii());
    }
}
