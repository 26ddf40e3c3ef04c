//! `lsbaws top`, on a terminal.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::{Pid, write};

use crate::harness::{LSBAWS, Setup, command, make_folder, run};

/// What a program writes to a terminal of 80 columns and 24 rows.
struct Terminal {
    pty: OpenptyResult,
    shown: String,
}

impl Terminal {
    fn start(arguments: &[&str]) -> (Self, Child) {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let terminal = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut top = command(LSBAWS);
        let process = top.args(arguments).stdin(terminal()).stdout(terminal()).spawn().unwrap();
        (Self { pty, shown: String::new() }, process)
    }

    fn press(&self, keys: &[u8]) {
        assert_eq!(write(&self.pty.master, keys).unwrap(), keys.len());
    }

    /// Reads until it has written this. Returns what came before.
    fn wait(&mut self, part: &str) -> String {
        let mut master = File::from(self.pty.master.try_clone().unwrap());
        let mut some = [0; 4096];
        loop {
            if let Some((before, rest)) = self.shown.split_once(part) {
                let before = before.to_owned();
                self.shown = rest.to_owned();
                return before;
            }
            let count = master.read(&mut some).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&some[..count]));
        }
    }

    /// The lines of the next complete screen.
    fn wait_screen(&mut self) -> Vec<String> {
        self.wait("\x1b[H");
        let screen = self.wait("\x1b[J");
        let plain = ["\x1b[K", "\x1b[7m", "\x1b[0m"].iter().fold(screen, |text, code| text.replace(code, ""));
        plain.split("\r\n").map(str::to_owned).collect()
    }
}

fn modes(terminal: &OwnedFd) -> String {
    let modes = tcgetattr(terminal).unwrap();
    format!("{:?}", (modes.input_flags, modes.output_flags, modes.local_flags, modes.control_flags))
}

#[test]
fn top_shows_the_status_and_restores_the_terminal() {
    let folder = make_folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.path().join("status.sock").to_str().unwrap().to_owned();
    let server = Setup::new(&format!("process.status_socket = '{path}'\n")).serve();
    let _idle: Vec<_> = (0..30).map(|_| server.connect()).collect();
    for end in ["q", "\x03", "SIGTERM", "SIGINT"] {
        let (mut terminal, mut top) = Terminal::start(&["top", "--socket", &path]);
        let before = modes(&terminal.pty.slave);
        terminal.wait("\x1b[?1049h");
        let screen = terminal.wait_screen();
        assert!(screen.len() <= 24 && screen.iter().all(|line| line.chars().count() <= 80), "{screen:#?}");
        assert!(screen[0].starts_with("lsbaws ") && screen[0].contains("/512 connections"), "{screen:#?}");
        assert!(screen.last().unwrap().starts_with("q quit "), "{screen:#?}");
        assert_ne!(modes(&terminal.pty.slave), before);
        terminal.press(b"r");
        terminal.wait_screen();
        let pid = Pid::from_raw(top.id().cast_signed());
        let size = rustix::termios::Winsize { ws_row: 12, ws_col: 50, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal.pty.master, size).unwrap();
        kill(pid, Signal::SIGWINCH).unwrap();
        let screen = terminal.wait_screen();
        assert!(screen.len() <= 12 && screen.iter().all(|line| line.chars().count() <= 50), "{screen:#?}");
        match end {
            "SIGTERM" => kill(pid, Signal::SIGTERM).unwrap(),
            "SIGINT" => kill(pid, Signal::SIGINT).unwrap(),
            keys => terminal.press(keys.as_bytes()),
        }
        terminal.wait("\x1b[?1049l");
        assert_eq!(top.wait().unwrap().code(), Some(0), "{end:?}");
        assert_eq!(modes(&terminal.pty.slave), before, "{end:?}");
    }
    let (code, text, _) = run(&["top", "--socket", &path]);
    assert!(code == 0 && text.contains("30/512 connections"), "without a terminal, once: {text}");
    assert_eq!(run(&["top", "--socket", "/nonexistent"]).0, 69);
}
