//! The daemon that is attacked, its children of each kind, and what must stay true whatever they do.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use tempfile::TempDir;

use crate::call;
use crate::harness::{Server, Setup, command};
use crate::steps::{Answer, Steps};

/// The user of the daemon. It has no other processes.
pub fn user() -> u32 {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let own =
        accounts.lines().find_map(|line| line.strip_prefix("lsbaws:x:")?.split(':').next()?.parse().ok());
    own.filter(|_| std::env::var_os("ATTACKS_UNIT").is_some()).unwrap_or(61_234)
}

/// A child of the daemon that is in the hands of an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An HTTP child of a service that starts no programs.
    Http,
    /// An HTTP child of a service that also starts programs.
    Mixed,
    /// A CGI program.
    Cgi,
    /// The program of a service with the protocol `exec`.
    Exec,
    /// A CGI program with `confine = false`.
    Free,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Http, Self::Mixed, Self::Cgi, Self::Exec, Self::Free];

    /// Its column of the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP child",
            Self::Mixed => "HTTP child beside programs",
            Self::Cgi => "CGI program",
            Self::Exec => "exec program",
            Self::Free => "`confine = false`",
        }
    }

    pub fn is_program(self) -> bool {
        !matches!(self, Self::Http | Self::Mixed)
    }

    /// A kind of another service.
    pub fn stranger(self) -> Self {
        match self {
            Self::Http => Self::Exec,
            Self::Exec => Self::Cgi,
            Self::Mixed | Self::Cgi | Self::Free => Self::Exec,
        }
    }

    fn service(self) -> usize {
        match self {
            Self::Http => 0,
            Self::Mixed | Self::Cgi => 1,
            Self::Exec => 2,
            Self::Free => 3,
        }
    }
}

/// The services, in the order of their listeners.
const SERVICES: [&str; 4] = ["web", "mixed", "exec", "free"];

/// Where the daemon serves, and who it is.
pub struct Arena {
    server: Option<Server>,
    addresses: [SocketAddr; 4],
    folder: PathBuf,
    /// Removes it.
    _own_folder: Option<TempDir>,
    pub supervisor: i32,
    victims: Vec<(Kind, Attacker, Process)>,
    /// What a bystander must keep: measured at the start.
    supervisor_state: String,
    fork_servers: Vec<Process>,
}

/// A daemon that its unit starts: its folder, and the addresses of its sockets. `None`: the tests start their own.
pub type Unit = Option<(PathBuf, [SocketAddr; 4])>;

/// A process that is not mistaken for another with its PID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    started: String,
}

impl Process {
    pub fn find(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.1[19].clone() })
    }

    /// It runs, and is neither stopped nor traced.
    pub fn is_well(&self) -> bool {
        Self::find(self.pid).as_ref() == Some(self)
            && stat(self.pid).is_some_and(|(_, fields)| ["S", "R", "D"].contains(&&*fields[0]))
            && status_field(self.pid, "TracerPid").as_deref() == Some("0")
    }
}

/// The command of a process, and the fields of its `stat` from the state on.
fn stat(pid: i32) -> Option<(String, Vec<String>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, fields) = text.rsplit_once(") ")?;
    Some((name.to_owned(), fields.split(' ').map(str::to_owned).collect()))
}

pub fn parent_of(pid: i32) -> Option<i32> {
    stat(pid)?.1[1].parse().ok()
}

pub fn status_field(pid: i32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

pub fn list_processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

impl Arena {
    pub fn start(unit: &Unit) -> Self {
        match unit {
            Some((folder, addresses)) => Self::start_unit(folder, *addresses),
            None => Self::start_own(),
        }
    }

    fn start_own() -> Self {
        let folder = make_root_folder();
        prepare_folder(folder.path());
        let config = config(folder.path());
        let listeners: Vec<_> = SERVICES.map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).into();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let mut setup = Setup::new(&config).names("web:mixed:exec:free").user(user());
        for listener in listeners {
            listen(&listener, Backlog::new(1024).unwrap()).unwrap();
            setup = setup.socket(listener);
        }
        let secret = "export OWN_SECRET=secret-of-the-daemon";
        let server = setup.prelude(secret).start();
        let supervisor = server.pid().as_raw();
        let path = folder.path().to_owned();
        Self::new(Some(server), addresses.try_into().unwrap(), path, Some(folder), supervisor)
    }

    /// The daemon of the unit, started again.
    fn start_unit(folder: &Path, addresses: [SocketAddr; 4]) -> Self {
        let run = |arguments: &[&str]| {
            let output = command("systemctl").args(arguments).arg("lsbaws.service").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        prepare_folder(folder);
        run(&["restart"]);
        let supervisor = run(&["show", "--value", "--property=MainPID"]);
        Self::new(None, addresses, folder.to_owned(), None, supervisor.trim().parse().unwrap())
    }

    fn new(
        server: Option<Server>,
        addresses: [SocketAddr; 4],
        folder: PathBuf,
        own_folder: Option<TempDir>,
        supervisor: i32,
    ) -> Self {
        let mut arena = Self {
            server,
            addresses,
            folder,
            _own_folder: own_folder,
            supervisor,
            victims: Vec::new(),
            supervisor_state: String::new(),
            fork_servers: Vec::new(),
        };
        for kind in Kind::ALL {
            let victim = arena.open_victim(kind);
            arena.victims.push(victim);
        }
        arena.fork_servers = arena.list_fork_servers();
        arena.supervisor_state = arena.read_supervisor_state();
        arena
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path below the folder of the arena.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder().display())
    }

    pub fn server(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    pub fn address(&self, kind: Kind) -> SocketAddr {
        self.addresses[kind.service()]
    }

    /// A new connection whose child is the attacker's.
    pub fn attacker(&self, kind: Kind) -> Attacker {
        Attacker { kind, address: self.address(kind), stream: None }
    }

    /// Another process of the same kind.
    pub fn victim(&self, kind: Kind) -> i32 {
        self.victims.iter().find(|(other, ..)| *other == kind).unwrap().2.pid
    }

    /// A fork server, the one of the service if it can be told. The supervisor itself where there is none.
    pub fn fork_server(&self) -> i32 {
        self.fork_servers.first().map_or(self.supervisor, |process| process.pid)
    }

    fn list_fork_servers(&self) -> Vec<Process> {
        let is_fork_server = |pid: &i32| {
            parent_of(*pid) == Some(self.supervisor)
                && fs::read_to_string(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.split('\0').any(|word| word == "fork-server"))
        };
        let mut list: Vec<_> =
            list_processes().into_iter().filter(is_fork_server).filter_map(Process::find).collect();
        list.sort_by_key(|process| process.pid);
        list
    }

    fn open_victim(&self, kind: Kind) -> (Kind, Attacker, Process) {
        let mut victim = self.attacker(kind);
        let pid = victim.hold();
        (kind, victim, Process::find(pid).unwrap())
    }

    /// What others must not change: limits, priority, processors and so on.
    fn read_supervisor_state(&self) -> String {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.supervisor);
            fs::read_to_string(path).unwrap_or_default()
        };
        let status = read("status");
        let kept = ["Cpus_allowed:", "Mems_allowed:", "SigIgn:", "SigCgt:", "TracerPid:"];
        let status: Vec<_> =
            status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name))).collect();
        let nice = stat(self.supervisor).map(|(_, fields)| fields[16].clone());
        let process = Process::find(self.supervisor);
        format!("{process:?} {nice:?} {} {} {status:?}", read("limits"), read("oom_score_adj"))
    }

    /// What an attack has harmed beside its own connection. The arena is of no more use then.
    pub fn find_harm(&mut self) -> Option<String> {
        let mut harm = Vec::new();
        let supervisor = Process::find(self.supervisor);
        if !supervisor.is_some_and(|process| process.is_well()) {
            return Some("the supervisor has ended or is stopped".into());
        }
        if self.read_supervisor_state() != self.supervisor_state {
            harm.push("the supervisor is changed".to_owned());
        }
        if !self.fork_servers.iter().all(Process::is_well) {
            harm.push("a fork server has ended or is stopped".to_owned());
        }
        let is_harmed = |(_, victim, process): &mut (Kind, Attacker, Process)| {
            !process.is_well() || !victim.still_serves(process.pid)
        };
        if self.victims.iter_mut().any(is_harmed) {
            harm.push("another connection is harmed".to_owned());
        }
        let serves = Kind::ALL.iter().all(|&kind| {
            let mut steps = Steps::default();
            let pid = call!(steps, SYS_getpid);
            self.attacker(kind).run(&steps).get(&pid).is_some()
        });
        if !serves {
            harm.push("new connections are not served".to_owned());
        }
        (!harm.is_empty()).then(|| harm.join("; "))
    }
}

/// A connection whose child executes what it is sent.
pub struct Attacker {
    pub kind: Kind,
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Attacker {
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
            Kind::Http | Kind::Mixed => head("/probe"),
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
            Kind::Http | Kind::Mixed => {
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
    fn still_serves(&mut self, pid: i32) -> bool {
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

/// Not in /tmp, where programs may write.
pub fn make_root_folder() -> TempDir {
    let folder = tempfile::tempdir_in("/srv").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Makes the roots and the programs. They belong to the user of the daemon, so that only confinement protects them.
pub fn prepare_folder(folder: &Path) {
    for name in ["www", "other", "cgi", "out"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("www/page"), "page").unwrap();
    fs::write(folder.join("other/secret"), "secret of another service").unwrap();
    let program = folder.join("cgi/program.py");
    fs::write(&program, include_str!("program.py")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["www", "other", "cgi", "out", "www/page", "other/secret", "cgi/program.py"] {
        chown(folder.join(name), Some(user()), Some(user())).unwrap();
    }
}

/// The configuration of the daemon.
pub fn config(folder: &Path) -> String {
    let folder = folder.display();
    let unconfined = std::env::var("ATTACKS_WITHOUT_CONFINE").is_err();
    let free = if unconfined { "confine = false" } else { "" };
    format!(
        r#"
[limits]
max_connections = 200
keepalive_timeout = "1h"
body_timeout = "1h"

[service.web]
[[service.web.route]]
path = "/"
[[service.web.route]]
path = "/probe"
handler = "probe"
[[service.web.route]]
path = "/www"
handler = "files"
root = "{folder}/www"
[[service.web.route]]
path = "/other"
handler = "files"
root = "{folder}/other"

[service.mixed]
[[service.mixed.route]]
path = "/probe"
handler = "probe"
[[service.mixed.route]]
path = "/cgi/"
handler = "cgi"
root = "{folder}/cgi"
timeout = "1h"
environment = {{ SECRET = "secret-of-mixed" }}

[service.exec]
protocol = "exec"
command = ["{folder}/cgi/program.py"]
environment = {{ SECRET = "secret-of-exec" }}

[service.free]
{free}
[[service.free.route]]
path = "/cgi/"
handler = "cgi"
root = "{folder}/cgi"
timeout = "1h"
environment = {{ SECRET = "secret-of-free" }}
"#
    )
}
