//! The help of each command, on a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;

use nix::pty::{Winsize, openpty};

use crate::harness::{LSBAWS, command, require_client, run};

const COMMANDS: [&[&str]; 6] = [&[], &["serve"], &["check"], &["status"], &["top"], &["client"]];

/// The rows of a command on a terminal of so many columns.
fn rows(arguments: &[&str], columns: u16) -> Vec<String> {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let terminal = |fd: &OwnedFd| fd.try_clone().unwrap();
    let mut lsbaws = command(LSBAWS);
    lsbaws.args(arguments).stdout(terminal(&pty.slave)).stderr(terminal(&pty.slave));
    let mut process = lsbaws.spawn().unwrap();
    drop((lsbaws, pty.slave)); // so that reading ends with the process, by EIO
    let rows = BufReader::new(File::from(pty.master)).lines().map_while(Result::ok).collect();
    assert!(process.wait().unwrap().success());
    rows
}

#[test]
fn help_fits_the_terminal_and_has_examples() {
    require_client();
    for arguments in COMMANDS {
        for flag in ["--help", "-h"] {
            let rows = rows(&[arguments, &[flag]].concat(), 80);
            assert!(rows.iter().all(|row| row.len() <= 80), "{rows:#?}");
            assert!(rows.iter().any(|row| row == "Examples:"), "{rows:#?}");
        }
        let narrow = rows(&[arguments, &["--help"]].concat(), 60);
        let (_, options) = narrow.iter().partition::<Vec<&String>, _>(|row| row.starts_with("    lsbaws"));
        assert!(options.iter().all(|row| row.len() <= 60), "{narrow:#?}");
        let (code, piped, _) = run(&[arguments, &["--help"]].concat());
        assert!(code == 0 && piped.lines().all(|row| row.len() <= 80), "{piped}");
        let wide = rows(&[arguments, &["--help"]].concat(), 100);
        assert!(wide.len() < narrow.len(), "{wide:#?}");
    }
}

#[test]
fn examples_in_the_help_are_valid() {
    let mut count = 0;
    for arguments in &COMMANDS[..3] {
        let (_, help, _) = run(&[arguments, &["--help"][..]].concat());
        let examples = help.lines().filter_map(|line| line.strip_prefix("    ")?.split_once("lsbaws "));
        for (_, example) in examples.filter(|(_, example)| !example.contains("lsbaws.socket")) {
            let (_, example) = example.rsplit_once("lsbaws ").unwrap_or(("", example));
            let example = example.replace("/srv/www", "/").replace("my.toml", "etc/lsbaws.toml");
            let is_folder = example.starts_with("serve /");
            let script = match is_folder {
                // Everything else is valid, and nothing is served.
                true => format!("exec \"$0\" {example} --set no_such_key=1"),
                false => {
                    let example = example.trim_start_matches("serve ").trim_start_matches("check");
                    format!("exec \"$0\" check {example}")
                }
            };
            let output = command("sh").args(["-c", &script, LSBAWS]).output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            let is_last = message.lines().count() == 1 && message.contains("no_such_key");
            assert!(if is_folder { is_last } else { output.status.success() }, "{example}: {message}");
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
}
