//! A CGI program that a test holds until it has seen what it wants to see.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::cgi::write_program;
use crate::harness::{PATIENCE, make_folder};

/// Each request for it waits until the test lets it pass.
pub struct Gate {
    folder: TempDir,
    reached: File,
    opened: File,
}

impl Gate {
    pub fn new() -> Self {
        let folder = make_folder();
        // Open for both directions, so that neither end waits for the other when it opens its own.
        let make_fifo = |name: &str| {
            let path = folder.path().join(name);
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            File::options().read(true).write(true).open(path).unwrap()
        };
        let (reached, opened) = (make_fifo("reached"), make_fifo("opened"));
        let path = folder.path().display();
        let script = format!(
            "#!/bin/sh\necho >{path}/reached\nread line <{path}/opened\n\
             printf 'Content-Type: text/plain\\nContent-Length: 6\\n\\npassed'\n"
        );
        write_program(&folder.path().join("program"), &script);
        Self { folder, reached, opened }
    }

    /// A route to it, for the configuration.
    pub fn route(&self, path: &str) -> String {
        let program = self.folder.path().join("program");
        format!(
            "[[service.web.route]]\npath = '{path}'\nhandler = 'cgi'\nprogram = '{}'\n",
            program.display()
        )
    }

    /// Waits until a request has come to it.
    pub fn wait_reached(&mut self) {
        let timeout = PollTimeout::try_from(PATIENCE).unwrap();
        let mut fds = [PollFd::new(self.reached.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, timeout).unwrap(), 1, "no request has come to the gate");
        self.reached.read_exact(&mut [0]).unwrap();
    }

    /// Lets one request pass.
    pub fn open(&mut self) {
        self.opened.write_all(b"\n").unwrap();
    }
}
