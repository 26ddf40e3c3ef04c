//! The header of the PROXY protocol, in which a proxy names the client of a connection (version 1 and 2 of HAProxy's
//! proxy-protocol.txt). It is read to its last byte and no further: what follows is the client's, and may be a program's.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ppp::{v1, v2};

use super::request_id::UniqueId;
use super::stream::{Interrupted, Stream};
use crate::refusal::HeaderError;

/// Bytes of the shortest header, of version 1: `PROXY UNKNOWN` and the end of the line.
const SHORTEST: usize = 15;
/// Bytes of the longest header of version 1.
const V1_MAX: usize = 107;
/// Bytes of a header of version 2 before its addresses. The last two are the length of the rest.
const V2_START: usize = 16;
/// Bytes of the longest header that is accepted.
const HEADER_MAX: usize = 4096;

/// The header with which a proxy describes the client of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// The client, and the address that it has connected to. `None`: the connection is the proxy's own, or the proxy does not
    /// know them.
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
    /// The client speaks TLS with the proxy.
    pub(crate) is_tls: bool,
    /// The connection is that of a client without an address: what follows is not the proxy's own.
    pub(crate) hides_client: bool,
    /// The id that the proxy has given to the connection.
    pub(crate) unique_id: Option<UniqueId>,
}

impl ProxyHeader {
    const UNKNOWN: Self = Self { addresses: None, is_tls: false, hides_client: true, unique_id: None };
}

impl From<Interrupted> for HeaderError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::TimedOut => Self::Late,
            Interrupted::Gone(_) => Self::Gone,
        }
    }
}

/// Reads the header until `deadline`. Receives no byte after it.
///
/// # Errors
/// The connection has no valid header, and must be closed.
pub(crate) fn read(stream: &Stream<'_>, deadline: Instant) -> Result<ProxyHeader, HeaderError> {
    let mut header = [0; HEADER_MAX];
    let mut filled = 0;
    loop {
        let count = match find_missing(&header[..filled])? {
            Missing::Nothing => return parse(&header[..filled]),
            Missing::Bytes(count) => stream.receive(&mut header[filled..filled + count], deadline)?,
            Missing::Line(max) => {
                stream.receive_through(b'\n', &mut header[filled..filled + max], deadline)?
            }
        };
        if count == 0 {
            return Err(if filled == 0 { HeaderError::Missing } else { HeaderError::Gone });
        }
        filled += count;
    }
}

/// What has still to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// At least that many bytes.
    Bytes(usize),
    /// The end of the line, within so many bytes.
    Line(usize),
}

fn find_missing(header: &[u8]) -> Result<Missing, HeaderError> {
    let begins = |prefix: &[u8]| header.iter().zip(prefix).all(|(one, other)| one == other);
    if begins(v2::PROTOCOL_PREFIX) {
        let Some(start) = header.first_chunk::<V2_START>() else {
            // While it is shorter than any header, it may be of either version.
            return Ok(Missing::Bytes(if header.is_empty() { SHORTEST } else { V2_START } - header.len()));
        };
        let length = V2_START + usize::from(u16::from_be_bytes([start[14], start[15]]));
        return match length.saturating_sub(header.len()) {
            _ if length > HEADER_MAX => Err(HeaderError::TooLong),
            0 => Ok(Missing::Nothing),
            missing => Ok(Missing::Bytes(missing)),
        };
    }
    if !begins(b"PROXY ") {
        return Err(HeaderError::Missing);
    }
    match header.len() {
        length if length < SHORTEST => Ok(Missing::Bytes(SHORTEST - length)),
        _ if header.ends_with(b"\n") => Ok(Missing::Nothing),
        length if length < V1_MAX => Ok(Missing::Line(V1_MAX - length)),
        _ => Err(HeaderError::TooLong),
    }
}

fn parse(header: &[u8]) -> Result<ProxyHeader, HeaderError> {
    if header.starts_with(v2::PROTOCOL_PREFIX) { parse_v2(header) } else { parse_v1(header) }
}

fn parse_v1(line: &[u8]) -> Result<ProxyHeader, HeaderError> {
    // What follows is ignored, whatever it is.
    if let Some(rest) = line.strip_prefix(b"PROXY UNKNOWN")
        && (rest == b"\r\n" || rest.starts_with(b" ") && rest.ends_with(b"\r\n"))
    {
        return Ok(ProxyHeader::UNKNOWN);
    }
    let header = v1::Header::try_from(line).map_err(|_| HeaderError::Malformed)?;
    if header.header.len() != line.len() {
        return Err(HeaderError::Malformed); // a bare carriage return
    }
    let addresses = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(pair) => Some((
            new_address(pair.source_address, pair.source_port),
            new_address(pair.destination_address, pair.destination_port),
        )),
        v1::Addresses::Tcp6(pair) => Some((
            new_address(pair.source_address, pair.source_port),
            new_address(pair.destination_address, pair.destination_port),
        )),
    };
    Ok(ProxyHeader { hides_client: addresses.is_none(), addresses, ..ProxyHeader::default() })
}

fn parse_v2(bytes: &[u8]) -> Result<ProxyHeader, HeaderError> {
    let header = v2::Header::try_from(bytes).map_err(|_| HeaderError::Malformed)?;
    let (mut is_tls, mut unique_id) = (false, None);
    let mut extensions_start = V2_START + header.address_bytes().len();
    for extension in header.tlvs() {
        let extension = extension.map_err(|_| HeaderError::Malformed)?;
        let value = extensions_start + 3..extensions_start + 3 + extension.value.len();
        extensions_start = value.end;
        match extension.kind {
            TLS => is_tls = extension.value.first().is_some_and(|flags| flags & CLIENT_SPEAKS_TLS != 0),
            UNIQUE_ID => unique_id = UniqueId::new(&extension.value),
            CHECKSUM => check_checksum(bytes, value)?,
            _ => {}
        }
    }
    if header.command == v2::Command::Local {
        return Ok(ProxyHeader { unique_id, ..ProxyHeader::default() });
    }
    if header.protocol != v2::Protocol::Stream {
        return Ok(ProxyHeader { unique_id, ..ProxyHeader::UNKNOWN });
    }
    let addresses = match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(pair) => Some((
            new_address(pair.source_address, pair.source_port),
            new_address(pair.destination_address, pair.destination_port),
        )),
        v2::Addresses::IPv6(pair) => Some((
            new_address(pair.source_address, pair.source_port),
            new_address(pair.destination_address, pair.destination_port),
        )),
    };
    Ok(ProxyHeader { hides_client: addresses.is_none(), addresses, is_tls, unique_id })
}

/// `PP2_TYPE_SSL`, and its flag `PP2_CLIENT_SSL`.
const TLS: u8 = 0x20;
const CLIENT_SPEAKS_TLS: u8 = 1;
/// `PP2_TYPE_UNIQUE_ID`.
const UNIQUE_ID: u8 = 0x05;
/// `PP2_TYPE_CRC32C`.
const CHECKSUM: u8 = 0x03;

/// Checks the checksum that is at `place` in the header. It counts as zeros.
fn check_checksum(header: &[u8], place: std::ops::Range<usize>) -> Result<(), HeaderError> {
    let expected = header[place.clone()].try_into().ok().map(u32::from_be_bytes);
    let bytes = header.iter().enumerate().map(|(at, &byte)| if place.contains(&at) { 0 } else { byte });
    // CRC-32C (RFC 3720, appendix B.4), bit by bit: a header is short.
    let sum = bytes.fold(u32::MAX, |sum, byte| {
        let shift = |sum: u32, _| sum >> 1 ^ if sum & 1 == 0 { 0 } else { 0x82f6_3b78 };
        (0..8).fold(sum ^ u32::from(byte), shift)
    });
    if expected == Some(!sum) { Ok(()) } else { Err(HeaderError::Malformed) }
}

/// As that of an accepted connection: an IPv4 address has one form.
fn new_address(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into().to_canonical(), port)
}

#[cfg(test)]
mod tests;
