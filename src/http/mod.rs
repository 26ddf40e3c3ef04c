//! HTTP/1.1 (RFC 9110, RFC 9112), as blocking code for one connection.

#![forbid(unsafe_code)]

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod budget;
pub(crate) mod canned;
pub(crate) mod chunked;
pub(crate) mod compress;
pub(crate) mod date;
pub(crate) mod encoding;
pub(crate) mod error_content;
pub(crate) mod failure;
pub(crate) mod fields;
pub(crate) mod forwarded;
pub(crate) mod framing;
pub(crate) mod limits;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod proxy_protocol;
pub(crate) mod request;
pub(crate) mod request_id;
pub(crate) mod response;
mod send_queue;
pub(crate) mod stream;
pub(crate) mod target;
pub(crate) mod terms;

/// `tchar` of RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The reason phrase of a status code (RFC 9110, section 15), which may be empty (RFC 9112, section 4).
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        _ => "",
    }
}
