//! The protocol `exec`: programs as inetd runs them.

use std::io::{BufRead, BufReader, Read, Write};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::harness::{ask, make_folder, read_to_end, serve, wait_dead};

#[test]
fn program_has_the_connection_and_a_clean_environment() {
    let server = serve(
        "[service.web]\nprotocol = 'exec'\ndirectory = '/tmp'\nenvironment = { OWN = 'mine' }\n\
         command = ['/bin/sh', '-c', 'read line; echo $line; env | sort; pwd; grep Sig /proc/self/status; ls /proc/self/fd | wc -l; ps -o pgid= $$; echo $$; exit 7']\n",
    );
    let answer = ask(server.connect(), "hello\n");
    let lines: Vec<_> = answer.lines().map(str::trim).collect();
    assert_eq!(lines[0], "hello");
    for line in [
        "OWN=mine",
        "PROTO=TCP",
        "TCPLOCALIP=127.0.0.1",
        "TCPREMOTEIP=127.0.0.1",
        "REMOTE_ADDR=127.0.0.1",
        "/tmp",
        "SigBlk:\t0000000000000000",
        "SigIgn:\t0000000000000000",
    ] {
        assert!(lines.contains(&line), "{line}\n{answer}");
    }
    for absent in ["LISTEN_", "NOTIFY_SOCKET", "LSBAWS", "WATCHDOG"] {
        assert!(!answer.contains(absent), "{answer}");
    }
    // The standard descriptors and one of `ls`.
    let [.., count, group, pid] = lines[..] else { panic!("{answer}") };
    assert_eq!((count, group), ("4", pid));
    let record = server.record();
    assert!(answer.contains(&format!("UNIQUE_ID={}\n", record.get("connection"))), "{answer}");
    assert_eq!(
        (record.get("handler"), record.get("exit_code"), record.get("outcome"), record.get("pid")),
        ("exec", "7", "handler-error", pid)
    );
    assert!(record.line.contains("program exited with code 7"), "{}", record.line);
}

#[test]
fn standard_error_of_a_program_is_logged_by_line() {
    let server =
        serve("[service.web]\nprotocol = 'exec'\ncommand = ['/bin/sh', '-c', 'echo complaint >&2']\n");
    assert_eq!(read_to_end(server.connect()), "");
    // A line of the program cannot look like one of the daemon. It has the connection.
    let line = server.wait_line("complaint");
    assert!(line.starts_with(" INFO 127.0.0.1:") && line.contains(": complaint connection="), "{line}");
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn programs_block_on_their_connection() {
    let server = serve("[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\n");
    let mut stream = server.connect();
    for part in ["one", "two"] {
        stream.write_all(part.as_bytes()).unwrap();
        let mut echo = [0; 3];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, part.as_bytes());
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_end(stream), "");
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("requests")), ("served", ""));
}

#[test]
fn every_model_runs_programs_and_records_them() {
    for model in ["fork", "double-fork", "iterative"] {
        let server = serve(&format!(
            "[process]\nmodel = '{model}'\n[service.web]\nprotocol = 'exec'\ncommand = ['/bin/sh', '-c', 'echo hi; exit 2']\n"
        ));
        for _ in 0..2 {
            assert_eq!(read_to_end(server.connect()), "hi\n", "{model}");
            let record = server.record();
            assert_eq!((record.get("exit_code"), record.get("outcome")), ("2", "handler-error"), "{model}");
        }
    }
}

#[test]
fn missing_program_is_reported_with_its_path() {
    let folder = make_folder();
    let program = folder.path().join("program");
    crate::cgi::write_program(&program, "#!/bin/sh\n");
    let server = serve(&format!("[service.web]\nprotocol = 'exec'\ncommand = '{}'\n", program.display()));
    drop(folder);
    assert_eq!(read_to_end(server.connect()), "");
    let line = server.wait_line("unable to run");
    assert!(line.contains(&program.display().to_string()) && line.contains("No such file"), "{line}");
    assert_eq!(server.record().get("outcome"), "config-error");
}

#[test]
fn drain_terminates_the_group_of_a_program() {
    for model in ["fork", "double-fork"] {
        let mut server = serve(&format!(
            "[process]\nmodel = '{model}'\ndrain_timeout = '100ms'\n[service.web]\nprotocol = 'exec'\n\
             command = ['/bin/sh', '-c', 'sleep 1000 & echo $!; wait']\n"
        ));
        let mut sleeper = String::new();
        BufReader::new(server.connect()).read_line(&mut sleeper).unwrap();
        server.signal(Signal::SIGTERM);
        let record = server.record();
        assert_eq!(
            (record.get("terminated_by"), record.get("signal")),
            ("drain", "SIGTERM"),
            "{}",
            record.line
        );
        assert_eq!(server.wait().code(), Some(0));
        wait_dead(Pid::from_raw(sleeper.trim().parse().unwrap()));
    }
}
