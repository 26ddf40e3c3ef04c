//! A process for every connection.
//!
//! ```text
//!  systemd ──LISTEN_FDS──▶ ┌──────────────── parent (supervisor), one thread ───────────────┐
//!    ▲  READY/STATUS/      │ listeners ─▶ admit? ─▶ accept ─▶ slot ─▶ fork ─▶ close its copy │──▶ journald
//!    │  WATCHDOG/STOPPING  │ signalfd: CHLD ─▶ reap all ─▶ join slot + rusage ─▶ ONE record  │   (records)
//!    └─────────────────────│ poll timeout: deadlines, watchdog, status                       │
//!                          └───────┬───────────────────────────────────────────▲─────────────┘
//!                                  │ fork (connection, its slot)               │ exit code, signal
//!                          ┌───────▼────────── child, blocking code ───────────┴─────────────┐
//!                          │ close the rest ─▶ serve: HTTP loop ─▶ route ─▶ handler ─▶ _exit │
//!                          │       or: become the program (exec, connection on 0 and 1)      │
//!                          └─────────────────────────────────────────────────────────────────┘
//!    scoreboard: one shared mapping, one slot per connection; the child writes phase, request and counters
//!    into its slot, the parent reads it after the child is dead.
//! ```
//!
//! The modules in the order of the flow: [`cli`] and [`config`] say what to do; [`listen`] brings the
//! sockets; the [`supervisor`] accepts each [`connection`], asks whether its [`source`] may have a process, takes
//! a slot of the [`scoreboard`] and forks the [`child`], which speaks [`http`] and lets a [`handler`] answer. What
//! became of it goes to the [`journal`]; [`notify`] talks to systemd; [`walls`] are the limits of the system that
//! come before our own. [`client`] is the load client. Only [`sys`] may be unsafe.

pub mod child;
pub mod cli;
pub mod client;
pub mod config;
pub mod connection;
pub mod handler;
pub mod http;
pub mod journal;
pub mod listen;
pub mod notify;
pub mod scoreboard;
pub mod source;
pub mod supervisor;
#[allow(unsafe_code)]
pub mod sys;
pub mod walls;
