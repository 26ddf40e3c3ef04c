//! The completions of each shell, in that shell.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::pty::{Winsize, openpty};
use tempfile::TempDir;

use crate::harness::{LSBAWS, TIMEOUT, command, find_program, make_folder, run};

/// An interactive shell on a terminal.
struct Shell {
    process: Child,
    terminal: File,
    _home: TempDir,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Shell {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let home = make_folder();
        let size = Winsize { ws_row: 24, ws_col: 300, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = |fd: &OwnedFd| fd.try_clone().unwrap();
        // With the terminal as its controlling one.
        let mut shell = command("setsid");
        shell.args(["--ctty", "--wait"]).arg(program);
        let folder = Path::new(LSBAWS).parent().unwrap().display();
        shell.args(arguments).env("PS1", "ready> ").env("TERM", "dumb");
        shell.env("HOME", home.path());
        shell.env("PATH", format!("{folder}:/usr/bin:/bin"));
        shell.stdin(slave(&pty.slave)).stdout(slave(&pty.slave)).stderr(slave(&pty.slave));
        let process = shell.spawn().unwrap();
        drop((shell, pty.slave)); // so that reading ends with the process, by EIO
        let terminal = File::from(pty.master);
        let mut reader = terminal.try_clone().unwrap();
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { process, terminal, _home: home, output, seen: String::new() }
    }

    /// Waits until the shell has written these words, and forgets all up to them.
    fn wait(&mut self, words: &str) {
        while !self.seen.contains(words) {
            let bytes = self.output.recv_timeout(TIMEOUT);
            let bytes = bytes.unwrap_or_else(|error| panic!("no {words:?}: {error}: {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let (_, rest) = self.seen.split_once(words).unwrap();
        self.seen = rest.to_owned();
    }

    fn type_line(&mut self, keys: &str) {
        self.wait("ready> ");
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Each shell, how it starts without the files of a user, and how it gets the completions.
const SHELLS: [(&str, &[&str], &str); 3] = [
    ("bash", &["--norc", "--noprofile", "-i"], "source <(lsbaws completions bash)\n"),
    ("zsh", &["-f", "-i"], "autoload -U compinit; compinit -u -D; source <(lsbaws completions zsh)\n"),
    (
        "fish",
        &["--no-config", "-i", "-C", "function fish_prompt; echo -n 'ready> '; end; set fish_greeting"],
        "lsbaws completions fish | source\n",
    ),
];

#[test]
fn each_shell_completes_the_keys_of_set() {
    for (name, arguments, source) in SHELLS {
        let Some(program) = find_program(name) else { continue };
        let mut shell = Shell::start(&program, arguments);
        shell.type_line(source);
        // The key up to its equals sign, without a space; then a word.
        shell.type_line("lsbaws check --show --set limits.max_connections_p\t7\n");
        shell.wait("max_connections_per_source = 7 ");
        shell.wait("# --set limits.max_connections_per_source=7");
        shell.type_line(
            "lsbaws check --show --set service.api.prot\tex\t --set 'service.api.command=[\"/bin/echo\"]'\n",
        );
        shell.wait("protocol = \"exec\"");
        shell.wait("# --set service.api.protocol=exec");
        shell.type_line("exit\n");
        assert!(shell.process.wait().unwrap().success(), "{name}");
    }
}

#[test]
fn pairs_are_what_set_takes() {
    let list = |written: &str| run(&["completions", "pairs", written]).1;
    assert_eq!(list("log.level="), "log.level=error\nlog.level=warn\nlog.level=info\nlog.level=debug\n");
    assert_eq!(list("service.api.us"), "service.api.user=\n");
    assert_eq!(list("service.web.confine.n"), "service.web.confine.network=\n");
    let keys = list("");
    assert!(keys.lines().count() > 60 && !keys.contains("[["), "{keys}");
    for key in ["listen.web.address=", "service.web.route=", "process.model=", "limits.allow="] {
        assert!(keys.lines().any(|line| line == key), "{key}");
    }
}
