//! Fork servers: what they hold, and what happens when one is killed, stopped, or replaced.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{
    Setup, ask, can_look_inside, connect, read_to_end, run_client, serve, skip, unique_user, wait_dead,
    wait_until,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const ECHO: &str = "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";

#[test]
fn fork_server_has_a_clean_environment_and_few_descriptors() {
    if !can_look_inside() {
        return;
    }
    let server = Setup::new("").prelude("export SECRET_OF_THE_CALLER=1; exec 77</dev/null").serve();
    let [fork_server] = server.fork_servers()[..] else { panic!() };
    assert_eq!(fs::read(format!("/proc/{fork_server}/environ")).unwrap(), b"");
    let environment = fs::read_to_string(format!("/proc/{}/environ", server.pid())).unwrap();
    assert!(environment.trim_matches('\0').is_empty(), "the supervisor has wiped its own: {environment:?}");
    // The standard ones, the channel, the scoreboard, and the log.
    let links = fs::read_dir(format!("/proc/{fork_server}/fd")).unwrap();
    let links: Vec<_> = links.map(|link| fs::read_link(link.unwrap().path()).unwrap()).collect();
    assert!(links.len() <= 6, "{links:?}");
}

/// Linux loads a program at a huge page since 6.10, and gathers pages into huge ones since 6.1.
#[test]
fn fork_servers_share_their_text_in_huge_pages() {
    if !cfg!(target_arch = "x86_64") || !can_look_inside() {
        return;
    }
    let server = serve("[process]\nfork_servers = 2\n");
    let find_text = |pid: i32| {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let text = maps.split_once("/memfd:lsbaws-text")?.1;
        let huge = text.lines().find(|line| line.starts_with("ShmemPmdMapped:")).unwrap();
        let inode = maps.lines().find(|line| line.contains("/memfd:lsbaws-text")).unwrap().split(' ').nth(4);
        Some((huge.to_owned(), inode.unwrap().to_owned()))
    };
    let texts: Vec<_> = server.fork_servers().into_iter().filter_map(find_text).collect();
    if texts.is_empty() && kernel_is_before(6, 10) {
        return skip("needs Linux 6.10, which loads a static program at a huge page");
    }
    let [(first, file), (second, other)] = &texts[..] else { panic!("{texts:?}") };
    assert!(!first.ends_with(" 0 kB") && !second.ends_with(" 0 kB"), "{texts:?}");
    assert_eq!(file, other);
}

pub fn kernel_is_before(major: u32, minor: u32) -> bool {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) < (major, minor)
}

#[test]
fn service_has_the_number_of_fork_servers_that_is_configured() {
    let server = serve("[process]\nfork_servers = 3\n");
    assert_eq!(server.fork_servers().len(), 3);
    let result = run_client(server.address(), &["--max-conns", "60"]);
    assert_eq!(result["answered"]["200"], 60, "{result}");
}

#[test]
fn killed_fork_server_is_started_again() {
    let mut server = serve(ECHO);
    let mut open = server.connect();
    open.write_all(b"before").unwrap();
    open.read_exact(&mut [0; 6]).unwrap();
    let [first] = server.fork_servers()[..] else { panic!() };
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let line = server.wait_line("service web: its fork server was killed by SIGKILL; starting it again");
    assert!(line.starts_with("ERROR "), "{line}");
    let mut next = server.connect();
    next.write_all(b"after").unwrap();
    next.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_end(next), "after");
    open.write_all(b"still").unwrap();
    open.read_exact(&mut [0; 5]).unwrap();
    drop(open);
    for _ in 0..2 {
        assert_eq!(server.record().get("outcome"), "served");
    }
    server.stop();
}

#[test]
fn connections_of_a_killed_fork_server_go_to_the_next() {
    let server = serve("");
    let [first] = server.fork_servers()[..] else { panic!() };
    // Stopped, it forks for none of them.
    kill(Pid::from_raw(first), Signal::SIGSTOP).unwrap();
    let mut streams: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(REQUEST.as_bytes()).unwrap();
    }
    server.notification_with("connections 20, ");
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    for stream in streams {
        assert!(read_to_end(stream).ends_with("Hello, World!\n"));
        assert_eq!(server.record().get("outcome"), "served");
    }
}

#[test]
fn children_killed_at_once_cost_their_own_connections_only() {
    let server = serve("[log]\nmax_rate = 0\n");
    let first = server.fork_servers();
    for _ in 0..200 {
        let mut stream = server.connect();
        let mut child = None;
        wait_until("the connection has a child", || {
            child = server.children().first().copied();
            child.is_some()
        });
        kill(Pid::from_raw(child.unwrap()), Signal::SIGKILL).unwrap();
        // A child that had not reported has read nothing, so that another serves its connection.
        let mut answer = String::new();
        let asked = stream.write_all(REQUEST.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        let outcome = if asked.is_ok() && answer.ends_with("Hello, World!\n") { "served" } else { "killed" };
        assert_eq!(server.record().get("outcome"), outcome);
    }
    assert_eq!(server.fork_servers(), first, "it was not taken for stalled");
}

#[test]
fn stopped_fork_server_does_not_keep_the_daemon() {
    let mut server = serve("[process]\ndrain_timeout = '100ms'\n");
    let [first] = server.fork_servers()[..] else { panic!() };
    kill(Pid::from_raw(first), Signal::SIGSTOP).unwrap();
    let stream = server.connect();
    server.notification_with("connections 1, ");
    server.stop();
    assert!(read_to_end(stream).starts_with("HTTP/1.1 503 "));
    let lines = server.lines_to_end();
    assert!(lines.iter().any(|line| line.contains(" reason=\"no_process\"")), "{lines:?}");
}

#[test]
fn reload_replaces_the_fork_servers() {
    let server = serve(ECHO);
    let [first] = server.fork_servers()[..] else { panic!() };
    let mut open = server.connect();
    open.write_all(b"old").unwrap();
    open.read_exact(&mut [0; 3]).unwrap();
    server.reload(ECHO);
    server.wait_line("configuration reloaded");
    wait_dead(Pid::from_raw(first));
    let fork_servers = server.fork_servers();
    assert!(fork_servers.len() == 1 && fork_servers[0] != first, "{fork_servers:?}");
    open.write_all(b"old").unwrap();
    open.read_exact(&mut [0; 3]).unwrap();
}

#[test]
fn fork_servers_exit_when_the_daemon_is_killed() {
    let server = serve("[process]\nspares = 2\n");
    let processes = [server.fork_servers(), server.children()].concat();
    assert_eq!(processes.len(), 3);
    server.signal(Signal::SIGKILL);
    for pid in processes {
        wait_dead(Pid::from_raw(pid));
    }
}

#[test]
fn supervisor_and_fork_server_are_not_dumpable() {
    let Some(user) = unique_user() else { return };
    let server = Setup::new("").user(user).serve();
    let [fork_server] = server.fork_servers()[..] else { panic!() };
    for pid in [server.pid().as_raw(), fork_server] {
        // The files of such a process are root's (proc(5)), so that its own user cannot open its memory.
        assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
    }
}

#[test]
fn program_leaves_no_process_behind_in_another_session() {
    let script = "setsid sh -c 'setsid sleep 1000 & sleep 1000' >/dev/null 2>&1 & sleep 0.1; echo done";
    let server =
        serve(&format!("[service.web]\nprotocol = 'exec'\ncommand = ['/bin/sh', '-c', \"{script}\"]\n"));
    for _ in 0..5 {
        assert_eq!(read_to_end(server.connect()), "done\n");
        let record = server.record();
        assert_eq!(record.get("orphans"), "yes", "{}", record.line);
    }
    wait_until("no process is left", || server.children().is_empty());
}

#[test]
fn killed_spare_loses_no_connection() {
    let server = serve("[process]\nspares = 1\n");
    let [spare] = server.children()[..] else { panic!() };
    kill(Pid::from_raw(spare), Signal::SIGKILL).unwrap();
    assert!(ask(connect(server.address()), REQUEST).ends_with("Hello, World!\n"));
}

#[test]
fn daemon_ends_if_a_fork_server_cannot_start() {
    let mut server = Setup::new("").prelude("ulimit -n 32").spawn();
    assert_eq!(server.wait().code(), Some(71));
    let lines = server.lines_to_end();
    assert!(
        lines.iter().any(|line| line.contains("ERROR service web: its fork server exited with code 71")),
        "{lines:?}"
    );
}

/// The limit is too low for the text in huge pages, of which the daemon makes a file.
#[test]
fn daemon_serves_with_a_limit_of_file_sizes() {
    let mut server = Setup::new("").prelude("ulimit -f 2500").serve();
    assert!(server.get("/").ends_with("Hello, World!\n"));
    server.stop();
}

#[test]
fn hung_fork_server_affects_no_other_service() {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [web, echo] = sockets;
    let config = "[service.web]\n[service.echo]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";
    let server = Setup::new(config).socket(web).socket(echo).names("web:echo").start();
    let is_echo =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().contains("fork-server echo");
    let hung = server.fork_servers().into_iter().find(is_echo).unwrap();
    kill(Pid::from_raw(hung), Signal::SIGSTOP).unwrap();
    let waiting: Vec<_> = (0..40).map(|_| connect(addresses[1])).collect();
    for _ in 0..20 {
        assert!(ask(connect(addresses[0]), REQUEST).ends_with("Hello, World!\n"));
    }
    // It is replaced after some seconds.
    server.wait_line("service echo: its fork server was killed by SIGKILL");
    for mut stream in waiting {
        stream.write_all(b"served").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_to_end(stream), "served");
    }
}

#[test]
fn orphans_without_a_descriptor_for_them_are_killed() {
    if !can_look_inside() {
        return;
    }
    // Each ignores SIGTERM, and is in a session of its own.
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do \
                  setsid sh -c 'trap \"\" TERM; sleep 1000' >/dev/null 2>&1 & done; echo done";
    let command = format!("command = ['/bin/sh', '-c', \"\"\"{script}\"\"\"]");
    let server = serve(&format!("[service.web]\nprotocol = 'exec'\n{command}\n"));
    let used = server.count_fds();
    crate::exhaustion::set_limit(&server, &format!("--nofile={}:", used + 4));
    for _ in 0..3 {
        assert_eq!(read_to_end(server.connect()), "done\n");
    }
    wait_until("no process is left", || server.children().is_empty());
    server.wait_idle();
}

#[test]
fn kept_processes_live_beside_a_busy_service_that_keeps_none() {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [keep, end] = sockets;
    let shell = |name: &str, script: &str, keys: &str| {
        format!("[service.{name}]\nprotocol = 'exec'\n{keys}command = ['/bin/sh', '-c', '{script}']\n")
    };
    let job = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let config = shell("keep", job, "leftover = \"keep\"\n") + &shell("end", "sleep 1000 & echo", "");
    let server = Setup::new(&config).socket(keep).socket(end).names("keep:end").start();
    for _ in 0..10 {
        let busy: Vec<_> = (0..4).map(|_| connect(addresses[1])).collect();
        let pid = read_to_end(connect(addresses[0]));
        busy.into_iter().for_each(|stream| drop(read_to_end(stream)));
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        wait_until("only the job is left", || server.children().len() == 1);
        kill(pid, Signal::SIGKILL).expect("the job lives");
        wait_until("the job is reaped", || server.children().is_empty());
    }
}
