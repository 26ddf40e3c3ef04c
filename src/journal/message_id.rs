//! The MESSAGE_ID of each kind of entry. The ids are an interface: administrators filter by them. The file
//! `systemd/lsbaws.catalog` explains each that can be written at warning or worse, and no other.

/// A child exited: served, or an error of the client.
pub(super) const CONNECTION_ENDED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36401";
/// A signal killed a child.
pub(super) const CONNECTION_KILLED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36402";
/// A connection got no process, by policy.
pub(super) const CONNECTION_REFUSED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36403";
/// Every listener is armed.
pub(super) const READY: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36404";
/// The daemon waits for its connections before it stops.
pub(super) const DRAINING: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36405";
/// The daemon has stopped.
pub(super) const STOPPED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36406";
/// accept(2) failed.
pub(super) const ACCEPT_EXHAUSTED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36407";
/// fork(2) failed.
pub(super) const FORK_EXHAUSTED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36408";
/// A program could not be started, or sent no valid response.
pub(super) const PROGRAM_FAILED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36409";
/// A line that a program wrote to its standard error.
pub(super) const PROGRAM_OUTPUT: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640a";
/// The number of records that were not written one by one.
pub(super) const CONNECTIONS_SUPPRESSED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640b";
/// A system call of a child failed.
pub(super) const SYSTEM_ERROR: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640c";
/// A child exited: an error of the handler, the system, the configuration or lsbaws, or lsbaws terminated it.
pub(super) const CONNECTION_FAILED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640d";
/// A connection got no process, since none could be forked.
pub(super) const CONNECTION_NOT_SERVED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640e";
/// A new configuration is in use.
pub(super) const RELOADED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36410";
/// A new configuration is invalid; the old one stays.
pub(super) const RELOAD_FAILED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36411";
/// The daemon exits until the next connection.
pub(super) const IDLE: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36412";
/// A line of the answer to SIGUSR1.
pub(super) const STATUS: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36413";
/// Connections of a source are refused for a while.
pub(super) const SOURCE_PENALIZED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36414";
/// accept(2) or fork(2) succeeds again.
pub(super) const SHORTAGE_OVER: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36415";
/// A fork server has exited, and is started again.
pub(super) const FORK_SERVER_ENDED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36416";
/// The kernel cannot confine the children of a service as configured.
pub(super) const NOT_CONFINED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36417";
/// A socket that was handed in is not served.
pub(super) const SOCKET_NOT_SERVED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36418";
/// No listener leads to a service.
pub(super) const SERVICE_UNREACHED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36419";
/// A limit of a service could not be set for a child.
pub(super) const LIMIT_NOT_SET: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36420";
/// A limit of the system is lower than the configuration needs.
pub(super) const SYSTEM_LIMIT_LOW: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36421";
/// Checks of balancers fail from now on, as requested, or since the daemon stops soon.
pub(super) const DRAIN_ANNOUNCED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36423";
/// A drain that was requested has ended, as requested.
pub(super) const DRAIN_ENDED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36424";
/// A request was answered: an access line.
pub(super) const ACCESS: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36422";
