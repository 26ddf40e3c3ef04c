//! The log: records of connections and messages of the daemon, to the journal, or to standard error where there
//! is no journal. This folder alone names the fields of entries.
//!
//! The sender is our own (socket.rs): a record must not block the supervisor, and must be counted if it is lost, but
//! tracing-journald blocks while journald is stopped, and does not report a loss. It writes a single entry, for which
//! waiting harms no connection: why the daemon cannot start.

#![forbid(unsafe_code)]

mod access;
mod child;
mod entry;
mod events;
mod global;
mod line;
mod log;
mod message_id;
mod note;
mod queue;
mod ratelimit;
mod record;
mod report;
mod settings;
mod socket;
mod stderr;
mod stream;
mod style;

pub(crate) use access::{AccessEntry, access_room, add_lost_lines, log_access, print_access};
pub(crate) use child::{ChildLog, child_descriptor, open_for_children, send_for_children};
pub(crate) use events::*;
pub(crate) use global::{change, close, destination, flush, next_event, open, writable};
pub(crate) use line::{Destination, LineStyle};
pub(crate) use record::{Record, RefusalNote, RefusalRecord, record_connection, record_refusal};
pub(crate) use report::{print_failure, print_panic, report_failure};
pub(crate) use settings::{Level, LineFormat, LogSettings, Target};
pub(crate) use stream::open_stream;
pub(crate) use style::{find_style, set_style, style_by};
