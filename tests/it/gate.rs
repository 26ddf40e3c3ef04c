//! A CGI program that waits for the test before it responds.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::cgi::write_program;
use crate::harness::{TIMEOUT, make_folder};

/// Each request waits until the test opens the gate.
pub struct Gate {
    folder: TempDir,
    reached: File,
    opened: File,
}

impl Gate {
    pub fn new() -> Self {
        let response = "printf 'Content-Type: text/plain\\nContent-Length: 6\\n\\npassed'";
        Self::between("", response)
    }

    /// A program that runs one script, then waits, then runs another.
    pub fn between(before: &str, after: &str) -> Self {
        let folder = make_folder();
        // Open for reading and writing, so that no open(2) waits for the other end (fifo(7)).
        let make_fifo = |name: &str| {
            let path = folder.path().join(name);
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            File::options().read(true).write(true).open(path).unwrap()
        };
        let (reached, opened) = (make_fifo("reached"), make_fifo("opened"));
        let path = folder.path().display();
        let script =
            format!("#!/bin/sh\n{before}\necho >{path}/reached\nread line <{path}/opened\n{after}\n");
        write_program(&folder.path().join("program"), &script);
        Self { folder, reached, opened }
    }

    /// The route of the program, for the configuration.
    pub fn route(&self, path: &str) -> String {
        let program = self.folder.path().join("program");
        format!(
            "[[service.web.route]]\npath = '{path}'\nhandler = 'cgi'\nprogram = '{}'\n",
            program.display()
        )
    }

    /// Waits until the program runs for a request.
    pub fn wait_reached(&mut self) {
        let timeout = PollTimeout::try_from(TIMEOUT).unwrap();
        let mut fds = [PollFd::new(self.reached.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, timeout).unwrap(), 1, "no request reaches the gate");
        self.reached.read_exact(&mut [0]).unwrap();
    }

    /// Lets one request continue.
    pub fn open(&mut self) {
        self.opened.write_all(b"\n").unwrap();
    }
}
