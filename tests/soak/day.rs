//! A daemon under a fault, over one or several processes, and its result.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{Backlog, listen};

use crate::harness::{Server, Setup};
use crate::load::Counts;

/// The maximum time for the last children to exit.
const SETTLING: Duration = Duration::from_secs(30);

pub struct Day {
    listener: TcpListener,
    config: String,
    prelude: String,
    user: Option<u32>,
    /// The processes that have exited, and last the one that runs.
    lives: Vec<Server>,
    fds: usize,
}

/// The result of a day.
#[derive(Debug)]
pub struct Row {
    pub counts: Counts,
    /// Connections that the fault itself may lose, such as one for each process that was killed.
    pub spent: u64,
    pub zombies: usize,
    pub leaked: usize,
    /// Connections of the fault itself, which are in the records as well.
    pub extra: u64,
    /// The fault causes refusals.
    pub may_refuse: bool,
    /// What the row also requires.
    pub is_as_asked: bool,
    /// Connections in the records; None if the supervisor was killed.
    pub recorded: Option<u64>,
    pub note: String,
}

impl Row {
    fn new(counts: Counts, note: String) -> Self {
        Self {
            counts,
            spent: 0,
            zombies: 0,
            leaked: 0,
            extra: 0,
            may_refuse: false,
            is_as_asked: true,
            recorded: None,
            note,
        }
    }

    /// Parses a line of the table.
    pub fn parse(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |index: usize| cells.get(index)?.parse().ok();
        let counts = Counts { answered: number(3)?, refused: number(4)?, lost: number(5)? };
        let (zombies, leaked) = (number(6)? as usize, number(7)? as usize);
        let note = (*cells.get(9)?).to_owned();
        Some(Self { zombies, leaked, recorded: number(8), ..Self::new(counts, note) })
    }

    /// No connection is lost that the fault does not explain.
    pub fn is_well(&self) -> bool {
        let in_records = self.counts.offered() + self.extra;
        let has_records = self.recorded.is_none_or(|recorded| recorded == in_records);
        let is_served = self.counts.refused <= 300 || self.may_refuse;
        let is_clean = self.zombies == 0 && self.leaked == 0;
        self.counts.lost <= self.spent && is_served && is_clean && has_records && self.is_as_asked
    }
}

impl Day {
    pub fn begin(config: &str) -> Self {
        Self::begin_as(config, "", None)
    }

    pub fn begin_as(config: &str, prelude: &str, user: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&listener, Backlog::new(4096).unwrap()).unwrap();
        let (config, prelude) = (config.to_owned(), prelude.to_owned());
        let mut day = Self { listener, config, prelude, user, lives: Vec::new(), fds: 0 };
        day.start();
        day.fds = day.now().count_fds();
        day
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Starts another process with the same socket.
    pub fn start(&mut self) {
        let setup = Setup::new(&self.config).prelude(&self.prelude);
        let setup = self.user.into_iter().fold(setup, Setup::user);
        let server = setup.socket(self.listener.try_clone().unwrap()).names("web").start();
        self.lives.push(server);
    }

    /// The process that runs now.
    pub fn now(&self) -> &Server {
        self.lives.last().unwrap()
    }

    /// Terminates the process by a signal.
    pub fn end_life(&mut self, signal: Signal) {
        let server = self.lives.last_mut().unwrap();
        server.signal(signal);
        server.wait();
    }

    /// Processor time of the supervisor so far, in hundredths of a second.
    pub fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.now().pid())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Waits for the last children, stops the daemon and counts its records.
    pub fn end(mut self, counts: Counts, note: String) -> Row {
        let server = self.lives.last_mut().unwrap();
        let start = Instant::now();
        let is_settled = |server: &Server| {
            server.children().iter().all(|&child| is_spare(child)) && server.count_fds() <= self.fds
        };
        while !is_settled(server) && start.elapsed() < SETTLING {
            thread::sleep(Duration::from_millis(10));
        }
        let zombies = server.children().into_iter().filter(|&child| state_of(child) == Some('Z')).count();
        let leaked = server.count_fds().saturating_sub(self.fds);
        server.stop();
        let recorded = self.lives.iter().flat_map(Server::lines_to_end).map(|line| count_line(&line)).sum();
        Row { zombies, leaked, recorded: Some(recorded), ..Row::new(counts, note) }
    }
}

/// Private memory of a process, in KiB.
pub fn private_kib(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

pub fn state_of(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The process is a spare that waits for its connection.
fn is_spare(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("skb_wait_for_more_packets"))
}

/// The number of connections in a line of the log.
fn count_line(line: &str) -> u64 {
    if line.contains(" end=\"suppressed\"") {
        let (_, count) = line.split_once(" count=").unwrap();
        count.split(' ').next().unwrap().parse().unwrap()
    } else {
        u64::from(line.contains(" connection=") && line.contains(" end="))
    }
}
