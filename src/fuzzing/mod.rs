//! The checks of the fuzz targets. Compiled for them only: see `fuzz/run`.

#![forbid(unsafe_code)]

pub mod cgi_head;
pub mod chunked;
pub mod config;
pub mod forwarded;
pub mod handover;
pub mod path;
pub mod proxy_header;
pub mod request_head;
pub mod requests;
pub mod slot;
