//! The daemon from outside: each test starts the real program, waits for its READY=1, and looks at what
//! its clients, its journal lines and /proc tell.

// A test asserts, so it may stop at the first surprise, and it may run threads: it does not fork.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod gate;
mod harness;
mod site;

mod activation;
mod admission;
mod bind;
mod cgi;
mod cgi_failures;
mod client;
mod config;
mod config_mistakes;
mod docs;
mod endings;
mod exec;
mod exhaustion;
mod files;
mod forecast;
mod framing;
mod http;
mod journal;
mod journal_stderr;
mod lessons;
mod lifecycle;
mod process;
mod real;
mod reload;
mod rlimits;
mod spares;
mod transfers;
