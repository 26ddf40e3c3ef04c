//! The fields by which proxies name a client: what a client puts in front of the words of a proxy changes nothing of what is
//! read, or makes the request invalid.

use httparse::Header;

use crate::connection::Peer;
use crate::http::failure::Failure;
use crate::http::forwarded::{Forwarded, read};

/// Words of a proxy, for fields that lines of the input begin.
const PROXY: [(&str, &str); 2] =
    [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1;proto=https;host=a.b")];

/// Checks one input: a line for each field.
pub fn check(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').take(8).collect();
    for (name, own) in PROXY {
        let alone = parse(name, &[own.as_bytes()]);
        assert!(alone.is_ok());
        // In fields of their own, and in that of the proxy.
        let apart: Vec<_> = lines.iter().copied().chain([own.as_bytes()]).collect();
        let joined: Vec<_> = [lines.join(&b','), own.as_bytes().to_vec()].join(&b"\t, "[..]);
        for values in [&apart[..], &[&joined[..]]] {
            match parse(name, values) {
                Ok(said) => assert_eq!(Ok(said), alone),
                Err(Failure::Refused(400, sentence)) => assert!(sentence.ends_with(name)),
                Err(failure) => panic!("{failure:?}"),
            }
        }
    }
}

fn parse(name: &str, values: &[&[u8]]) -> Result<Forwarded<'static>, Failure> {
    let fields: Vec<_> = values.iter().map(|&value| Header { name, value }).collect();
    let said = read(&fields, |peer: &Peer| peer.ip().is_some_and(|ip| ip.is_loopback()))?;
    // The host is that of the proxy, whose text lives for ever.
    let authority = said.authority.map(|authority| if authority == "a.b" { "a.b" } else { "other" });
    Ok(Forwarded { authority, ..said })
}
