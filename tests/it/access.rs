//! Access lines: one for each request, in each format, and none that a client can forge.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::gate::Gate;
use crate::harness::{Record, Server, ask, command, connect, make_folder, read_to_end, serve, wait_until};

pub const RESPOND: &str = "[[service.web.route]]\nhandler = 'respond'\nbody = 'hello'\n";

/// A file of lines in a folder that every user may write to.
pub struct Lines {
    pub folder: TempDir,
}

impl Lines {
    pub fn new() -> Self {
        Self { folder: make_folder() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    /// The table of a configuration.
    pub fn table(&self, format: &str) -> String {
        format!("[log.access]\ntarget = '{}'\nformat = '{format}'\n", self.path().display())
    }

    /// Waits for so many lines.
    pub fn read(&self, count: usize) -> Vec<String> {
        read_lines(&self.path(), count)
    }

    pub fn read_json(&self, count: usize) -> Vec<Value> {
        self.read(count).iter().map(|line| parse(line)).collect()
    }
}

pub fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Waits until a file has so many lines, and returns all that it has.
pub fn read_lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_until(&format!("{count} lines"), || read().lines().count() >= count);
    read().lines().map(str::to_owned).collect()
}

#[test]
fn each_request_has_one_line_in_each_format() {
    let template = "{client} {user} {method} {target} {protocol} {status} {bytes} {host} \"{request}\" \"{referer}\" \
        \"{user_agent}\" {scheme} {service} {listener} {{{peer}}}";
    for format in ["combined", "json", template] {
        let lines = Lines::new();
        let server = serve(&format!("{}{RESPOND}", lines.table(format)));
        let mut client = server.connect();
        let peer = client.local_addr().unwrap();
        // Two kept-alive requests, one of them pipelined with another, and one that is malformed.
        client
            .write_all(b"GET /a?b HTTP/1.1\r\nHost: one\r\nReferer: http://r/\r\nUser-Agent: x y\r\n\r\n")
            .unwrap();
        lines.read(1);
        client.write_all(b"HEAD /c HTTP/1.1\r\nHost: one\r\n\r\nGET bad\r\n\r\n").unwrap();
        read_to_end(client);
        let text = lines.read(3);
        assert_eq!(text.len(), 3, "{text:?}");
        if format == "combined" {
            let split = |line: &str| {
                let (client, rest) = line.split_once(" - - [").unwrap();
                let (time, rest) = rest.split_once("] ").unwrap();
                assert_eq!((client, time.len()), ("127.0.0.1", "26/Nov/2026:17:51:40 +0000".len()), "{line}");
                rest.to_owned()
            };
            let bad = "400 Bad Request: malformed request line\n".len();
            assert_eq!(split(&text[0]), "\"GET /a?b HTTP/1.1\" 200 5 \"http://r/\" \"x y\"");
            assert_eq!(split(&text[1]), "\"HEAD /c HTTP/1.1\" 200 0 \"-\" \"-\"");
            assert_eq!(split(&text[2]), format!("\"GET bad\" 400 {bad} \"-\" \"-\""));
        } else if format == "json" {
            let first = parse(&text[0]);
            for (name, value) in [
                ("client", "127.0.0.1"),
                ("peer", &peer.to_string()),
                ("host", "one"),
                ("method", "GET"),
                ("target", "/a?b"),
                ("protocol", "HTTP/1.1"),
                ("referer", "http://r/"),
                ("user_agent", "x y"),
                ("scheme", "http"),
                ("service", "web"),
                ("listener", "web"),
                ("connection", server.record().get("connection")),
            ] {
                assert_eq!(first[name], *value, "{name}");
            }
            assert_eq!((first["status"].as_u64(), first["bytes"].as_u64()), (Some(200), Some(5)));
            assert!(first["duration"].is_f64() && first["time"].as_str().unwrap().ends_with('Z'), "{first}");
            assert!(first.get("user").is_none(), "{first}");
        } else {
            let end = format!("http web web {{{peer}}}");
            assert_eq!(
                text[0],
                format!(
                    "127.0.0.1 - GET /a?b HTTP/1.1 200 5 one \"GET /a?b HTTP/1.1\" \"http://r/\" \"x y\" {end}"
                )
            );
            assert_eq!(
                text[1],
                format!("127.0.0.1 - HEAD /c HTTP/1.1 200 0 one \"HEAD /c HTTP/1.1\" \"-\" \"-\" {end}")
            );
        }
    }
}

#[test]
fn every_way_to_a_process_writes_lines() {
    let inetd = "process.model = 'fork'";
    for model in [
        inetd,
        "process.model = 'double-fork'",
        "process.model = 'iterative'",
        "process.spares = 2",
        "process.fork_servers = 2",
    ] {
        let lines = Lines::new();
        let mut server = serve(&format!("{model}\n{}{RESPOND}", lines.table("json")));
        for target in ["/1", "/2", "/3"] {
            server.get(target);
        }
        let targets: Vec<_> =
            lines.read_json(3).iter().map(|line| line["target"].as_str().unwrap().to_owned()).collect();
        assert_eq!(targets, ["/1", "/2", "/3"], "{model}");
        server.stop();
        assert_eq!(lines.read(3).len(), 3, "{model}");
    }
}

#[test]
fn single_connection_writes_its_lines_itself() {
    let lines = Lines::new();
    let config = lines.folder.path().join("lsbaws.toml");
    fs::write(&config, format!("{}{RESPOND}", lines.table("json"))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().unwrap());
    let (connection, _) = listener.accept().unwrap();
    let mut daemon = command(crate::harness::LSBAWS);
    daemon.arg("-c").arg(&config).stdin(std::os::fd::OwnedFd::from(connection));
    daemon.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut process = daemon.spawn().unwrap();
    drop(daemon); // and its copy of the connection
    let answer = ask(
        client,
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.matches("hello").count(), 2, "{answer}");
    process.wait().unwrap();
    let targets: Vec<_> = lines.read_json(2).iter().map(|line| line["target"].clone()).collect();
    assert_eq!(targets, ["/1", "/2"]);
}

#[test]
fn client_cannot_forge_a_line() {
    let hostile = b"\" 200 0 \"-\" \"-\"\x1b[31m \\ \\\" \x7f \xff\xe2\x80\xae \t{}%\x01".to_vec();
    let hostile: Vec<u8> =
        hostile.into_iter().filter(|&byte| byte != 1 && byte != 0x7f && byte != 0x1b).collect();
    for format in
        ["combined", "json", "{client} \"{request}\" {host} {method} \"{user_agent}\" \"{referer}\""]
    {
        let lines = Lines::new();
        let server = serve(&format!("{}{RESPOND}", lines.table(format)));
        let mut request = b"GET /\"\\\xff?' HTTP/1.1\r\nHost: x\r\nUser-Agent: ".to_vec();
        request.extend(&hostile);
        request.extend(b"\r\nReferer: ");
        request.extend(&hostile);
        request.extend(b"\r\nConnection: close\r\n\r\n");
        let mut client = server.connect();
        client.write_all(&request).unwrap();
        read_to_end(client);
        // A first line of the client's own.
        let mut client = server.connect();
        client.write_all(b"G\x1b[2J\x00\" \\ {} \xff\xc2\x9b2J HTTP/1.1\r\n\r\n").unwrap();
        read_to_end(client);
        let text = lines.read(2);
        assert_eq!(text.len(), 2, "{text:?}");
        for line in &text {
            assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
            match format {
                "json" => drop(parse(line)),
                // All quotes are those of the format.
                "combined" => assert_eq!(line.matches('"').count(), 6, "{line}"),
                _ => assert_eq!(line.matches('"').count(), 6, "{line}"),
            }
            assert!(format == "json" || !line.contains('\\') || line.contains("\\x"), "{line}");
        }
    }
}

#[test]
fn bytes_are_those_of_the_content_alone() {
    let lines = Lines::new();
    let folder = make_folder();
    let program = folder.path().join("program");
    crate::cgi::write_program(
        &program,
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nhead -c 100000 /dev/zero\n",
    );
    fs::write(folder.path().join("file"), vec![b'x'; 300_000]).unwrap();
    let server = serve(&format!(
        "{}[[service.web.route]]\npath = '/cgi'\nhandler = 'cgi'\nprogram = '{}'\n\
         [[service.web.route]]\npath = '/'\nhandler = 'files'\nroot = '{}'\n",
        lines.table("json"),
        program.display(),
        folder.path().display()
    ));
    let get = |request: &str| {
        let mut client = server.connect();
        client.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut client, &mut bytes).unwrap();
    };
    let end = "Host: x\r\nConnection: close\r\n\r\n";
    for (number, (request, bytes)) in [
        (format!("GET /cgi HTTP/1.1\r\n{end}"), 100_000),
        (format!("GET /cgi HTTP/1.0\r\n{end}"), 100_000),
        (format!("GET /file HTTP/1.1\r\n{end}"), 300_000),
        (format!("HEAD /file HTTP/1.1\r\n{end}"), 0),
        (format!("GET /file HTTP/1.1\r\nRange: bytes=0-9\r\n{end}"), 10),
        (format!("POST /cgi HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n{end}"), 100_000),
    ]
    .into_iter()
    .enumerate()
    {
        get(&request);
        let line = lines.read_json(number + 1).pop().unwrap();
        assert_eq!(line["bytes"].as_u64(), Some(bytes), "{request}");
    }
}

#[test]
fn refusals_have_lines_and_silence_has_none() {
    let lines = Lines::new();
    let config = format!("limits.deny = '127.0.0.1'\n{}{RESPOND}", lines.table("combined"));
    let server = serve(&config);
    let answer = server.get("/");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let (_, content) = answer.split_once("\r\n\r\n").unwrap();
    let line = &lines.read(1)[0];
    assert!(
        line.starts_with("127.0.0.1 - - [")
            && line.ends_with(&format!("] \"-\" 403 {} \"-\" \"-\"", content.len())),
        "{line}"
    );

    let lines = Lines::new();
    let server = serve(&format!("limits.head_timeout = '50ms'\n{}{RESPOND}", lines.table("combined")));
    // Nothing was sent: no request, no line. A part of one: 408.
    let silent = server.connect();
    silent.shutdown(Shutdown::Write).unwrap();
    read_to_end(silent);
    assert_eq!(server.record().get("outcome"), "served");
    let mut slow = server.connect();
    slow.write_all(b"GET /slow HTTP/1.1\r\n").unwrap();
    assert!(read_to_end(slow).starts_with("HTTP/1.1 408 "));
    let text = lines.read(1);
    assert_eq!(text.len(), 1, "{text:?}");
    assert!(text[0].contains("] \"GET /slow HTTP/1.1\" 408 "), "{text:?}");
}

#[test]
fn killed_child_loses_no_line_that_it_has_sent() {
    let lines = Lines::new();
    let mut gate = Gate::new();
    let mut server = serve(&format!("{}{}{RESPOND}", lines.table("json"), gate.route("/gate")));
    let mut client = server.connect();
    let mut requests = String::new();
    for number in 0..50 {
        requests += &format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    requests += "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";
    // The supervisor reads nothing before the child is dead.
    server.wait_idle();
    client.write_all(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    lines.read(1);
    kill(server.pid(), Signal::SIGSTOP).unwrap();
    client.write_all(requests.as_bytes()).unwrap();
    gate.wait_reached();
    let child = child_of(&server, &client);
    kill(child, Signal::SIGKILL).unwrap();
    crate::harness::wait_dead(child);
    kill(server.pid(), Signal::SIGCONT).unwrap();
    let record = server.record_of("/gate");
    assert_eq!(record.get("end"), "killed");
    server.stop();
    let text = lines.read(51);
    assert_eq!(text.len(), 51, "the request that was not answered has its record");
}

/// The process that has the other end of this connection.
fn child_of(server: &Server, client: &std::net::TcpStream) -> Pid {
    let own = client.local_addr().unwrap().port();
    server.signal(Signal::SIGCONT);
    server.signal(Signal::SIGUSR1);
    let line = server.wait_line(&format!(" peer=127.0.0.1:{own}"));
    let pid = Record::parse(&line).get("pid").parse().unwrap();
    server.signal(Signal::SIGSTOP);
    Pid::from_raw(pid)
}

#[test]
fn reload_changes_what_is_written() {
    let (first, second) = (Lines::new(), Lines::new());
    let server = serve(RESPOND);
    server.get("/none");
    let reload = |config: &str| {
        server.reload(&format!("{config}{RESPOND}"));
        server.wait_line("configuration reloaded");
    };
    reload(&first.table("{target}"));
    server.get("/a");
    assert_eq!(first.read(1), ["/a"]);
    reload(&first.table("{method} {target}"));
    server.get("/b");
    assert_eq!(first.read(2), ["/a", "GET /b"]);
    reload(&second.table("{target}"));
    server.get("/c");
    assert_eq!(second.read(1), ["/c"]);
    // Lines go where they went.
    reload("log.access = { target = '/nonexistent/x', format = '{status}' }\n");
    server.wait_line("unable to open /nonexistent/x for access lines: No such file or directory");
    server.get("/d");
    assert_eq!(second.read(2), ["/c", "200"]);
    reload("");
    server.get("/e");
    reload(&second.table("{target}"));
    server.get("/f");
    assert_eq!(second.read(3), ["/c", "200", "/f"]);
    assert_eq!(first.read(2).len(), 2);
}

#[test]
fn lines_go_to_standard_error_as_they_are() {
    let server =
        serve(&format!("log.access = {{ target = 'stderr', format = 'line {{target}}' }}\n{RESPOND}"));
    server.get("/x\"y");
    assert_eq!(server.wait_line("line "), "line /x\\x22y");
}

#[test]
fn service_with_a_program_alone_has_no_lines() {
    let lines = Lines::new();
    let server = serve(&format!(
        "{}[service.web]\nprotocol = 'exec'\ncommand = ['/bin/echo', 'x']\n",
        lines.table("json")
    ));
    read_to_end(connect(server.address()));
    server.record();
    assert_eq!(lines.read(0), [""; 0]);
}

#[test]
fn long_json_line_on_a_pipe_stays_an_object() {
    let server = serve(&format!("[log.access]\ntarget = 'stderr'\nformat = 'json'\n{RESPOND}"));
    let long = "\"\\".repeat(1000);
    let request = format!(
        "GET /end HTTP/1.1\r\nHost: a\r\nUser-Agent: {long}\r\nReferer: {long}\r\nConnection: close\r\n\r\n"
    );
    assert!(ask(server.connect(), &request).ends_with("hello"));
    let line = parse(&server.wait_line("\"target\":\"/end\""));
    assert!(line["user_agent"].as_str().unwrap().contains("..."), "{line}");
    assert_eq!(line["service"], "web");
}
