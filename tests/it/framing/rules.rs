//! The rules behind the differences from hyper. Most are checks that hyper leaves to its service.

pub const LF: &str =
    "RFC 9112, 2.2: LF alone may be accepted as a line end, but an intermediary may find another end";
pub const EMPTY_LINES: &str = "RFC 9112, 2.2: empty lines ahead are ignored, up to the size limit of a head";
pub const FORMS: &str = "RFC 9112, 3.2: a target has one of four forms, none of them with a fragment";
pub const HOST: &str = "RFC 9112, 3.2: 400 where Host is missing, repeated or invalid";
pub const HOST_ESCAPE: &str = "RFC 3986, 3.2.2: an escape in a name is for letters of other scripts; a decoded delimiter could end the host";
pub const REG_NAME: &str = "RFC 3986, 3.2.2: a name may have escapes";
pub const AUTHORITY: &str =
    "RFC 9110, 4.2.1 and 4.2.4: http://, host and port; a user before them is misleading";
pub const MISDIRECTED: &str = "RFC 9110, 7.4: a target of another scheme was sent to the wrong server";
pub const ASTERISK: &str = "RFC 9112, 3.2.4: * is a target for OPTIONS alone";
pub const PATH: &str = "RFC 9112, 3.2: an invalid or ambiguous target is refused and not repaired";
pub const DOTS: &str = "RFC 3986, 5.2.4: segments . and .. are removed before anything depends on the path";
pub const BEYOND_ASCII: &str = "RFC 3986, 2.1: a byte above 0x7F stands for its escape, which lighttpd, nginx and Apache take it for as well";
pub const ONE_SPELLING: &str =
    "RFC 9110, 4.2.3: equivalent spellings of a path are one path, so that no spelling evades a route";
pub const UNENCODED: &str =
    "RFC 9112, 3: an invalid target need not be refused, and these characters are unambiguous";
pub const CONNECT: &str = "RFC 9110, 9.3.6: the bytes after a CONNECT are for its tunnel and not a request";
pub const TOO_LONG: &str = "RFC 9112, 3 and RFC 9110, 5.4: 414 or 431 above the limit of a head, which is 16 KiB here, 400 KiB there";
pub const VERSION: &str = "RFC 9110, 15.6.6: 505 for an unsupported version";
pub const MINOR_VERSION: &str =
    "RFC 9110, 2.5: a higher minor version is answered as the highest supported one";
pub const TLS: &str = "RFC 8446, 5.1: a client that begins a TLS handshake cannot read a response of HTTP";
pub const INCOMPLETE: &str =
    "RFC 9112, 8: an incomplete request may be answered before the connection is closed";
pub const LENGTH: &str = "RFC 9110, 8.6: Content-Length more than once may be refused even if all are equal";
pub const BOTH: &str =
    "RFC 9112, 6.1: content with two lengths may be refused, and the connection is closed in any case";
pub const CODING: &str = "RFC 9112, 6.1: 501 for an unknown transfer coding before chunked";
pub const CODINGS: &str =
    "RFC 9112, 6.1: chunked once and alone; an intermediary may understand every other list differently";
pub const CHUNK: &str = "RFC 9112, 7.1: no spaces after a chunk size";
pub const EXTENSION: &str = "RFC 9112, 7.1.1: ; and a name, and perhaps = and a token or quoted string";
pub const UNREAD: &str = "RFC 9112, 9.3: where content is not read to its end, the connection is closed";
pub const CONTINUE: &str = "RFC 9110, 10.1.1: no 100 if the content has arrived or will not be read";
pub const EXPECTATION: &str = "RFC 9110, 10.1.1: 417 for every expectation but 100-continue";
