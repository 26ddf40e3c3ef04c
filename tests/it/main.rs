//! Tests of the daemon from outside: each starts the program, waits for READY=1, and examines responses, records and
//! /proc. No test depends on the caller (`caller`), on the speed of the host, or on other tests at the same time.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests panic, and start threads")]
#![expect(unreachable_pub, reason = "every item of a test is its own")]

mod browser;
mod gate;
mod harness;
mod site;

mod access;
mod access_files;
mod access_open;
mod access_tools;
mod activation;
mod admission;
mod argv0;
mod auth;
mod auth_limit;
mod auth_users;
mod behind;
mod bind;
mod bind_errors;
mod cgi;
mod cgi_content;
mod cgi_ending;
mod cgi_failures;
mod cgi_fields;
mod cgi_root;
mod cgi_target;
mod cgi_time;
mod client;
mod completions;
mod compress;
mod config;
mod config_errors;
mod config_hints;
mod config_mistakes;
mod confine;
mod docs;
mod endings;
mod error_pages;
mod exec;
mod exhaustion;
mod fallback;
mod files;
mod folder;
mod forecast;
mod fork_servers;
mod framing;
mod headers;
mod help;
mod http;
mod journal;
mod journal_lines;
mod journal_stderr;
mod lessons;
mod lifecycle;
mod media;
mod pages;
mod paths;
mod places;
mod process;
mod proxies;
mod proxy_protocol;
mod real;
mod reload;
mod rlimits;
mod route_access;
mod secrets;
mod spares;
mod status;
mod status_page;
mod titles;
mod top;
mod transfers;
mod unserved;
