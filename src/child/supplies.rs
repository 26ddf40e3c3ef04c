//! What children start with, made ahead of their forks.

use std::os::fd::{BorrowedFd, RawFd};

use nix::sys::signal::SigSet;
use serde::{Deserialize, Serialize};

use super::WAKE_UP;
use super::session::RESPONSE_ROOM;
use super::work::Kit;
use crate::http::date::Date;
use crate::http::limits::Limits;
use crate::http::request;
use crate::journal;
use crate::scoreboard::Slot;

/// What holds for every child, whatever its service.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ChildSettings {
    pub(crate) http: Limits,
}

/// Everything but the connection and the slot: a child allocates nothing of its own on its way to the first byte.
#[derive(Debug)]
pub(crate) struct Supplies {
    limits: Limits,
    mask: SigSet,
    date: Date,
    buffer: Vec<u8>,
    /// What the log of children has open.
    log: Option<RawFd>,
}

impl Supplies {
    /// To be called when the signals of this process are set.
    pub(crate) fn new(settings: ChildSettings) -> Self {
        let limits = settings.http;
        request::warm_up();
        let mut mask = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty()); // cannot fail
        mask.remove(WAKE_UP);
        let buffer = vec![0; limits.max_head_size + RESPONSE_ROOM];
        Self { limits, mask, date: Date::now(), buffer, log: journal::child_descriptor() }
    }

    /// Lets children keep what [`journal::open_for_children`] has opened. (To ask it there would write to its page: it is
    /// behind a lock.)
    pub(crate) fn keep_log(&mut self) {
        self.log = journal::child_descriptor();
    }

    pub(crate) fn log_descriptor(&self) -> Option<RawFd> {
        self.log
    }

    /// Copies the pages that a response needs, so that a spare need not do it when its connection comes.
    pub(crate) fn touch(&mut self) {
        self.buffer.fill(0);
        self.date.refresh();
    }

    /// The kit of the next child. `program_output`: standard error of the program that it becomes.
    pub(crate) fn kit<'a>(&'a mut self, slot: Slot, program_output: Option<BorrowedFd<'a>>) -> Kit<'a> {
        // A copy: the page of the other need not be copied.
        let mut date = self.date;
        date.refresh();
        let Self { limits, mask, buffer, log, .. } = self;
        Kit { limits, slot, mask: *mask, program_output, log: *log, date, buffer }
    }
}
