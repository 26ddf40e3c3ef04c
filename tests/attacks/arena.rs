//! The daemon that is attacked, its children of each kind, and what must stay true whatever they do.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nix::sys::socket::{Backlog, listen};
use tempfile::TempDir;

use crate::attacker::Attacker;
use crate::call;
use crate::harness::{Server, Setup, command};
use crate::place::{config, make_root_folder, prepare_folder, user};
use crate::steps::Steps;

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
    /// A Python application.
    App,
    /// A CGI program with `confine = false`.
    Free,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Http, Self::Mixed, Self::Cgi, Self::Exec, Self::App, Self::Free];

    /// Its column of the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP child",
            Self::Mixed => "HTTP child beside programs",
            Self::Cgi => "CGI program",
            Self::Exec => "exec program",
            Self::App => "WSGI application",
            Self::Free => "`confine = false`",
        }
    }

    /// A program that the child executes, with standard descriptors of its own.
    pub fn is_program(self) -> bool {
        !matches!(self, Self::Http | Self::Mixed | Self::App)
    }

    /// A kind of another service.
    pub fn stranger(self) -> Self {
        match self {
            Self::Http => Self::Exec,
            Self::Exec => Self::Cgi,
            Self::Mixed | Self::Cgi | Self::App | Self::Free => Self::Exec,
        }
    }

    fn service(self) -> usize {
        match self {
            Self::Http => 0,
            Self::Mixed | Self::Cgi => 1,
            Self::Exec => 2,
            Self::Free => 3,
            Self::App => 4,
        }
    }
}

/// The services, in the order of their listeners.
const SERVICES: [&str; 5] = ["web", "mixed", "exec", "free", "app"];

/// Where the daemon serves, and who it is.
pub struct Arena {
    server: Option<Server>,
    addresses: [SocketAddr; 5],
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
pub type Unit = Option<(PathBuf, [SocketAddr; 5])>;

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
        let mut setup = Setup::new(&config).names("web:mixed:exec:free:app").user(user());
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
    fn start_unit(folder: &Path, addresses: [SocketAddr; 5]) -> Self {
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
        addresses: [SocketAddr; 5],
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
        Attacker::new(kind, self.address(kind))
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
                    .is_ok_and(|line| line.split(['\0', ' ']).any(|word| word == "fork-server"))
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
