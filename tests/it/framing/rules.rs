//! The rules by which our answers differ from hyper's. Most differences are checks that hyper leaves to its
//! service.

pub const LF: &str =
    "RFC 9112, 2.2: LF alone may be taken for a line end, but who stands between may see another end";
pub const EMPTY_LINES: &str =
    "RFC 9112, 2.2: one empty line ahead is to be ignored; how many, the limit of a head says";
pub const FORMS: &str =
    "RFC 9112, 3.2: a target has one of four forms, none of them with a fragment or beyond ASCII";
pub const HOST: &str = "RFC 9112, 3.2: 400 where Host is missing, repeated or invalid";
pub const HOST_ESCAPE: &str = "RFC 9110, 4.2.3: hosts are compared in their normal form, and this is none";
pub const AUTHORITY: &str =
    "RFC 9110, 4.2.1 and 4.2.4: http://, host and port; a user in front of them deceives";
pub const MISDIRECTED: &str = "RFC 9110, 7.4: a target of another scheme has come to the wrong server";
pub const ASTERISK: &str = "RFC 9112, 3.2.4: * is a target for OPTIONS alone";
pub const PATH: &str =
    "RFC 9112, 3.2: what is no valid target, or is two things to two readers, is refused and not repaired";
pub const ONE_SPELLING: &str =
    "RFC 9110, 4.2.3: equivalent spellings of a path are one path here, and no way around a route";
pub const UNENCODED: &str =
    "RFC 9112, 3: an invalid target need not be refused, and these characters mean the same to everybody";
pub const CONNECT: &str =
    "RFC 9110, 9.3.6: what follows a CONNECT is meant for its tunnel, and is no request";
pub const TOO_LONG: &str = "RFC 9112, 3 and RFC 9110, 5.4: 414 or 431 above the limit of a head, which is 16 KiB here, 400 KiB there";
pub const VERSION: &str = "RFC 9110, 15.6.6: 505 for a version that is not spoken here";
pub const INCOMPLETE: &str =
    "RFC 9112, 8: an incomplete request may be answered before the connection is closed";
pub const LENGTH: &str = "RFC 9110, 8.6: Content-Length more than once may be refused even if all are equal";
pub const BOTH: &str =
    "RFC 9112, 6.1: content with two lengths may be refused, and the connection is closed in any case";
pub const CODING: &str = "RFC 9112, 6.1: 501 for a transfer coding that is not understood";
pub const CODINGS: &str =
    "RFC 9112, 6.1: chunked once and alone; every other list may be seen otherwise by who stands between";
pub const CHUNK: &str = "RFC 9112, 7.1: no spaces after a chunk size, no control bytes in an extension";
pub const UNREAD: &str = "RFC 9112, 9.3: where content is not read to its end, the connection is closed";
pub const CONTINUE: &str = "RFC 9110, 10.1.1: no 100 where the content has come already, or will not be read";
pub const EXPECTATION: &str = "RFC 9110, 10.1.1: 417 for every expectation but 100-continue";
