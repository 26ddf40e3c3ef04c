//! Reads the limits of this process and of its system from /proc and /sys. Whatever is missing there, as in a
//! sandbox or a container, is no wall.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Unit, Wall};

/// Bits of the capability sets of a process (capabilities(7)); either lifts RLIMIT_NPROC.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

/// Left of a limit of memory when there is hardly any: some pages are always about to be freed.
const MEMORY_GRAIN: u64 = 1 << 20;

const PIDS_MAX: &str = "pids.max of ";

/// A system to look at: this one, or in tests a folder with the files that one has.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

/// A control group: its path as it is known, and the folder where it is.
type Group = (String, PathBuf);

impl System {
    #[cfg(test)]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Every wall there is, for this process.
    pub fn list_walls(&self) -> Vec<Wall> {
        let mut walls = self.processes();
        walls.extend(self.memory());
        walls.extend(self.open_descriptors());
        walls
    }

    /// Limits of processes, the narrowest kind first.
    pub fn processes(&self) -> Vec<Wall> {
        let wall = |name: String, limit, used, remedy: String| Wall {
            name,
            unit: Unit::Processes,
            limit,
            used,
            grain: 1,
            remedy,
        };
        let mut walls = Vec::new();
        if let Some((uid, limit)) = self.user_limit() {
            let remedy =
                "all processes of the user count; LimitNPROC=, ulimit -u or processes of the service";
            let used = self.count_tasks(uid);
            walls.push(wall("RLIMIT_NPROC".into(), limit, used, remedy.into()));
        }
        for (path, folder) in self.groups("pids") {
            if let (Some(limit), Some(used)) =
                (read_number(&folder.join("pids.max")), read_number(&folder.join("pids.current")))
            {
                let remedy = name_setting("TasksMax=", &path);
                walls.push(wall(format!("{PIDS_MAX}{path}"), limit, used, remedy));
            }
        }
        // "running/all" tasks of the whole system (proc_loadavg(5)).
        let tasks = self.read("proc/loadavg").split(['/', ' ']).nth(4).and_then(|all| all.parse().ok());
        for name in ["threads-max", "pid_max"] {
            let limit = read_number(&self.root.join("proc/sys/kernel").join(name));
            if let (Some(limit), Some(used)) = (limit, tasks) {
                walls.push(wall(format!("kernel.{name}"), limit, used, "sysctl".into()));
            }
        }
        walls
    }

    /// Limits of memory.
    pub fn memory(&self) -> Vec<Wall> {
        let mut walls = Vec::new();
        for (path, folder) in self.groups("memory") {
            let first = |names: [&str; 2]| names.into_iter().find_map(|name| read_number(&folder.join(name)));
            let (Some(limit), Some(used)) = (
                first(["memory.max", "memory.limit_in_bytes"]),
                first(["memory.current", "memory.usage_in_bytes"]),
            ) else {
                continue;
            };
            // Version 1 has no word for "none", but the largest number of pages.
            if limit >= 1 << 62 {
                continue;
            }
            // Pages of files go when they are in the way.
            let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
            let cached = ["total_inactive_file ", "inactive_file "].into_iter().find_map(|name| {
                statistics.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
            });
            walls.push(Wall {
                name: format!("memory.max of {path}"),
                unit: Unit::Memory,
                limit,
                used: used.saturating_sub(cached.unwrap_or(0)),
                grain: MEMORY_GRAIN,
                remedy: name_setting("MemoryMax=", &path),
            });
        }
        walls
    }

    /// Descriptors of this process.
    fn open_descriptors(&self) -> Option<Wall> {
        let limit = self.own_limit("Max open files")?;
        let used = fs::read_dir(self.root.join("proc/self/fd")).ok()?.count();
        Some(descriptors(limit, used as u64))
    }

    /// Open files of the whole system: "used unused most" (proc_sys_fs(5)).
    pub fn files(&self) -> Option<Wall> {
        let text = self.read("proc/sys/fs/file-nr");
        let mut numbers = text.split_whitespace().map(str::parse);
        let (used, limit) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
        let (name, remedy) = ("fs.file-max".into(), "sysctl".into());
        Some(Wall { name, unit: Unit::Descriptors, limit, used, grain: 1, remedy })
    }

    /// How often a fork in the group of this process has failed at the `pids.max` of it or of one above.
    pub fn count_pids_failures(&self) -> Option<u64> {
        let (_, folder) = self.groups("pids").into_iter().next()?;
        let events = fs::read_to_string(folder.join("pids.events")).ok()?;
        events.lines().find_map(|line| line.strip_prefix("max ")?.parse().ok())
    }

    /// The real user and RLIMIT_NPROC, if that is anything to this process (setrlimit(2)).
    fn user_limit(&self) -> Option<(u64, u64)> {
        let status = self.read("proc/self/status");
        let uid = status_number(&status, "Uid:")?;
        let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let capabilities = u64::from_str_radix(capabilities.unwrap_or("0").trim(), 16).unwrap_or(0);
        let is_exempt = uid == 0 || capabilities & (1 << CAP_SYS_ADMIN | 1 << CAP_SYS_RESOURCE) != 0;
        if is_exempt { None } else { Some((uid, self.own_limit("Max processes")?)) }
    }

    /// Threads of all processes whose real user is `uid`, as far as /proc shows them.
    fn count_tasks(&self, uid: u64) -> u64 {
        let Ok(processes) = fs::read_dir(self.root.join("proc")) else {
            return 0;
        };
        let numbered = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        let processes = processes.flatten().filter(|entry| entry.file_name().to_str().is_some_and(numbered));
        let threads = processes.filter_map(|process| {
            let status = fs::read_to_string(process.path().join("status")).ok()?;
            (status_number(&status, "Uid:")? == uid).then_some(status_number(&status, "Threads:"))?
        });
        threads.sum()
    }

    /// A soft limit of this process; none where it is unlimited.
    fn own_limit(&self, name: &str) -> Option<u64> {
        let limits = self.read("proc/self/limits");
        let values = limits.lines().find_map(|line| line.strip_prefix(name))?;
        values.split_whitespace().next()?.parse().ok()
    }

    /// The groups of this process by which `controller` limits it, its own first (cgroups(7)).
    fn groups(&self, controller: &str) -> Vec<Group> {
        let memberships = self.read("proc/self/cgroup");
        let mut groups = Vec::new();
        for line in memberships.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            // The hierarchy of version 2 has no list of controllers.
            if !controllers.is_empty() && !controllers.split(',').any(|name| name == controller) {
                continue;
            }
            let mount = self.root.join("sys/fs/cgroup").join(controllers);
            for path in Path::new(path).ancestors() {
                let below = path.strip_prefix("/").unwrap_or(path);
                groups.push((path.display().to_string(), mount.join(below)));
            }
        }
        groups
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

/// A number that is all of a file; none where it says `max`.
fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The first number after a name in /proc/PID/status.
fn status_number(status: &str, name: &str) -> Option<u64> {
    let values = status.lines().find_map(|line| line.strip_prefix(name))?;
    values.split_whitespace().next()?.parse().ok()
}

/// What sets a limit of a group: its unit has the name of its folder (systemd.resource-control(5)).
fn name_setting(setting: &str, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_unit = [".service", ".slice", ".scope"].iter().any(|kind| name.ends_with(kind));
    if is_unit { format!("{setting} of {name}") } else { "a control group".into() }
}

/// The limit of descriptors of this process.
pub fn descriptors(limit: u64, used: u64) -> Wall {
    let (name, remedy) =
        ("RLIMIT_NOFILE".into(), "LimitNOFILE=, ulimit -n or open_files of the service".into());
    Wall { name, unit: Unit::Descriptors, limit, used, grain: 1, remedy }
}

/// A limit of a control group.
pub fn is_group(wall: &Wall) -> bool {
    wall.name.starts_with(PIDS_MAX)
}
