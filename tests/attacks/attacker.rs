//! A connection whose child is in the hands of an attacker.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::arena::Kind;
use crate::call;
use crate::steps::{Answer, Steps};

/// A connection whose child executes what it is sent.
pub struct Attacker {
    pub kind: Kind,
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Attacker {
    pub fn new(kind: Kind, address: SocketAddr) -> Self {
        Self { kind, address, stream: None }
    }

    /// `None`: the daemon refuses connections.
    fn stream(&mut self) -> Option<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut()
    }

    /// Executes the steps. A child that has died answers less, or nothing.
    pub fn run(&mut self, steps: &Steps) -> Answer {
        self.send(steps);
        let answer = self.receive();
        if matches!(self.kind, Kind::Cgi | Kind::Free) {
            self.close(); // a program for each request
        }
        answer
    }

    /// The same without waiting for the answer.
    pub fn send(&mut self, steps: &Steps) {
        let text = &steps.text;
        let head = |target: &str| {
            let version = if target.starts_with("/cgi") { "1.0" } else { "1.1" };
            format!(
                "POST {target} HTTP/{version}\r\nHost: test\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        let message = match self.kind {
            Kind::Http | Kind::Mixed | Kind::App => head("/probe"),
            Kind::Cgi | Kind::Free => head("/cgi/program.py"),
            Kind::Exec => format!("{text}\n"),
        };
        if let Some(stream) = self.stream() {
            let _ = stream.get_mut().write_all(message.as_bytes()); // the child may have died
        }
    }

    /// The answer to what was sent.
    pub fn receive(&mut self) -> Answer {
        let kind = self.kind;
        let mut text = String::new();
        let Some(reader) = self.stream() else { return Answer::default() };
        match kind {
            Kind::Http | Kind::Mixed | Kind::App => {
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    match reader.read_line(&mut line) {
                        Ok(count) if count > 0 && line != "\r\n" => {}
                        _ => break,
                    }
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let _ = reader.take(length).read_to_string(&mut text);
            }
            Kind::Cgi | Kind::Free => _ = reader.read_to_string(&mut text),
            Kind::Exec => loop {
                match reader.read_line(&mut text) {
                    Ok(count) if count > 0 && !text.ends_with("\n\n") && text != "\n" => {}
                    _ => break,
                }
            },
        }
        Answer::parse(&text)
    }

    /// The PID of the attacker; for a CGI program, that of the HTTP child that starts it.
    pub fn child(&mut self) -> i32 {
        let mut steps = Steps::default();
        let pid = match self.kind {
            Kind::Cgi | Kind::Free => call!(steps, SYS_getppid),
            _ => call!(steps, SYS_getpid),
        };
        i32::try_from(self.run(&steps).get(&pid).expect("the attacker answers")).unwrap()
    }

    /// Its end of the connection, as the daemon names it.
    pub fn address(&mut self) -> SocketAddr {
        self.stream().expect("a connection").get_ref().local_addr().unwrap()
    }

    /// Makes a process of this kind that stays, and returns its PID.
    pub fn hold(&mut self) -> i32 {
        if !matches!(self.kind, Kind::Cgi | Kind::Free) {
            return self.child();
        }
        let mut steps = Steps::default();
        call!(steps, SYS_getpid);
        steps.sleep(10_000);
        self.send(&steps);
        // The program answers step by step.
        let reader = self.stream().expect("a connection");
        loop {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the program has not answered");
            if let Some(pid) = line.trim().strip_prefix("v1 ") {
                return pid.parse().unwrap();
            }
        }
    }

    /// Whether the child that [`Self::hold`] returned still answers.
    pub fn still_serves(&mut self, pid: i32) -> bool {
        match self.kind {
            Kind::Cgi | Kind::Free => true, // it sleeps
            _ => {
                let mut steps = Steps::default();
                let own = call!(steps, SYS_getpid);
                self.run(&steps).get(&own) == Some(pid.into())
            }
        }
    }

    /// Whether the connection ends in this time.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let Some(stream) = self.stream() else { return true };
        stream.get_ref().set_read_timeout(Some(time)).unwrap();
        let mut rest = Vec::new();
        // A reset is an end as well.
        stream.read_to_end(&mut rest).map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |_| true)
    }

    pub fn close(&mut self) {
        self.stream = None;
    }
}
