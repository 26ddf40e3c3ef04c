//! A runtime that a fork server has loaded ahead of its children, with the applications of its service: a fork server whose
//! program is an interpreter. This is what `wsgi/`, a crate of its own, implements for Python, and all that it sees of HTTP.

#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// The build of this library, as in `0.1.0-6f1e0c4b2a9d8375`: a runtime of another one cannot read what the daemon sends.
pub const BUILD: &str = env!("LSBAWS_BUILD");

/// The meta-variable of that name.
pub const SERVER_SOFTWARE: &str = concat!("lsbaws/", env!("CARGO_PKG_VERSION"));

/// A runtime. One thread calls it.
pub trait Runtime: Debug {
    /// Loads applications. Called once, in the confined fork server before its first fork.
    ///
    /// # Errors
    /// The first that cannot be loaded.
    fn load(&self, loading: &Loading<'_>) -> Result<(), LoadError>;

    /// Called once before the first fork, after [`Self::load`] and the requests of `warm_up`. Returns sentences that
    /// an administrator should know.
    ///
    /// # Errors
    /// A sentence.
    fn settle(&self) -> Result<Vec<String>, String>;

    /// The files that the applications have written since [`Self::load`] was called, if that records them. It records none
    /// from now on.
    fn take_written(&self) -> Vec<PathBuf>;

    /// Called before each fork, in the fork server.
    fn before_fork(&self);

    /// Called after each fork, in the process that has forked.
    fn after_fork_in_parent(&self);

    /// Called after each fork, in the child, when it is confined: also calls what [`Loading::on_fork`] names.
    ///
    /// # Errors
    /// That has failed. So will the requests.
    fn after_fork_in_child(&self) -> Result<(), LoadError>;

    /// Calls `action`, which uses nothing of the runtime but [`Self::answer`] and [`Self::handle_signals`]. Other threads of
    /// the runtime may run meanwhile.
    fn detach(&self, action: &mut dyn FnMut());

    /// Runs what an application has registered for signals that have come. Called when one has interrupted a wait. False: that
    /// has raised an exception, so that the process is to end.
    fn handle_signals(&self) -> bool;

    /// Lets an application answer a request: in a child, or in the fork server before its first fork.
    ///
    /// # Errors
    /// The application has failed: a line for the journal.
    fn answer(&self, application: &str, call: &mut dyn Call) -> Result<(), String>;
}

/// What is loaded.
#[derive(Debug)]
pub struct Loading<'a> {
    /// The applications, by the names that the configuration has for them.
    pub applications: &'a [&'a str],
    /// What each child calls before its first request, by its name.
    pub on_fork: Option<&'a str>,
    /// A connection carries one request.
    pub is_once: bool,
    /// See [`Runtime::take_written`].
    pub records_writes: bool,
}

/// Why an application cannot be loaded, or a process cannot serve it.
#[derive(Debug)]
pub struct LoadError {
    /// One line.
    pub sentence: String,
    /// Further lines: a traceback.
    pub details: String,
}

impl From<String> for LoadError {
    fn from(sentence: String) -> Self {
        Self { sentence, details: String::new() }
    }
}

/// One request, and the response that an application makes.
pub trait Call {
    /// Passes the meta-variables of the request (RFC 3875, PEP 3333) to `set`, but for those of the runtime. The values are
    /// decoded bytes.
    fn describe(&self, set: &mut dyn FnMut(&str, &[u8]));

    /// The content of the request. Waits for a first byte; 0 is the end.
    ///
    /// # Errors
    /// The connection has failed, or the content is invalid. No later call succeeds.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Interruption>;

    /// Sets the head of the response, or replaces it: a status such as `404 Not Found`, and fields. It is sent with the
    /// first content.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    fn set_head(&mut self, status: &[u8], fields: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String>;

    /// A response has begun, so that its head cannot be replaced.
    fn has_begun(&self) -> bool;

    /// No content of the response is sent, since the request is `HEAD` or its status excludes it.
    fn is_without_content(&self) -> bool;

    /// Sends the head, if it is not sent yet. `length`: that of all content, where it is known and the head does not have it.
    ///
    /// # Errors
    /// See [`Self::read`].
    fn begin(&mut self, length: Option<u64>) -> Result<(), Interruption>;

    /// Sends content; `more` follows at once, and may be sent together with it.
    ///
    /// # Errors
    /// See [`Self::read`].
    fn send(&mut self, content: &[u8], more: bool) -> Result<(), Interruption>;

    /// Sends `count` bytes of a file from `offset` on. They have to be there.
    ///
    /// # Errors
    /// See [`Self::read`].
    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, count: u64) -> Result<(), Interruption>;

    /// Ends the content, and sends what is queued. What the application does afterwards delays no client.
    ///
    /// # Errors
    /// See [`Self::read`].
    fn end(&mut self) -> Result<(), Interruption>;

    /// The connection has failed, as an earlier call has reported: the application is not to blame for what follows.
    fn is_interrupted(&self) -> bool;

    /// Writes a line of the application to the journal.
    fn log_output(&self, line: &[u8]);
}

/// Why a request cannot be read or answered to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The client has gone.
    Gone,
    /// The client is too slow.
    TimedOut,
    /// The content is invalid or too large: a sentence.
    Invalid(&'static str),
}
