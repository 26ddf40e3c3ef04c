//! The one door to the kernel's dangerous calls: everything `unsafe` in lsbaws is in this folder, each block with
//! the reason why it is sound. What `nix` offers as a safe call is used directly.

mod address;
mod descriptors;
mod fork;
mod heap;
mod memory;
mod passing;
mod privileges;
#[cfg(feature = "attacks")]
pub(crate) mod probe;
mod process;
mod tcp;
mod termination;
mod text;
mod time;
mod title;
mod wait;
mod wake_up;

pub(crate) use address::{RemoteAddress, accept, remote_address};
pub(crate) use descriptors::{
    CONNECTION, adopt_fd, by_number, close_all_but, close_each, discard_input, move_above, option_by_number,
    replace_fd, require_close_range,
};
pub(crate) use fork::{accept_foreign_code, exit_now, fork_child, fork_sibling};
pub(crate) use heap::gather_heap;
pub(crate) use memory::{PAGE, create_memory_file, forbid_growth, map_shared_words, seal};
pub(crate) use passing::{
    FromSender, Patience, open_channel, open_channel_with_senders, receive_from_sender, receive_message,
    receive_message_of, send_message,
};
#[cfg(test)]
pub(crate) use privileges::try_call;
pub(crate) use privileges::{drop_capabilities, empty_bounding_set};
pub(crate) use process::{
    keep_for_program, open_pidfd, reset_signal, reset_signals, send_signal, set_priority, wipe_environment,
};
pub(crate) use tcp::{count_backlog, idle_time};
pub(crate) use termination::{Escalation, GRACE};
pub(crate) use text::{copy_text, run_from};
pub(crate) use time::{instant_of, monotonic_nanoseconds_of, poll_timeout, wait_writable, whole_seconds};
pub(crate) use title::set_title_area;
pub(crate) use wait::{Exit, Usage, own_usage, reap, wait_for};
pub(crate) use wake_up::{WakeUp, catch_in_first_thread, catch_signal};
