//! A process for every connection.
//!
//! ```text
//!  systemd ──LISTEN_FDS──▶ ┌────────────────── supervisor, one thread ──────────────────────┐
//!    ▲  READY/STATUS/      │ listeners ─▶ admit? ─▶ accept ─▶ slot ─▶ fork ─▶ close its copy │──▶ journald
//!    │  WATCHDOG/STOPPING  │ signalfd: CHLD ─▶ reap all ─▶ join slot + rusage ─▶ ONE record  │   (records)
//!    └─────────────────────│ poll timeout: deadlines, watchdog, status                       │
//!                          └───────┬───────────────────────────────────────────▲─────────────┘
//!                                  │ fork (connection, its slot)               │ exit code, signal
//!                          ┌───────▼────────── child, blocking code ───────────┴─────────────┐
//!                          │ close the rest ─▶ session: HTTP ─▶ route ─▶ handler ─▶ _exit    │
//!                          │       or: become the program (exec, connection on 0 and 1)      │
//!                          └─────────────────────────────────────────────────────────────────┘
//!    scoreboard: one shared mapping, one slot per connection; the child writes phase, request and counters
//!    into its slot, the supervisor reads it after the child is dead.
//! ```
//!
//! The modules, from the top floor down: imports go down this list only, which `tests/architecture.rs` checks.
//! docs/architecture.md has the reasons.

#![deny(unsafe_code)]

mod command;

mod cli;
mod client;
mod config;

mod supervisor;

mod child;

mod service;

mod handler;

mod http;
mod journal;
mod listen;

mod capacity;
mod connection;
mod environment;
mod escape;
mod limits;
mod notify;
mod outcome;
mod scoreboard;
mod source;

#[expect(unsafe_code, reason = "the one door to the kernel's dangerous calls")]
mod sys;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use command::main;
