//! What children start with, made ahead of their forks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use super::WAKE_UP;
use super::session::RESPONSE_ROOM;
use super::title::{self, Title};
use super::work::Kit;
use crate::http::date::Date;
use crate::http::limits::Limits;
use crate::http::request;
use crate::journal;
use crate::runtime::Runtime;
use crate::scoreboard::Slot;
use crate::sys::{self, WakeUp};
use crate::uplink::Uplink;

/// What holds for every child, whatever its service.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ChildSettings {
    pub(crate) http: Limits,
    /// Each request is reported when it is answered.
    pub(crate) reports_requests: bool,
    /// The title of the process names the client and the request.
    pub(crate) names_requests: bool,
}

/// Everything but the connection and the slot: a child allocates nothing of its own on its way to the first byte.
#[derive(Debug)]
pub(crate) struct Supplies {
    limits: Limits,
    wake_up: WakeUp,
    date: Date,
    /// From `start` on the title, and behind it the buffer of the kit.
    memory: Vec<u8>,
    /// On a page that they begin, they need no other for most requests.
    start: usize,
    /// What the log of children has open.
    log: Option<RawFd>,
    uplink: Option<Uplink>,
    runtime: Option<&'static dyn Runtime>,
    reports_requests: bool,
    names_requests: bool,
}

impl Supplies {
    /// To be called when the signals of this process are set. `uplink`: where children send messages, if not to this very
    /// process. `runtime`: what this process has loaded.
    pub(crate) fn new(
        settings: ChildSettings,
        uplink: Option<Uplink>,
        runtime: Option<&'static dyn Runtime>,
    ) -> Self {
        let ChildSettings { http: limits, reports_requests, names_requests } = settings;
        request::warm_up();
        let wake_up = WakeUp::new(WAKE_UP);
        let memory = vec![0; sys::PAGE + title::ROOM + limits.max_head_size + RESPONSE_ROOM];
        let start = memory.as_ptr().align_offset(sys::PAGE).min(sys::PAGE);
        let (date, log) = (Date::now(), journal::child_descriptor());
        Self { limits, wake_up, date, memory, start, log, uplink, runtime, reports_requests, names_requests }
    }

    /// Another descriptor of the uplink, if there is one.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(crate) fn clone_uplink(&self) -> io::Result<Option<OwnedFd>> {
        self.uplink.as_ref().map(|uplink| uplink.as_fd().try_clone_to_owned()).transpose()
    }

    /// Whether a connection carries one request.
    pub(crate) fn serves_once(&self) -> bool {
        self.limits.max_requests == 1
    }

    /// Lets children keep what [`journal::open_for_children`] has opened. (To ask it there would write to its page: it is
    /// behind a lock.)
    pub(crate) fn keep_log(&mut self) {
        self.log = journal::child_descriptor();
    }

    /// What children keep.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> + Clone {
        self.log.into_iter().chain(self.uplink.as_ref().map(|uplink| uplink.as_fd().as_raw_fd()))
    }

    /// Copies the pages that a response needs, so that a spare need not do it when its connection comes.
    pub(crate) fn touch(&mut self) {
        self.memory.fill(0);
        self.date.refresh();
    }

    /// Lets this process, and those that it forks, have a title in the memory of the supplies: `lsbaws: WHAT SERVICE`. Where
    /// the kernel cannot do that, they have that of the program.
    pub(crate) fn show_title(&mut self, what: &str, service: &str) {
        self.set_title(what, service);
        let _ = sys::set_title_area(&self.memory[self.start..][..title::ROOM]);
    }

    /// Changes it.
    pub(crate) fn set_title(&mut self, what: &str, service: &str) {
        Title::new(&mut self.memory[self.start..][..title::ROOM], true).set(what, service);
    }

    /// The kit of the next child. `program_output`: standard error of the program that it becomes. `status`: see [`Kit`].
    pub(crate) fn kit<'a>(
        &'a mut self,
        slot: Slot,
        program_output: Option<BorrowedFd<'a>>,
        status: Option<BorrowedFd<'a>>,
    ) -> Kit<'a> {
        // A copy: the page of the other need not be copied.
        let mut date = self.date;
        date.refresh();
        let (room, buffer) = self.memory[self.start..].split_at_mut(title::ROOM);
        let title = Title::new(room, self.names_requests);
        let Self { limits, wake_up, log, uplink, runtime, reports_requests, .. } = self;
        let uplink = uplink.as_ref().map(AsFd::as_fd);
        let (wake_up, log, runtime, reports_requests) = (*wake_up, *log, *runtime, *reports_requests);
        Kit {
            limits,
            slot,
            wake_up,
            program_output,
            log,
            uplink,
            reports_requests,
            status,
            runtime,
            date,
            buffer,
            title,
        }
    }
}
