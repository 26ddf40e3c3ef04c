//! A process for every connection.
//!
//! docs/architecture.md has the diagram of the processes, the reasons for the design and the measurements behind them.
//!
//! The modules are listed from the top down. Imports go down only: `tests/architecture.rs` has the table of floors, and
//! checks it.

#![deny(unsafe_code)]

mod command;

mod cli;
mod client;
mod config;
mod monitor;

mod forkserver;
mod supervisor;

mod handover;

mod child;

mod access;
mod service;

mod handler;

mod http;
mod journal;
mod listen;
mod status;

mod capacity;
mod clients;
mod confine;
mod connection;
mod environment;
mod escape;
mod interpreter;
mod json;
mod limits;
mod notify;
mod outcome;
mod refusal;
pub mod runtime;
mod scoreboard;
mod source;
mod uplink;

#[expect(unsafe_code, reason = "the one door to the kernel's dangerous calls")]
mod sys;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use command::main;
pub use forkserver::serve as serve_applications;
