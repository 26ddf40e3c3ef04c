//! What is opened for access lines, and when.

use std::fs;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::access::{Lines, RESPOND, read_lines};
use crate::access_files::list_writers;
use crate::harness::{LSBAWS, Setup, command, serve, wait_until};

#[test]
fn fifo_is_no_file_of_lines() {
    let lines = Lines::new();
    mkfifo(&lines.path(), Mode::S_IRWXU).unwrap();
    let sentence = format!("{} is neither a regular file nor a character device", lines.path().display());
    for model in ["fork", "iterative"] {
        let config = format!("process.model = '{model}'\n{}{RESPOND}", lines.table("{target}"));
        let mut server = Setup::new(&config).spawn();
        assert_eq!(server.wait().code(), Some(78));
        let log = server.lines_to_end();
        assert!(log.iter().any(|line| line.contains(&sentence)), "{log:?}");
    }
    let config = lines.folder.path().join("lsbaws.toml");
    fs::write(&config, lines.table("{target}")).unwrap();
    let output = command(LSBAWS).arg("-c").arg(&config).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&sentence), "{output:?}");
}

#[test]
fn file_that_became_a_fifo_is_not_opened_again() {
    for model in ["fork", "iterative"] {
        let lines = Lines::new();
        let config = format!("process.model = '{model}'\n{}{RESPOND}", lines.table("{target}"));
        let mut server = serve(&config);
        server.get("/a");
        lines.read(1);
        let old = lines.folder.path().join("old");
        fs::rename(lines.path(), &old).unwrap();
        mkfifo(&lines.path(), Mode::S_IRWXU).unwrap();
        for _ in 0..5 {
            server.signal(Signal::SIGUSR2);
        }
        server.wait_line("is neither a regular file nor a character device");
        server.get("/b");
        assert_eq!(read_lines(&old, 2), ["/a", "/b"]);
        let count = usize::from(model == "fork");
        wait_until("the first writer remains", || list_writers(&server).len() == count);
        server.stop();
    }
}

#[test]
fn pipe_of_standard_output_takes_lines() {
    let lines = Lines::new();
    let config = format!("log.access = {{ target = '/dev/stdout', format = '{{target}}' }}\n{RESPOND}");
    let path = lines.path();
    let server = Setup::new(&config).prelude(&format!("exec > >(exec cat >{})", path.display())).serve();
    server.get("/a");
    lines.read(1);
}

#[test]
fn new_path_is_opened_once_its_folder_exists() {
    let lines = Lines::new();
    let server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    let folder = lines.folder.path().join("later");
    let path = folder.join("access.log");
    let config =
        format!("log.access = {{ target = '{}', format = '{{target}}' }}\n{RESPOND}", path.display());
    server.reload(&config);
    server.wait_line("for access lines: No such file or directory");
    server.get("/a");
    lines.read(1);
    fs::create_dir(&folder).unwrap();
    server.reload(&config);
    wait_until("the new file exists", || path.exists());
    wait_until("the old writer has exited", || list_writers(&server).len() == 1);
    server.get("/b");
    assert_eq!(read_lines(&path, 1), ["/b"]);
}

#[test]
fn check_warns_of_outputs_that_are_missing() {
    let warn = |target: &str| {
        let argument = format!("log.access.target={target}");
        let output = command(LSBAWS).args(["check", "--set", &argument]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let folder = "warning: log.access.target: there is no directory /nonexistent; ";
    assert!(warn("/nonexistent/access.log").contains(folder));
    assert!(!warn("/tmp/access.log").contains("warning: log.access.target"));
    let has_journal = fs::exists("/run/systemd/journal/socket").unwrap();
    let journal = "warning: log.access.target: this host has no journal";
    assert_eq!(warn("journal").contains(journal), !has_journal);
}
