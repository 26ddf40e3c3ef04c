//! The one door to the kernel's dangerous calls: everything `unsafe` in lsbaws is in this folder, each block with
//! the reason why it is sound. What `nix` offers as a safe call is used directly.

mod address;
mod descriptors;
mod fork;
mod groups;
mod memory;
mod passing;
mod process;
mod termination;
mod time;
mod wait;

pub(crate) use address::{RemoteAddress, accept, remote_address};
pub(crate) use descriptors::{
    adopt_fd, by_number, close_all_but, discard_input, replace_fd, require_close_range,
};
pub(crate) use fork::{exit_now, fork_child};
pub(crate) use groups::{is_own_child, is_own_group, reap_group};
pub(crate) use memory::map_shared_words;
pub(crate) use passing::{receive_fd, send_fd};
pub(crate) use process::{open_pidfd, reset_signal, reset_signals, set_priority};
pub(crate) use termination::{Escalation, GRACE};
pub(crate) use time::{poll_timeout, wait_writable, whole_seconds};
pub(crate) use wait::{Exit, Usage, own_usage, reap, reap_one, wait_for};
